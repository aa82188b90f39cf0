"""Companions as a process of their own, on a free port, and clients that speak to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openstack
import pytest
import requests
from openstack.connection import Connection

PASSWORDS = {"admin": "admin-secret", "demo": "demo-secret", "service": "service-secret"}
_SOURCES = str(Path(__file__).parents[3] / "src")


@dataclass
class Companions:
    """A running process; `url` is its public address."""

    state: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    url: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def start(self) -> None:
        ready, notice = os.pipe()
        environment = {
            **os.environ,
            "PYTHONPATH": _SOURCES,
            "PROTONOVA_READY_FD": str(notice),
            **{f"PROTONOVA_{who.upper()}_PASSWORD": password for who, password in PASSWORDS.items()},
        }
        command = [sys.executable, "-m", "protonova.companions.main", "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(
            [*command, "--state-dir", str(self.state), *self.arguments], env=environment, pass_fds=(notice,)
        )
        os.close(notice)
        with os.fdopen(ready) as pipe:
            self.url = f"http://{json.loads(pipe.readline())['address']}"
        self.tokens.clear()

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process
        self.process.terminate()
        return self.process.wait(timeout=20)

    def connect(self, user: str = "admin", project: str | None = None, password: str = "") -> Connection:
        return openstack.connect(
            auth_url=f"{self.url}/identity",
            username=user,
            password=password or PASSWORDS[user],
            project_name=project or user,
            user_domain_id="default",
            project_domain_id="default",
            region_name="RegionOne",
            load_yaml_config=False,
            load_envvars=False,
        )

    def token(self, user: str = "admin", project: str | None = None) -> str:
        key = f"{user}/{project}"
        if key not in self.tokens:
            self.tokens[key] = self.sign_in(user, project or user).headers["X-Subject-Token"]
        return self.tokens[key]

    def sign_in(self, user: str, project: str | None, password: str = "") -> requests.Response:
        who = {"name": user, "domain": {"id": "default"}, "password": password or PASSWORDS.get(user, "")}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": who}}}
        if project:
            auth["scope"] = {"project": {"name": project, "domain": {"id": "default"}}}
        return requests.post(f"{self.url}/identity/v3/auth/tokens", json={"auth": auth}, timeout=30)

    def call(
        self, method: str, path: str, body: Any = None, *, user: str = "admin", **rest: Any
    ) -> requests.Response:
        headers = {"X-Auth-Token": self.token(user), **rest.pop("headers", {})}
        return requests.request(method, f"{self.url}{path}", json=body, headers=headers, timeout=60, **rest)


@pytest.fixture(scope="session")
def companions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Companions]:
    running = Companions(tmp_path_factory.mktemp("companions"))
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def admin(companions: Companions) -> Connection:
    return companions.connect("admin")


@pytest.fixture(scope="session")
def demo(companions: Companions) -> Connection:
    return companions.connect("demo")


@pytest.fixture
def name() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def new_project(companions: Companions, admin: Connection) -> Callable[..., Connection]:
    """A project of its own with a member, and a connection as that member."""

    def make(role: str = "member") -> Connection:
        word = uuid.uuid4().hex[:12]
        project = admin.identity.create_project(name=word)
        user = admin.identity.create_user(name=word, password=word)
        admin.identity.assign_project_role_to_user(project, user, admin.identity.find_role(role))
        return companions.connect(word, word, password=word)

    return make
