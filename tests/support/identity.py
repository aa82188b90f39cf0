"""Tokens a test hands out itself, in the place of the identity service."""

from __future__ import annotations

from typing import Any

from protonova.gateway.auth import IDENTITY
from protonova.gateway.request import Identity

PROJECT = "6f70656e737461636b20342065766572"
OTHER_PROJECT = "aaaaaaaabbbbccccddddeeeeffff0000"
USER = "fake0000000000000000000000000001"

TOKENS = {
    "admin": Identity(
        "adminuser", "admin", "default", PROJECT, "demo", "default", ("admin", "manager", "member", "reader")
    ),
    "member": Identity(USER, "demo", "default", PROJECT, "demo", "default", ("member", "reader")),
    "manager": Identity(
        "manageruser", "manager", "default", PROJECT, "demo", "default", ("manager", "member", "reader")
    ),
    "reader": Identity("readeruser", "reader", "default", PROJECT, "demo", "default", ("reader",)),
    "other": Identity("otheruser", "other", "default", OTHER_PROJECT, "other", "default", ("member", "reader")),
    "service": Identity("serviceuser", "nova", "default", "service", "service", "default", ("service",)),
}  # fmt: skip


class TokenTable:
    """WSGI in the place of the identity middleware."""

    def __init__(self, application: Any, _conf: Any = None) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        identity = TOKENS.get(environ.get("HTTP_X_AUTH_TOKEN", ""))
        if identity is None:
            start_response(
                "401 Unauthorized", [("WWW-Authenticate", "Keystone uri=test"), ("Content-Length", "0")]
            )
            return [b""]
        environ[IDENTITY] = identity
        return self._application(environ, start_response)
