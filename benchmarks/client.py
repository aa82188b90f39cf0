"""A REST client that costs as little as it can, so that the cloud is measured and not the client."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

MICROVERSION = "2.90"


@dataclass(frozen=True)
class Account:
    """Where to log in, and as whom."""

    auth_url: str
    username: str
    password: str
    project_name: str


class Client:
    """One keep-alive connection a thread, one token for all."""

    def __init__(self, address: tuple[str, int], token: str = "", project_id: str = "") -> None:
        self._connections = threading.local()
        self._address = address
        self.token = token
        self.project_id = project_id

    @classmethod
    def login(cls, account: Account) -> Client:
        base = urlsplit(account.auth_url)
        assert base.hostname
        assert base.port
        client = cls((base.hostname, base.port))
        client.token, client.project_id = client._login(account)
        return client

    def call(self, method: str, path: str, body: Any = None, expect: tuple[int, ...] = ()) -> Any:
        """The JSON answer (None when empty). Raises `Refused` on a status that is not expected (default: 2xx)."""
        status, _, data = self.exchange(method, path, body)
        if status not in expect if expect else status >= 300:
            raise Refused(f"{method} {path}: {status} {data[:500]!r}", status)
        return json.loads(data) if data else None

    def fetch(self, path: str) -> bytes:
        """An answer as it came: what a reader makes of a large one would be measured with it."""
        status, _, data = self.exchange("GET", path)
        if status != 200:
            raise Refused(f"GET {path}: {status} {data[:500]!r}", status)
        return data

    def exchange(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; a connection the server has closed is opened again."""
        sent = {"Accept": "application/json", **(headers or {})}
        if self.token:
            sent["X-Auth-Token"] = self.token
        if path.startswith("/v2"):
            sent.setdefault("OpenStack-API-Version", f"compute {MICROVERSION}")
        payload = body
        if body is not None and not isinstance(body, bytes):
            payload = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        for attempt in (1, 2):
            connection = self._connection()
            try:
                connection.request(method, path, payload, sent)
                response = connection.getresponse()
                data = response.read()
                return response.status, dict(response.getheaders()), data
            except (http.client.HTTPException, ConnectionError):
                connection.close()
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def _connection(self) -> http.client.HTTPConnection:
        connection = getattr(self._connections, "current", None)
        if connection is None:
            connection = http.client.HTTPConnection(*self._address, timeout=120)
            self._connections.current = connection
        return connection

    def _login(self, account: Account) -> tuple[str, str]:
        body = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": account.username,
                            "domain": {"id": "default"},
                            "password": account.password,
                        }
                    },
                },
                "scope": {"project": {"name": account.project_name, "domain": {"id": "default"}}},
            }
        }
        path = urlsplit(account.auth_url).path.rstrip("/")
        path = path if path.endswith("/v3") else path + "/v3"
        status, headers, data = self.exchange("POST", f"{path}/auth/tokens", body)
        if status != 201:
            raise Refused(f"login: {status} {data[:300]!r}", status)
        found = {name.lower(): value for name, value in headers.items()}
        return found["x-subject-token"], json.loads(data)["token"]["project"]["id"]


class Refused(Exception):
    """The cloud answered otherwise than expected."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def wait_for(
    condition: Callable[[], Any], *, seconds: float, every: float = 0.02, what: str = "condition"
) -> Any:
    """Asks until the answer is true, and returns it; raises `TimeoutError` when it never is."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds} s")
        pause.wait(every)
