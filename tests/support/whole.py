"""A whole region in this process: every service with a database of its own, the companions over HTTP, the gateway
as an application. A service can be ended like a process that is killed, and begun again on what it left behind."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import requests
from werkzeug.test import Client, TestResponse

from benchmarks.cloud import ports
from protonova.cli import settings
from protonova.companions.main import create_app
from protonova.companions.serve import HttpServer
from protonova.companions.settings import Settings
from protonova.gateway.app import Gateway
from protonova.services.api import main as api
from protonova.services.compute import main as compute
from protonova.services.conductor import main as conductor
from protonova.services.placement import main as placement
from protonova.services.runtime import config, context
from protonova.services.runtime.server import Server
from protonova.services.scheduler import main as scheduler
from tests.support.lives import Life, Lives

HOSTS = ("host1", "host2", "host3")
SERVICES: dict[str, Callable[[Any, Server], Any]] = {
    "placement": placement.build,
    "api": api.build,
    "conductor": conductor.build,
    "scheduler": scheduler.build,
    "compute": compute.build,
}
PASSWORD = "secret"
LATEST = "2.104"
PATIENCE = 30.0


class Companions:
    """Identity, Image, Network and Volume, on a free port."""

    def __init__(self, directory: Path) -> None:
        self._http = HttpServer(lambda *call: self._app(*call), "127.0.0.1", 0, 12)
        self._http.prepare()
        self.url = f"http://127.0.0.1:{self._http.bind_addr[1]}"
        self._app = create_app(
            Settings(
                directory,
                self.url,
                admin_password=PASSWORD,
                demo_password=PASSWORD,
                service_password=PASSWORD,
            )
        )
        threading.Thread(target=self._http.serve, daemon=True).start()

    def close(self) -> None:
        self._http.stop()
        self._app.extensions["protonova.companions"].close()


class Account:
    """Somebody with a token, at the companions and at the gateway."""

    def __init__(self, companions: str, client: Client, name: str, project: str) -> None:
        domain = {"id": "default"}
        user = {"name": name, "domain": domain, "password": PASSWORD}
        auth = {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": project, "domain": domain}},
        }
        self._root, self._client = companions, client
        self._session = requests.Session()
        answer = self._session.post(f"{companions}/identity/v3/auth/tokens", json={"auth": auth}, timeout=60)
        assert answer.status_code == 201, answer.text
        self._session.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]
        self.project_id: str = answer.json()["token"]["project"]["id"]

    def call(
        self, method: str, path: str, body: Any = None, *, version: str = LATEST, headers: Any = None
    ) -> TestResponse:
        """One of the gateway's; `path` is below /v2.1 unless it begins with /placement."""
        token = {"X-Auth-Token": str(self._session.headers["X-Auth-Token"])}
        service = "placement 1.39" if path.startswith("/placement") else f"compute {version}"
        return self._client.open(
            path if path.startswith("/placement") else f"/v2.1{path}",
            method=method,
            headers={**token, "OpenStack-API-Version": service, **(headers or {})},
            data=None if body is None else orjson.dumps(body),
            content_type=None if body is None else "application/json",
        )

    def look(self, path: str) -> TestResponse:
        """Patient with services that begin anew."""
        ends = time.monotonic() + PATIENCE
        while (answer := self.call("GET", path)).status_code in (502, 503, 504):
            assert time.monotonic() < ends, answer.text
            time.sleep(0.02)
        return answer

    def get(self, path: str) -> Any:
        answer = self.look(path)
        assert answer.status_code == 200, answer.text
        return answer.json

    def beside(self, method: str, path: str, body: Any = None, **rest: Any) -> Any:
        """One of the companions'; the answer's body."""
        answer = self._session.request(method, self._root + path, json=body, timeout=60, **rest)
        assert answer.ok, (method, path, answer.status_code, answer.text[:500])
        return answer.json() if answer.content else None


class Whole:
    def __init__(self, directory: Path, **options: Any) -> None:
        self.directory = directory
        self.companions = Companions(directory / "companions")
        self._options = options
        self._faults = directory / "faults.json"
        self._file = self._accounts()
        self._open = ExitStack()
        base = self._open.enter_context(ports(len(SERVICES)))
        self.targets = {name: f"127.0.0.1:{base + number}" for number, name in enumerate(SERVICES)}
        self.lives = self._open.enter_context(Lives())
        self.life: dict[str, Life] = {}
        # How many lives there have been.
        self.begun = 0
        for name in SERVICES:
            self.start(name)
        self.gateway = Gateway(self.conf())
        self.client = Client(self.gateway.compute)
        self.admin = Account(self.companions.url, self.client, "admin", "admin")
        self.user = Account(self.companions.url, self.client, "demo", "demo")

    def conf(self, **more: Any) -> Any:
        url = self.companions.url
        options: dict[str, Any] = {
            "state_path": str(self.directory),
            "graceful_shutdown_timeout": 0,
            "glance__endpoint_override": f"{url}/image",
            "neutron__endpoint_override": f"{url}/network",
            "cinder__endpoint_override": f"{url}/volume/v3",
            "manila__endpoint_override": f"{url}/share/v2",
            "api_database__connection": f"sqlite:///{self.directory}/api.sqlite",
            "placement_database__connection": f"sqlite:///{self.directory}/placement.sqlite",
            "database__connection": f"sqlite:///{self.directory}/cell.sqlite",
            "compute": {
                "driver": "fake",
                "hosts": list(HOSTS),
                "listen": self.targets["compute"],
                "advertise": self.targets["compute"],
            },
            "conductor__volume_poll_interval": 0.02,
            "operations": {"lease_seconds": 0.5, "poll_seconds": 0.05},
            "grpc__wait_seconds": 5.0,
            **{f"{name}__target": target for name, target in self.targets.items() if name != "compute"},
            **self._options,
            **more,
        }
        return config.load(files=[str(self._file)], **options)

    def _accounts(self) -> Path:
        """The options whose names only who reads them knows."""
        url = f"{self.companions.url}/identity/v3"
        account = {
            "auth_url": url,
            "username": "nova",
            "password": PASSWORD,
            "user_domain_name": "Default",
            "project_name": "service",
            "project_domain_name": "Default",
        }
        sections = {
            "service_auth": account,
            "fake": {"faults": str(self._faults)},
            "keystone_authtoken": {"auth_type": "password", "www_authenticate_uri": url, **account},
        }
        file = self.directory / "accounts.conf"
        file.write_text(settings.text(sections, "Accounts of the services."))
        return file

    def start(self, name: str) -> None:
        """Each has the one address for as long as the region lives."""
        conf = self.conf()
        server = Server(conf, name, self.targets[name])
        life = self.life[name] = self.lives.begin(conf, name)
        life.server = server
        self.begun += 1
        with context.use(context.internal(name)), self.lives.doors(life):
            SERVICES[name](conf, server)
            server.start()

    def start_again(self, name: str) -> None:
        """After its death."""
        self.life[name].bury()
        self.start(name)

    def disturb(self, *rules: dict[str, Any]) -> None:
        """What goes wrong in hypervisors from now on, in whichever life of their agent; nothing without rules."""
        self.lives.failed.clear()
        written = self._faults.with_suffix(".new")
        written.write_bytes(orjson.dumps({"rules": rules}))
        written.replace(self._faults)

    def left_on_hosts(self) -> Counter[tuple[str, str]]:
        """What hosts keep beside guests, and where: what is set aside for a move, guests on their way, and copies
        of disks on their way to the image service."""
        store = sqlite3.connect(self.directory / "fake-guests.sqlite")
        with contextlib.closing(store):
            return Counter(
                (kind, host)
                for kind in ("asides", "passing", "snapshots")
                for (host,) in store.execute(f"SELECT host FROM {kind}")
            )

    def close(self) -> None:
        self.gateway.close()
        for name in reversed(SERVICES):
            life = self.life.pop(name)
            assert life.server is not None
            if life.died.is_set():
                life.bury()
            else:
                life.server.stop(0)
        self.companions.close()
        self._open.close()
