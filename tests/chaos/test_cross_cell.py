"""Moves between two cells, as users see them: a server is in one cell at each moment, and in every list once;
ports, volumes, quota and groups go along, there and back."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.chaos.workload import VOLUMES
from tests.chaos.world import World, eventually, world

pytestmark = pytest.mark.timeout(240)

HOME, NEIGHBOUR, FAR = "compute-1", "compute-3", "compute-2"
RULE = "compute:servers:resize:cross_cell"
_NAMED = {"OpenStack-API-Version": "compute 2.79"}
_GROUPS = {"OpenStack-API-Version": "compute 2.64"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Its administrators may."""
    policy = tmp_path_factory.mktemp("policy") / "policy.yaml"
    policy.write_text(f'"{RULE}": "role:admin"\n')
    with world(computes=4, cells=2, config=f"[oslo_policy]\npolicy_file = {policy}\n") as made:
        yield made


@pytest.fixture(scope="module")
def larger(cloud: World) -> str:
    flavor = {"name": f"larger-{uuid.uuid4().hex[:8]}", "ram": 96, "vcpus": 2, "disk": 1}
    made: str = cloud.admin.call("POST", "/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]
    return made


@pytest.fixture
def server(cloud: World) -> Iterator[str]:
    """One at HOME, with a port and a volume, in a group."""
    group = _group(cloud)
    wanted = {
        "name": "crosser",
        "flavorRef": cloud.site.flavor,
        "imageRef": cloud.site.image,
        "networks": [{"uuid": cloud.site.network}],
        "availability_zone": f"nova:{HOME}",
    }
    hints = {"group": group}
    status, answer = cloud.ask("POST", "/v2.1/servers", {"server": wanted, "os:scheduler_hints": hints})
    assert status == 202, answer
    made = answer["server"]["id"]
    cloud.promise(made, "ACTIVE", port=True)
    cloud.ledger.groups[group] = {made}
    cloud.wait(made, "ACTIVE")
    path = f"{VOLUMES}/{cloud.admin.project_id}/volumes"
    volume = cloud.admin.call("POST", path, {"volume": {"size": 1, "name": "v"}}, (202,))["volume"]["id"]
    eventually(
        lambda: cloud.admin.call("GET", f"{path}/{volume}")["volume"]["status"] == "available", "a volume"
    )
    body = {"volumeAttachment": {"volumeId": volume}}
    cloud.admin.call("POST", f"/v2.1/servers/{made}/os-volume_attachments", body, (200,))
    cloud.ledger.attached[volume] = made
    eventually(lambda: _volume(cloud, volume) == "in-use", "the volume to be attached")
    yield made
    cloud.ledger.attached.clear()
    cloud.ledger.vcpus.clear()
    cloud.ledger.groups[group].clear()
    cloud.admin.call("DELETE", f"/v2.1/servers/{made}", expect=(204,))
    del cloud.ledger.status[made]
    cloud.ledger.with_port.clear()
    eventually(lambda: _volume(cloud, volume) == "available", "the volume to be free")
    cloud.settle()


def test_there_and_confirmed(cloud: World, server: str, larger: str) -> None:
    """Its own cell is preferred; with no host left there it goes to the other one."""
    before = _port_host(cloud, server)
    assert before == HOME
    with _disabled(cloud, NEIGHBOUR), _listed_once(cloud, server):
        assert _act(cloud, server, {"resize": {"flavorRef": larger}})[0] == 202
        cloud.wait(server, "VERIFY_RESIZE")
    assert _host(cloud, server) in (FAR, "compute-4")
    assert _port_host(cloud, server) == _host(cloud, server)
    assert _action(cloud, server)[0] == "resize"
    (moved,) = _migrations(cloud, server)
    assert (moved["status"], moved["source_compute"]) == ("finished", HOME)
    assert _act(cloud, server, {"confirmResize": None})[0] == 204
    cloud.wait(server, "ACTIVE")
    cloud.ledger.vcpus[server] = 2
    cloud.settle()
    assert _action(cloud, server)[:2] == ["confirmResize", "resize"]
    assert _action(cloud, server)[-1] == "create"


def test_there_and_back(cloud: World, server: str) -> None:
    with _listed_once(cloud, server):
        assert _act(cloud, server, {"migrate": {"host": FAR}})[0] == 202
        cloud.wait(server, "VERIFY_RESIZE")
        assert _host(cloud, server) == FAR
        assert _act(cloud, server, {"revertResize": None})[0] == 202
        cloud.wait(server, "ACTIVE")
    assert _host(cloud, server) == _port_host(cloud, server) == HOME
    cloud.settle()
    assert _action(cloud, server)[:2] == ["revertResize", "migrate"]


def test_a_host_that_refuses(cloud: World, server: str) -> None:
    cloud.disturb({"host": FAR, "call": "spawn", "error": "DriverError"})
    try:
        with _listed_once(cloud, server):
            assert _act(cloud, server, {"migrate": {"host": FAR}})[0] == 202
            eventually(lambda: [one["status"] for one in _migrations(cloud, server)] == ["error"], "the end")
            cloud.wait(server, "ACTIVE")
    finally:
        cloud.calm()
    assert _host(cloud, server) == _port_host(cloud, server) == HOME
    cloud.settle()


@contextmanager
def _listed_once(cloud: World, server: str) -> Iterator[None]:
    """Throughout the block every list has the server once."""
    over, wrong = threading.Event(), []
    lists = 0

    def look() -> None:
        nonlocal lists
        while not over.is_set():
            found = [one["id"] for one in cloud.admin.call("GET", "/v2.1/servers/detail")["servers"]]
            lists += 1
            if found.count(server) != 1:
                wrong.append(found)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
    assert lists
    assert not wrong


@contextmanager
def _disabled(cloud: World, host: str) -> Iterator[None]:
    services = cloud.admin.call("GET", f"/v2.1/os-services?host={host}")["services"]
    path = f"/v2.1/os-services/{services[0]['id']}"
    cloud.admin.call("PUT", path, {"status": "disabled"})
    try:
        yield
    finally:
        cloud.admin.call("PUT", path, {"status": "enabled"})


def _group(cloud: World) -> str:
    body = {"server_group": {"name": "crossers", "policy": "anti-affinity"}}
    status, answer = cloud.ask("POST", "/v2.1/os-server-groups", body, _GROUPS)
    assert status == 200, answer
    made: str = answer["server_group"]["id"]
    return made


def _act(cloud: World, server: str, body: dict[str, Any]) -> tuple[int, Any]:
    return cloud.ask("POST", f"/v2.1/servers/{server}/action", body, _NAMED)


def _host(cloud: World, server: str) -> str:
    found: str = cloud.site.show(server)["OS-EXT-SRV-ATTR:host"]
    return found


def _port_host(cloud: World, server: str) -> str:
    (port,) = cloud.admin.call("GET", f"/network/v2.0/ports?device_id={server}")["ports"]
    host: str = port["binding:host_id"]
    return host


def _volume(cloud: World, volume: str) -> str:
    path = f"{VOLUMES}/{cloud.admin.project_id}/volumes/{volume}"
    status: str = cloud.admin.call("GET", path)["volume"]["status"]
    return status


def _action(cloud: World, server: str) -> list[str]:
    """The newest first."""
    found = cloud.admin.call("GET", f"/v2.1/servers/{server}/os-instance-actions")["instanceActions"]
    return [one["action"] for one in found]


def _migrations(cloud: World, server: str) -> list[Any]:
    found: list[Any] = cloud.admin.call("GET", f"/v2.1/os-migrations?instance_uuid={server}")["migrations"]
    return found
