"""A REST client that says of itself which version it speaks, and hides nothing of the answer."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import urllib3
import yaml

LATEST = "2.104"
VERSIONS = [f"2.{minor}" for minor in range(1, 105)]
ELEMENTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}


@dataclass
class Answer:
    status: int
    headers: requests.structures.CaseInsensitiveDict[str]
    content: bytes
    json: Any

    def fault(self, code: int, *words: str) -> str:
        """The message of a fault of the right form, with these words in it."""
        assert self.status == code, (self.status, self.content[:500])
        (element,) = self.json
        assert element == ELEMENTS.get(code, "computeFault")
        fault = self.json[element]
        assert fault["code"] == code
        assert fault["message"]
        assert set(fault) <= {"code", "message", "retryAfter"}
        for word in words:
            assert word in fault["message"], fault["message"]
        return fault["message"]


class Rest:
    """Somebody with a token."""

    def __init__(self, root: str, name: str, password: str, project: str) -> None:
        self.root = root
        self._sessions = threading.local()
        domain = {"id": "default"}
        user = {"name": name, "domain": domain, "password": password}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": project, "domain": domain}},
        }
        answer = requests.post(f"{root}/identity/v3/auth/tokens", json={"auth": auth}, timeout=60)
        assert answer.status_code == 201, answer.text
        self.token = answer.headers["X-Subject-Token"]
        self.project_id: str = answer.json()["token"]["project"]["id"]
        self.user_id: str = answer.json()["token"]["user"]["id"]

    @classmethod
    def of(cls, state: Path, name: str) -> Rest:
        """Whom the clouds.yaml of a state directory names."""
        account = yaml.safe_load((state / "clouds.yaml").read_text())["clouds"][name]["auth"]
        root = account["auth_url"].removesuffix("/identity/v3")
        return cls(root, account["username"], account["password"], account["project_name"])

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str | None = LATEST,
        prefix: str = "/v2.1",
        headers: dict[str, str | None] | None = None,
        data: bytes | None = None,
    ) -> Answer:
        sent: dict[str, str | None] = {"X-Auth-Token": self.token}
        if version:
            sent["OpenStack-API-Version"] = f"compute {version}"
        if data is not None:
            sent["Content-Type"] = "application/json"
        session = self._session()
        got = session.request(
            method,
            self.root + prefix + path,
            json=body,
            data=data,
            headers=sent | (headers or {}),
            timeout=60,
            allow_redirects=False,
        )
        json = got.json() if got.content and "json" in got.headers.get("Content-Type", "") else None
        return Answer(got.status_code, got.headers, got.content, json)

    def get(self, path: str, **rest: Any) -> Any:
        """The body of an answer that must be good."""
        answer = self.call("GET", path, **rest)
        assert answer.status == 200, (answer.status, answer.content[:500])
        return answer.json

    def post(self, path: str, body: Any, **rest: Any) -> Any:
        answer = self.call("POST", path, body, **rest)
        assert answer.status < 300, (answer.status, answer.content[:500])
        return answer.json

    def _session(self) -> requests.Session:
        if not hasattr(self._sessions, "one"):
            self._sessions.one = requests.Session()
            # A server may close a connection it keeps just as the next request goes out: that one is sent again.
            again = requests.adapters.HTTPAdapter(
                max_retries=urllib3.Retry(2, status=0, allowed_methods=None)
            )
            self._sessions.one.mount("http://", again)
        return self._sessions.one
