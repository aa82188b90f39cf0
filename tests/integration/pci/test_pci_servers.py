"""Servers with PCI devices on a whole cloud of two hosts, each with two GPUs in one cell and a network card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.cloud import running
from tests.support.scene import Scene

pytestmark = pytest.mark.timeout(180)

GPU = {"vendor_id": "10de", "product_id": "20b5"}
VF = {"vendor_id": "8086", "product_id": "154c"}
NIC = {"vendor_id": "8086", "product_id": "1572"}
HEAD = "0000:05:00.0"
CONFIG = f"""
[compute]
cpu_shared_set = 0-3
cpu_dedicated_set = 4-7
[fake]
vcpus = 8
memory_mb = 16384
numa_cells = 2
vgpus = 1
pci_devices = {json.dumps({"address": "0000:81:00.0", "numa_cell": 1, "count": 2, **GPU})}
pci_devices = {json.dumps({"address": HEAD, "type": "type-PF", "devname": "eth5", **NIC})}
pci_devices = {json.dumps({"address": "0000:05:02.0", "type": "type-VF", "parent": HEAD, "count": 4, **VF})}
[pci]
alias = {json.dumps({"name": "gpu", **GPU})}
alias = {json.dumps({"name": "vf", "device_type": "type-VF", **VF})}
alias = {json.dumps({"name": "near", "numa_policy": "required", **GPU})}
device_spec = {json.dumps(GPU)}
device_spec = {json.dumps({"devname": "eth5", "product_id": VF["product_id"], "trusted": "true"})}
[filter_scheduler]
enabled_filters = ComputeFilter,NUMATopologyFilter,PciPassthroughFilter
"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running("sqlite", computes=2, config=CONFIG) as cloud:
        yield Scene(cloud)


def flavor(scene: Scene, alias: str, vcpus: int = 1, **specs: str) -> str:
    return scene.flavor_of(
        vcpus, {"pci_passthrough:alias": alias} | {f"hw:{key}": value for key, value in specs.items()}
    )


def held(scene: Scene, servers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Host and address, every time one is given."""
    return sorted(
        (server["OS-EXT-SRV-ATTR:host"], device.address)
        for server in servers
        for device in scene.stored(server).pci_devices
    )


def of_status(servers: list[dict[str, Any]], status: str) -> list[dict[str, Any]]:
    return [server for server in servers if server["status"] == status]


def test_a_server_with_two_devices(scene: Scene) -> None:
    (server,) = scene.boot(flavor(scene, "gpu:1, vf:1"))
    assert server["status"] == "ACTIVE", server
    stored = scene.stored(server)
    assert [(request.alias, request.count) for request in stored.pci_requests] == [("gpu", 1), ("vf", 1)]
    gpu, function = stored.pci_devices
    assert (gpu.address, gpu.vendor_id, gpu.numa_cell) == ("0000:81:00.0", "10de", 1)
    assert (function.address, function.parent_address) == ("0000:05:02.0", "0000:05:00.0")
    assert [gpu.request_id, function.request_id] == [request.id for request in stored.pci_requests]
    scene.delete([server])


def test_racing_servers_never_share_a_device_and_use_all_there_are(scene: Scene) -> None:
    wanted = flavor(scene, "gpu:1")
    servers = scene.boot(wanted, 6)
    active, failed = of_status(servers, "ACTIVE"), of_status(servers, "ERROR")
    every = [(f"compute-{host}", f"0000:81:0{slot}.0") for host in (1, 2) for slot in (0, 1)]
    assert held(scene, active) == every
    assert len(failed) == 2
    for server in failed:
        assert "No valid host" in server["fault"]["message"]
    (late,) = scene.boot(wanted)
    assert "PciPassthroughFilter left none (1 of 'gpu' asked for, at most 0 free)" in late["fault"]["message"]

    scene.delete([active[0], late])
    (again,) = scene.boot(wanted)
    assert held(scene, [*active[1:], again]) == every
    scene.delete([*active[1:], *failed, again])


def test_the_last_device_is_one_servers(scene: Scene) -> None:
    rest = scene.boot(flavor(scene, "gpu:1"), 3)
    assert len(held(scene, rest)) == 3
    both = scene.boot(flavor(scene, "gpu:1"), 2)
    assert sorted(server["status"] for server in both) == ["ACTIVE", "ERROR"]
    assert len(set(held(scene, [*rest, *of_status(both, "ACTIVE")]))) == 4
    scene.delete([*rest, *both])


def test_devices_outlive_the_agent(scene: Scene) -> None:
    wanted = flavor(scene, "gpu:1")
    before = scene.boot(wanted, 2)
    scene.kill_agent()
    after = scene.boot(wanted, 2)
    found = held(scene, [*before, *after])
    assert len(found) == len(set(found)) == 4
    made = [scene.create(flavor(scene, "vf:2")).json["server"]["id"] for _ in range(4)]
    scene.kill_agent()
    servers = [scene.settled(server) for server in made]
    assert [server["status"] for server in servers] == ["ACTIVE"] * 4
    assert len(set(held(scene, servers))) == 8
    scene.delete([*before, *after, *servers])


def test_a_guest_lies_beside_its_devices(scene: Scene) -> None:
    """Small guests would fill the first cell, which has the same number of dedicated CPUs as the other: none."""
    near = flavor(scene, "near:1", 2, cpu_policy="dedicated")
    (server,) = scene.boot(near)
    assert server["status"] == "ACTIVE", server
    stored = scene.stored(server)
    assert [cell.host_cell for cell in stored.numa_topology.cells] == [1]
    image_policy = flavor(
        scene, "gpu:1", 2, pci_numa_affinity_policy="required", cpu_policy="shared", numa_nodes="1"
    )
    (refused,) = scene.boot(image_policy)
    assert refused["status"] == "ERROR"
    assert "NUMATopologyFilter left none (1 of 'gpu' asked for, at most" in refused["fault"]["message"]
    assert "near enough" in refused["fault"]["details"]
    scene.delete([server, refused])


def test_virtual_gpus_are_claimed_in_placement(scene: Scene) -> None:
    servers = scene.boot(scene.flavor_of(1, {"resources:VGPU": "1"}), 3)
    active, (failed,) = of_status(servers, "ACTIVE"), of_status(servers, "ERROR")
    assert sorted(server["OS-EXT-SRV-ATTR:host"] for server in active) == ["compute-1", "compute-2"]
    assert "short of 1 VGPU, at most 0 free" in failed["fault"]["message"]
    scene.delete(servers)


def test_what_cannot_be_asked_for_is_refused_at_the_door(scene: Scene) -> None:
    scene.create(flavor(scene, "tpu:1")).fault(400, "pci_passthrough:alias", "no PCI alias 'tpu'")
    scene.create(flavor(scene, "gpu:0")).fault(400, "pci_passthrough:alias", "'gpu:0'")
    scene.create(flavor(scene, "gpu:65")).fault(400, "pci_passthrough:alias", "at most 64")
    assert scene.user.get("/servers")["servers"] == []
