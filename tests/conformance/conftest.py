"""One cloud for all tests here: three fake hosts, every service a process of its own, reached over HTTP alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openstack
import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud, running
from tests.support.rest import Answer, Rest

# Names of servers decide their fate on the hosts.
FATES = [
    {"call": "spawn", "stage": "disks", "guest": "slow-*", "delay": 60},
    {"call": "spawn", "stage": "disks", "guest": "unlucky-*", "error": "HostRefuses", "message": "no luck here"},
    {"call": "spawn", "stage": "disks", "guest": "rescued-*", "error": "HostRefuses", "host": "compute-[12]"},
]  # fmt: skip


# What these leave in the cloud is not what others expect to meet in it: they come last.
_ROUGH = ("test_bad_input.py", "test_fuzz.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = [place for place, item in enumerate(items) if here in item.path.parents]
    ordered = sorted((items[place] for place in places), key=lambda item: item.path.name in _ROUGH)
    for place, item in zip(places, ordered, strict=True):
        items[place] = item


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    with tempfile.TemporaryDirectory(prefix="conformance-") as directory:
        plan = Path(directory) / "fates.json"
        plan.write_text(json.dumps({"rules": FATES}))
        config = f"[quota]\ninstances = 40\ncores = 60\nram = 51200\n[fake]\nfaults = {plan}\n"
        with running(
            "sqlite", computes=3, config=config, keep=bool(os.environ.get("CONFORMANCE_KEEP"))
        ) as up:
            yield up


@pytest.fixture(scope="session")
def admin(cloud: Cloud) -> Rest:
    return Rest.of(cloud.state, "protonova-admin")


@pytest.fixture(scope="session")
def demo(cloud: Cloud) -> Rest:
    return Rest.of(cloud.state, "protonova")


@pytest.fixture(scope="session")
def root(demo: Rest) -> str:
    """What all endpoints begin with."""
    return demo.root


@pytest.fixture(scope="session")
def newcomer(admin: Rest, root: str) -> Callable[..., Rest]:
    """Makes a user with a role in a project (its own, or the one named)."""
    roles = {role["name"]: role["id"] for role in admin.get("/roles", prefix="/identity/v3")["roles"]}

    def make(name: str, role: str = "member", project: str = "") -> Rest:
        def made(kind: str, **fields: Any) -> str:
            return admin.post(f"/{kind}s", {kind: fields}, prefix="/identity/v3")[kind]["id"]

        if project:
            (found,) = admin.get(f"/projects?name={project}", prefix="/identity/v3")["projects"]
            project_id = found["id"]
        else:
            project, project_id = name, made("project", name=name)
        user_id = made("user", name=name, password="secret")
        path = f"/projects/{project_id}/users/{user_id}/roles/{roles[role]}"
        assert admin.call("PUT", path, prefix="/identity/v3").status == 204
        return Rest(root, name, "secret", project)

    return make


@pytest.fixture(scope="session")
def other(newcomer: Callable[..., Rest]) -> Rest:
    """A member of another project."""
    return newcomer("stranger")


@pytest.fixture(scope="session")
def reader(newcomer: Callable[..., Rest]) -> Rest:
    """Somebody who may only look, in the project of `demo`."""
    return newcomer("onlooker", "reader", "demo")


@dataclass
class Site:
    """What servers are made of."""

    flavor: str
    image: str
    network: str
    subnet: str

    def server(self, name: str, /, **fields: Any) -> dict[str, Any]:
        """The body of a request for a server."""
        wanted = {"name": name, "flavorRef": self.flavor, "imageRef": self.image, "networks": "none"}
        return {"server": wanted | fields}


@pytest.fixture(scope="session")
def site(admin: Rest) -> Site:
    flavor = {"id": "small", "name": "c1.small", "ram": 64, "vcpus": 1, "disk": 1}
    admin.post("/flavors", {"flavor": flavor})
    image = {"name": "blank", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
    image_id = admin.post("/images", image | {"os_type": "linux"}, prefix="/image/v2")["id"]
    stream = {"Content-Type": "application/octet-stream"}
    answer = admin.call(
        "PUT", f"/images/{image_id}/file", prefix="/image/v2", data=b"\0" * 4096, headers=stream
    )
    assert answer.status == 204
    network = {"name": "shared-net", "shared": True}
    network_id = admin.post("/networks", {"network": network}, prefix="/network/v2.0")["network"]["id"]
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": "10.77.0.0/16"}
    subnet_id = admin.post("/subnets", {"subnet": subnet}, prefix="/network/v2.0")["subnet"]["id"]
    return Site("small", image_id, network_id, subnet_id)


@pytest.fixture(scope="module")
def plaything(admin: Rest) -> Iterator[str]:
    """The id of a flavor to which anything may be done."""
    flavor = {"id": "plaything", "name": "plaything", "ram": 64, "vcpus": 1, "disk": 1}
    admin.post("/flavors", {"flavor": flavor})
    yield "plaything"
    admin.call("DELETE", "/flavors/plaything")


@dataclass
class Servers:
    """Makes servers, waits for them, and takes them away at the end of a test."""

    site: Site
    admin: Rest
    made: list[str]

    def create(
        self, who: Rest, name: str, *, version: str = "2.104", hints: Any = None, **fields: Any
    ) -> str:
        body = self.site.server(name, **fields)
        if hints:
            body["os:scheduler_hints"] = hints
        found = who.post("/servers", body, version=version)["server"]["id"]
        self.made.append(found)
        return found

    def boot(self, who: Rest, name: str, **rest: Any) -> dict[str, Any]:
        return self.wait(self.create(who, name, **rest))

    def wait(self, server_id: str, status: str = "ACTIVE") -> dict[str, Any]:
        def there() -> Any:
            shown = self.admin.get(f"/servers/{server_id}")["server"]
            assert status == "ERROR" or shown["status"] != "ERROR", shown.get("fault")
            return shown if shown["status"] == status and not shown["OS-EXT-STS:task_state"] else None

        return wait_for(there, seconds=30, what=f"server {status}")

    def gone(self, server_id: str) -> None:
        wait_for(
            lambda: self.admin.call("GET", f"/servers/{server_id}").status == 404,
            seconds=30,
            what="server gone",
        )

    def clean(self) -> None:
        for server_id in self.made:
            self.admin.call("POST", f"/servers/{server_id}/action", {"unlock": None})
            self.admin.call("DELETE", f"/servers/{server_id}")
        for server_id in self.made:
            self.gone(server_id)


@pytest.fixture
def servers(site: Site, admin: Rest) -> Iterator[Servers]:
    made = Servers(site, admin, [])
    yield made
    made.clean()


@pytest.fixture(scope="module")
def kept(site: Site, admin: Rest) -> Iterator[Servers]:
    """Servers that a whole module looks at."""
    made = Servers(site, admin, [])
    yield made
    made.clean()


@pytest.fixture(scope="session")
def sdk(cloud: Cloud) -> Callable[[str], openstack.connection.Connection]:
    """The SDK, as whom clouds.yaml names."""
    loader = openstack.config.OpenStackConfig(config_files=[str(cloud.state / "clouds.yaml")])
    return lambda name: openstack.connection.Connection(config=loader.get_one(cloud=name))


@pytest.fixture
def openstack_cli(cloud: Cloud) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The stock command line."""

    def run(*words: str, who: str = "protonova", code: int = 0) -> Any:
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("OS_")},
            "OS_CLIENT_CONFIG_FILE": str(cloud.state / "clouds.yaml"),
            "OS_CLOUD": who,
        }
        command = [str(Path(sys.executable).parent / "openstack"), *words]
        done = subprocess.run(
            command, env=environment, text=True, capture_output=True, check=False, timeout=60
        )
        assert done.returncode == code, done.stdout + done.stderr
        if "-f" in words and words[words.index("-f") + 1] == "json":
            return json.loads(done.stdout)
        return done.stdout + done.stderr

    return run


__all__ = ["Answer", "Servers", "Site"]
