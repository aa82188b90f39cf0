"""Who calls: keystonemiddleware validates tokens, and what it found is kept for the tokens that come again.

The middleware's own work for a token it has cached (parsing, checking, rewriting headers) costs several times
what the rest of a request does, so the identity a token stands for is kept here, for as long as the middleware
would keep the token itself (``token_cache_time``) and never beyond its expiry. Requests with a service token
and tokens bound to access rules always go through the middleware: what they may do depends on the request.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import orjson

from protonova.gateway import token_cache
from protonova.gateway.faults import Fault
from protonova.gateway.request import Identity

LOG = logging.getLogger(__name__)
IDENTITY = "protonova.identity"
_MOST_REMEMBERED = 10_000

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Authenticator:
    """WSGI: lets requests with a valid token through, with who they are from in the environ."""

    def __init__(self, application: Application, conf: Any) -> None:
        self._application = application
        self._known: dict[bytes, tuple[Identity, float]] = {}
        self._middleware = self._protect(conf)
        self._cache = token_cache.of(conf)
        self._keep_seconds = float(conf.keystone_authtoken.token_cache_time)

    def _protect(self, conf: Any) -> Application:
        # Slow to import, and not needed where tokens are never checked.
        from keystonemiddleware import auth_token

        settings: dict[str, Any] = {"oslo_config_config": conf}
        if not conf.keystone_authtoken.memcached_servers and not conf.keystone_authtoken.cache:
            settings["cache"] = token_cache.ENVIRON_KEY
        return auth_token.AuthProtocol(self._remember, settings)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        token = environ.get("HTTP_X_AUTH_TOKEN")
        if token and "HTTP_X_SERVICE_TOKEN" not in environ:
            known = self._known.get(_digest(token))
            if known is not None and known[1] > time.time():
                environ[IDENTITY] = known[0]
                return self._application(environ, start_response)
        environ[token_cache.ENVIRON_KEY] = self._cache
        try:
            return self._middleware(environ, start_response)
        except Exception:
            # What is behind the middleware answers for itself: this is the identity service.
            LOG.exception("Tokens cannot be checked.")
            return _unavailable(start_response)

    def _remember(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        identity = environ[IDENTITY] = _identity(environ)
        token = environ.get("HTTP_X_AUTH_TOKEN")
        keep_until = time.time() + self._keep_seconds
        info = (environ.get("keystone.token_info") or {}).get("token", {})
        expires = info.get("expires_at")
        if token and expires and self._keep_seconds > 0 and "HTTP_X_SERVICE_TOKEN" not in environ:
            restricted = (info.get("application_credential") or {}).get("access_rules") is not None
            if not restricted and not info.get("bind"):
                expiry = datetime.fromisoformat(expires)
                if expiry.tzinfo is None:
                    expiry = expiry.replace(tzinfo=UTC)
                if len(self._known) >= _MOST_REMEMBERED:
                    self._known.clear()
                self._known[_digest(token)] = (identity, min(keep_until, expiry.timestamp()))
        return self._application(environ, start_response)


def _unavailable(start_response: StartResponse) -> Iterable[bytes]:
    fault = Fault(503, "The identity service does not answer. Try again later.")
    body = orjson.dumps(fault.document())
    start_response(
        "503 Service Unavailable",
        [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
    )
    return [body]


def _digest(token: str) -> bytes:
    # Tokens themselves are not kept in memory longer than their request.
    return hashlib.blake2b(token.encode(), digest_size=20).digest()


def _identity(environ: dict[str, Any]) -> Identity:
    def header(name: str) -> str:
        return environ.get(name) or ""

    def words(name: str) -> tuple[str, ...]:
        return tuple(sorted(word for word in header(name).split(",") if word))

    return Identity(
        user_id=header("HTTP_X_USER_ID"),
        user_name=header("HTTP_X_USER_NAME"),
        user_domain_id=header("HTTP_X_USER_DOMAIN_ID"),
        project_id=header("HTTP_X_PROJECT_ID"),
        project_name=header("HTTP_X_PROJECT_NAME"),
        project_domain_id=header("HTTP_X_PROJECT_DOMAIN_ID"),
        roles=words("HTTP_X_ROLES"),
        system_scope=header("HTTP_OPENSTACK_SYSTEM_SCOPE"),
        service_roles=words("HTTP_X_SERVICE_ROLES"),
    )
