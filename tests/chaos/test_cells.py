"""Two cells: servers are spread over both, lists show them as one, and a cell that is down costs its own only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos.world import World, eventually, world

pytestmark = pytest.mark.timeout(120)

_HOSTS = {"cell1": {"compute-1", "compute-3"}, "cell2": {"compute-2", "compute-4"}}
_BEFORE_PARTIAL = {"OpenStack-API-Version": "compute 2.68"}
_PARTIAL_KEYS = {"id", "links", "status", "created", "tenant_id", "security_groups"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[World]:
    with world(computes=4, cells=2, config="[scheduler]\ncell_away_seconds = 0.5\n") as made:
        yield made


@pytest.fixture
def by_cell(cloud: World) -> Iterator[dict[str, set[str]]]:
    """Eight servers, by the cell they came to be in."""
    servers = [cloud.accepted(port=number < 2) for number in range(8)]
    for server in servers:
        cloud.wait(server, "ACTIVE")
    hosts = {server: cloud.site.show(server)["OS-EXT-SRV-ATTR:host"] for server in servers}
    yield {name: {server for server in servers if hosts[server] in own} for name, own in _HOSTS.items()}
    cloud.delete_all()


def test_servers_are_spread_and_lists_merged(cloud: World, by_cell: dict[str, set[str]]) -> None:
    assert all(len(servers) >= 2 for servers in by_cell.values())
    newest_first = list(reversed(cloud.ledger.status))
    assert [server["id"] for server in _detail(cloud)] == newest_first
    pages = list(_pages(cloud, size=3))
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [server["id"] for page in pages for server in page] == newest_first
    host = next(iter(_HOSTS["cell2"]))
    on_host = {server["id"] for server in _detail(cloud, f"?host={host}")}
    assert on_host < by_cell["cell2"]
    cloud.settle()


def test_a_cell_that_is_down_costs_only_its_own_servers(cloud: World, by_cell: dict[str, set[str]]) -> None:
    here, away = by_cell["cell1"], by_cell["cell2"]
    lost, kept = sorted(away)[0], sorted(here)[0]
    cloud.cloud.halt("conductor-2")

    started = time.monotonic()
    listed = {server["id"]: server for server in _detail(cloud)}
    print(f"first list without the cell after {time.monotonic() - started:.2f} s")
    assert listed.keys() == here | away
    for server in away:
        assert listed[server]["status"] == "UNKNOWN"
        assert listed[server].keys() <= _PARTIAL_KEYS
    assert all(listed[server]["status"] == "ACTIVE" for server in here)
    assert cloud.site.show(lost)["status"] == "UNKNOWN"

    # Clients that know nothing of partial records get those of the other cell.
    status, document = cloud.ask("GET", "/v2.1/servers/detail", headers=_BEFORE_PARTIAL)
    assert status == 200
    assert {server["id"] for server in document["servers"]} == here
    assert cloud.ask("GET", f"/v2.1/servers/{lost}", headers=_BEFORE_PARTIAL)[0] == 503

    for method, path, body in (
        ("POST", f"/v2.1/servers/{lost}/action", {"os-stop": None}),
        ("DELETE", f"/v2.1/servers/{lost}", None),
    ):
        assert cloud.ask(method, path, body)[0] == 503
    assert cloud.ask("POST", f"/v2.1/servers/{kept}/action", {"os-stop": None})[0] == 202
    cloud.promise(kept, "SHUTOFF")
    cloud.wait(kept, "SHUTOFF")
    fresh = cloud.accepted()

    assert _silent_hosts(cloud) == _HOSTS["cell2"]

    cloud.cloud.resume("conductor-2")
    eventually(lambda: cloud.site.show(lost)["status"] == "ACTIVE", "the cell to be heard again")
    assert cloud.ask("POST", f"/v2.1/servers/{lost}/action", {"os-stop": None})[0] == 202
    cloud.promise(lost, "SHUTOFF")
    cloud.wait(lost, "SHUTOFF")
    cloud.wait(fresh, "ACTIVE")
    cloud.settle()


def test_a_silent_cell_gets_no_new_servers(cloud: World) -> None:
    cloud.cloud.halt("conductor-1")
    try:
        eventually(lambda: _silent_hosts(cloud) == _HOSTS["cell1"], "the cell to be missed")
        servers = [cloud.accepted() for _ in range(4)]
        for server in servers:
            cloud.wait(server, "ACTIVE", seconds=20)
            assert cloud.site.show(server)["OS-EXT-SRV-ATTR:host"] in _HOSTS["cell2"]
    finally:
        cloud.cloud.resume("conductor-1")
    cloud.delete_all()


def _silent_hosts(cloud: World) -> set[str]:
    services = cloud.admin.call("GET", "/v2.1/os-services")["services"]
    return {service["host"] for service in services if service["status"] == "UNKNOWN"}


def _detail(cloud: World, query: str = "") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.admin.call("GET", f"/v2.1/servers/detail{query}")["servers"]
    return found


def _pages(cloud: World, size: int) -> Iterator[list[dict[str, Any]]]:
    marker = ""
    while page := _detail(cloud, f"?limit={size}{marker}"):
        yield page
        marker = f"&marker={page[-1]['id']}"
