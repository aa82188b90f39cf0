"""Servers with CPUs of their own on a whole cloud of two hosts, each of two cells: 2 and 4 dedicated CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.cloud import running
from protonova.common.v1.numa_pb2 import CPU_POLICY_DEDICATED
from protonova.services.numa import usage
from tests.support.scene import Scene

pytestmark = pytest.mark.timeout(180)

CONFIG = """
[compute]
cpu_shared_set = 0-1
cpu_dedicated_set = 2-7
[fake]
vcpus = 8
memory_mb = 16384
numa_cells = 2
threads_per_core = 2
huge_pages = 2048:2048
[filter_scheduler]
enabled_filters = ComputeFilter,NUMATopologyFilter
"""


def taken(scene: Scene, servers: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Host and CPU, every time one is given."""
    return sorted(
        (server["OS-EXT-SRV-ATTR:host"], cpu)
        for server in servers
        for cell in scene.stored(server).numa_topology.cells
        for cpu in usage.host_cpus(cell)
    )


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running("sqlite", computes=2, config=CONFIG) as cloud:
        yield Scene(cloud)


def _ended(servers: list[dict[str, Any]], status: str) -> list[dict[str, Any]]:
    return [server for server in servers if server["status"] == status]


def test_a_pinned_server_is_told_where_it_lies(scene: Scene) -> None:
    flavor = scene.flavor(4, cpu_policy="dedicated", numa_nodes="2", mem_page_size="large")
    (server,) = scene.boot(flavor)
    assert server["status"] == "ACTIVE", server
    stored = scene.stored(server).numa_topology
    assert stored.fitted
    assert stored.cpu_policy == CPU_POLICY_DEDICATED
    assert [dict(cell.pins) for cell in stored.cells] == [{0: 2, 1: 3}, {2: 4, 3: 5}]
    path = f"/servers/{server['id']}/topology"
    assert scene.admin.get(path) == {
        "nodes": [
            {
                "memory_mb": 256,
                "siblings": [[0, 1]],
                "vcpu_set": [0, 1],
                "host_node": 0,
                "cpu_pinning": {"0": 2, "1": 3},
            },
            {
                "memory_mb": 256,
                "siblings": [[2, 3]],
                "vcpu_set": [2, 3],
                "host_node": 1,
                "cpu_pinning": {"2": 4, "3": 5},
            },
        ],
        "pagesize_kb": 2048,
    }
    assert "host_node" not in str(scene.user.get(path))
    scene.delete([server])


def test_racing_servers_never_share_a_cpu_and_use_all_there_are(scene: Scene) -> None:
    servers = scene.boot(scene.flavor(2, cpu_policy="dedicated"), 9)
    active, failed = _ended(servers, "ACTIVE"), _ended(servers, "ERROR")
    hosts = ("compute-1", "compute-2")
    assert taken(scene, active) == [(host, cpu) for host in hosts for cpu in range(2, 8)]
    assert len(failed) == 3
    assert all("No valid host" in server["fault"]["message"] for server in failed)
    scene.delete(servers)


def test_hosts_refuse_what_placement_has_room_for_and_remember_it_when_killed(scene: Scene) -> None:
    """Two servers of three CPUs are 6 of 6 to placement, but only one cell has three."""
    flavor = scene.flavor(3, cpu_policy="dedicated", cpu_thread_policy="prefer")
    servers = scene.boot(flavor, 5)
    active, failed = _ended(servers, "ACTIVE"), _ended(servers, "ERROR")
    assert sorted(server["OS-EXT-SRV-ATTR:host"] for server in active) == ["compute-1", "compute-2"]
    assert len(set(taken(scene, active))) == 6
    scene.delete(failed)

    scene.kill_agent()
    pair = scene.boot(scene.flavor(2, cpu_policy="dedicated", numa_nodes="1"), 2)
    assert [server["status"] for server in pair] == ["ACTIVE"] * 2
    pinned = taken(scene, [*active, *pair])
    assert len(pinned) == len(set(pinned)) == 10

    scene.delete(active)
    again = scene.boot(flavor, 2)
    assert [server["status"] for server in again] == ["ACTIVE"] * 2
    scene.delete([*pair, *again])


def test_an_agent_killed_while_servers_boot_gives_nothing_twice_and_loses_nothing(scene: Scene) -> None:
    flavor = scene.flavor(2, cpu_policy="dedicated", mem_page_size="2048")
    for _ in range(2):
        made = [scene.create(flavor).json["server"]["id"] for _ in range(6)]
        scene.kill_agent()
        servers = [scene.settled(server) for server in made]
        assert [server["status"] for server in servers] == ["ACTIVE"] * 6
        assert len(set(taken(scene, servers))) == 12
        scene.delete(servers)


def test_what_cannot_be_asked_for_is_refused_at_the_door(scene: Scene) -> None:
    refused = scene.create(scene.flavor(3, numa_nodes="2"))
    refused.fault(400, "hw:numa_nodes", "3 CPUs")
    assert scene.user.get("/servers")["servers"] == []
