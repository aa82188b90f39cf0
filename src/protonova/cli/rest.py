"""A small REST client over one kept connection, for the command's own errands.

It authenticates like any client and takes addresses from the catalog of its token. The stock libraries do the
same and more, in a second of imports that a command line should not cost.
"""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlencode, urlsplit

from protonova.cli.credentials import Account

LATEST = {"compute": "compute 2.104", "placement": "placement 1.39"}


class Refused(Exception):
    """The answer was an error."""

    def __init__(self, method: str, path: str, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"{method} {path}: {status} {body[:500].decode(errors='replace')}")


class Unreachable(Exception):
    """Nobody answers at the address."""


class Rest:
    """One client of one cloud, in one project. Not to be shared between threads."""

    def __init__(self, account: Account, *, timeout: float = 60.0) -> None:
        self.account = account
        self.timeout = timeout
        self.token = ""
        self.project_id = ""
        self.user_id = ""
        self._catalog: dict[str, str] = {}
        self._connections: dict[tuple[str, int], http.client.HTTPConnection] = {}

    def authenticate(self) -> None:
        """Gets a token and its catalog; called by the first request, and by one that finds it expired."""
        account = self.account
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": account.username,
                            "domain": {"name": "Default"},
                            "password": account.password,
                        }
                    },
                },
                "scope": {"project": {"name": account.project, "domain": {"name": "Default"}}},
            }
        }
        status, headers, content = self._send(
            "POST",
            f"{account.auth_url}/auth/tokens",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        if status != 201:
            raise Refused("POST", "/auth/tokens", status, content)
        token = json.loads(content)["token"]
        self.token = headers["X-Subject-Token"]
        self.project_id = token["project"]["id"]
        self.user_id = token["user"]["id"]
        for service in token["catalog"]:
            for endpoint in service["endpoints"]:
                if endpoint["interface"] == "public":
                    self._catalog[service["type"]] = endpoint["url"].rstrip("/")

    def get(self, service: str, path: str, **query: Any) -> Any:
        return self.call("GET", service, path + (f"?{urlencode(query)}" if query else ""))

    def post(self, service: str, path: str, body: Any) -> Any:
        return self.call("POST", service, path, body)

    def call(
        self, method: str, service: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        """The JSON of a successful answer; None when it has none. Raises Refused."""
        status, _, content = self.request(method, service, path, body, headers)
        if status >= 400:
            raise Refused(method, path, status, content)
        return json.loads(content) if content else None

    def request(
        self, method: str, service: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """One request with the latest version of the service: status, headers, content."""
        if not self.token:
            self.authenticate()
        for again in (True, False):
            sent = {"X-Auth-Token": self.token, "Accept": "application/json", **(headers or {})}
            if service in LATEST:
                sent.setdefault("OpenStack-API-Version", LATEST[service])
            content: Any = None
            if body is not None:
                raw = isinstance(body, bytes) or hasattr(body, "read")
                content = body if raw else json.dumps(body).encode()
                sent.setdefault("Content-Type", "application/octet-stream" if raw else "application/json")
            answer = self._send(method, self.endpoint(service) + path, content, sent)
            if answer[0] != 401 or not again:
                return answer
            self.authenticate()
        raise AssertionError("unreachable")

    def endpoint(self, service: str) -> str:
        """Where the catalog says the service is, with the version its paths start with."""
        if not self.token:
            self.authenticate()
        url = self._catalog[service]
        suffix = {"image": "/v2", "network": "/v2.0", "identity": "/v3"}.get(service, "")
        return url if url.endswith(suffix) else url + suffix

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def _send(
        self, method: str, url: str, body: Any, headers: dict[str, str]
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        place = urlsplit(url)
        key = (place.hostname or "", place.port or 80)
        path = place.path + (f"?{place.query}" if place.query else "")
        for fresh in (False, True):
            connection = self._connections.pop(key, None)
            if connection is None:
                fresh = True
                connection = http.client.HTTPConnection(*key, timeout=self.timeout)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A kept connection may have been closed meanwhile; a new one tells the truth.
                if not fresh and method in ("GET", "HEAD", "PUT", "DELETE"):
                    continue
                raise Unreachable(f"{method} {url}: {error}") from error
            if not response.will_close:
                self._connections[key] = connection
            return response.status, response.headers, content
        raise AssertionError("unreachable")
