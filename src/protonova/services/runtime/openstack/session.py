"""One authenticated HTTP session a process, shared by the adapters, and the translation of HTTP errors."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from oslo_config import cfg

from protonova.services.runtime import context, errors

_lock = threading.Lock()
_sessions: dict[int, Any] = {}


class Client:
    """Calls one REST service. Paths are relative to the endpoint the catalog (or an override) names.

    Raises `errors.NotFound` on 404, `errors.Unavailable` when nobody answers or the answer is 5xx or 401,
    `errors.QuotaExceeded` on 403 and 413 that speak of a quota, `errors.FailedPrecondition` on 409,
    `errors.InvalidArgument` on 400; each with the facts `service`, `http_status` and the service's own words.
    """

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        service_type: str,
        group: str,
        prefix: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._conf = conf
        self._service_type = service_type
        self._options = conf[group]
        self._prefix = prefix
        self._headers = dict(headers or {})
        self._adapter: Any = None
        self._token = self._project_id = ""

    def acting_for(self, token: str, project_id: str) -> Client:
        """The same service, called with the rights of whoever has a token for a project instead of the service's
        own. Raises `errors.PermissionDenied` (EXTERNAL_FORBIDDEN) once the token is of no use any more; a service
        that honours service tokens takes it longer than it lasts."""
        client = copy.copy(self)
        client._token, client._project_id = token, project_id
        return client

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        return self._call("GET", path, params=query).json()

    def post(self, path: str, body: Any) -> Any:
        response = self._call("POST", path, json=body)
        return response.json() if response.content else None

    def put(self, path: str, body: Any) -> Any:
        response = self._call("PUT", path, json=body)
        return response.json() if response.content else None

    def patch(self, path: str, changes: Sequence[Mapping[str, Any]]) -> Any:
        """Changes by JSON patch, as the image service wants it."""
        body = json.dumps(list(changes))
        kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
        return self._call("PATCH", path, data=body, headers=kind).json()

    def send(self, path: str, data: Any) -> None:
        """Sends bytes, or what a file to be read has."""
        self._call("PUT", path, data=data, headers={"Content-Type": "application/octet-stream"})

    def delete(self, path: str) -> None:
        """What is already gone is fine."""
        try:
            self._call("DELETE", path)
        except errors.NotFound:
            return

    def stream(self, path: str, chunk: int = 1 << 20) -> Iterator[bytes]:
        response = self._call("GET", path, stream=True)
        with response:
            yield from response.iter_content(chunk)

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        from keystoneauth1 import exceptions

        request_id = context.current().request_id
        headers = {**self._headers, **arguments.pop("headers", {})}
        if request_id:
            headers["X-Openstack-Request-Id"] = request_id
        # A token that is not good now will not be good later either; the service's own gets renewed.
        final = False
        try:
            if self._token:
                headers.update(self._rights())
                arguments.update(authenticated=False, endpoint_override=self._of_project())
                final = True
            return self._connected().request(
                self._prefix + path,
                method,
                headers=headers,
                **arguments,
            )
        except exceptions.HttpError as error:
            raise _typed(self._service_type, error, final=final) from error
        except exceptions.ClientException as error:
            raise errors.Unavailable(
                f"The {self._service_type} service cannot be reached: {error}",
                reason="SERVICE_UNREACHABLE",
                service=self._service_type,
            ) from error

    def _rights(self) -> dict[str, str]:
        return {"X-Auth-Token": self._token, "X-Service-Token": self._connected().get_token()}

    def _of_project(self) -> str:
        """The endpoint, which in some catalogs names the project of whoever looks."""
        adapter = self._connected()
        endpoint: str = adapter.get_endpoint() or ""
        own = adapter.get_project_id()
        return endpoint.replace(own, self._project_id) if own else endpoint

    def _connected(self) -> Any:
        if self._adapter is None:
            from keystoneauth1 import adapter

            self._adapter = adapter.Adapter(
                session(self._conf),
                service_type=self._service_type,
                interface=self._options.interface,
                region_name=self._options.region_name or None,
                endpoint_override=self._options.endpoint_override or None,
                connect_retries=0,
            )
        return self._adapter


def session(conf: cfg.ConfigOpts) -> Any:
    """The process's session for this configuration, made when first asked for: its library imports slowly."""
    with _lock:
        if id(conf) not in _sessions:
            import requests
            from keystoneauth1 import session as sessions
            from keystoneauth1.identity import v3

            options = conf.service_auth
            pool = requests.Session()
            for scheme in ("http://", "https://"):
                pool.mount(scheme, requests.adapters.HTTPAdapter(pool_connections=8, pool_maxsize=64))
            _sessions[id(conf)] = sessions.Session(
                auth=v3.Password(
                    auth_url=options.auth_url,
                    username=options.username,
                    password=options.password,
                    user_domain_name=options.user_domain_name,
                    project_name=options.project_name,
                    project_domain_name=options.project_domain_name,
                ),
                session=pool,
                verify=options.cafile or True,
                timeout=options.timeout,
            )
        return _sessions[id(conf)]


def _typed(service: str, error: Any, *, final: bool) -> errors.Error:
    status = int(error.http_status or 0)
    said = _words(error)
    facts = {"service": service, "http_status": str(status)}
    text = f"The {service} service answered {status}: {said}"
    if status == 404:
        return errors.NotFound(text, reason="EXTERNAL_NOT_FOUND", **facts)
    if status in (403, 413) and "quota" in said.lower():
        return errors.QuotaExceeded(text, reason="EXTERNAL_QUOTA_EXCEEDED", **facts)
    if status == 403 or (status == 401 and final):
        return errors.PermissionDenied(text, reason="EXTERNAL_FORBIDDEN", **facts)
    if status == 409:
        return errors.FailedPrecondition(text, reason="EXTERNAL_CONFLICT", **facts)
    if status in (400, 422):
        return errors.InvalidArgument(text, reason="EXTERNAL_INVALID", **facts)
    return errors.Unavailable(text, reason="SERVICE_UNREACHABLE", **facts)


def _words(error: Any) -> str:
    """The sentence in the body, whichever of the usual envelopes it came in."""
    try:
        body = error.response.json()
        inner = next(iter(body.values())) if isinstance(body, dict) else body
        if isinstance(inner, dict):
            return str(inner.get("message") or inner.get("detail") or inner)
        return str(inner)
    except (ValueError, AttributeError, StopIteration):
        return str(error)
