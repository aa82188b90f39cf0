"""PCI devices that are claimed in placement: what providers there are, and that guests get what was claimed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import running
from tests.support.scene import Scene

pytestmark = pytest.mark.timeout(180)

GPU = {"vendor_id": "10de", "product_id": "20b5"}
VF = {"vendor_id": "8086", "product_id": "154c"}
HEAD = "0000:05:00.0"
CONFIG = f"""
[compute]
cpu_dedicated_set = 4-7
cpu_shared_set = 0-3
inventory_interval = 1
[fake]
vcpus = 8
memory_mb = 16384
numa_cells = 2
pci_devices = {json.dumps({"address": "0000:81:00.0", "numa_cell": 0, "count": 2, **GPU})}
pci_devices = {json.dumps({"address": "0000:82:00.0", "numa_cell": 1, **GPU})}
pci_devices = {json.dumps({"address": "0000:05:02.0", "type": "type-VF", "parent": HEAD, "count": 4, **VF})}
[pci]
report_in_placement = true
alias = {json.dumps({"name": "gpu", "numa_policy": "required", "traits": "fast", **GPU})}
alias = {json.dumps({"name": "vf", "device_type": "type-VF", "resource_class": "fast-nic"})}
alias = {json.dumps({"name": "either", **GPU})}
alias = {json.dumps({"name": "either", **VF})}
device_spec = {json.dumps({"traits": "fast,custom_big", **GPU})}
device_spec = {json.dumps({"address": HEAD, "resource_class": "fast-nic"})}
[filter_scheduler]
pci_in_placement = true
enabled_filters = ComputeFilter,NUMATopologyFilter,PciPassthroughFilter
"""


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running("sqlite", computes=1, config=CONFIG) as cloud:
        yield Scene(cloud)


def placement(scene: Scene, path: str) -> Any:
    answer = scene.admin.call(
        "GET", path, prefix="/placement", headers={"OpenStack-API-Version": "placement 1.39"}
    )
    assert answer.status == 200, answer
    return answer.json


def providers(scene: Scene) -> dict[str, str]:
    """Ids by name, of devices."""
    found = placement(scene, "/resource_providers")["resource_providers"]
    return {one["name"]: one["uuid"] for one in found if one["parent_provider_uuid"]}


def inventory(scene: Scene, provider: str) -> dict[str, tuple[int, int]]:
    """Total and reserved, by class."""
    found = placement(scene, f"/resource_providers/{provider}/inventories")["inventories"]
    return {name: (one["total"], one["reserved"]) for name, one in found.items()}


def claimed(scene: Scene, server: dict[str, Any]) -> dict[str, dict[str, int]]:
    """By provider, without the host's own."""
    names = {id_: name for name, id_ in providers(scene).items()}
    found = placement(scene, f"/allocations/{server['id']}")["allocations"]
    return {names[id_]: one["resources"] for id_, one in found.items() if id_ in names}


def flavor(scene: Scene, alias: str, vcpus: int = 1, **specs: str) -> str:
    return scene.flavor_of(
        vcpus, {"pci_passthrough:alias": alias} | {f"hw:{key}": value for key, value in specs.items()}
    )


def test_each_device_is_a_provider_and_virtual_functions_are_one(scene: Scene) -> None:
    found = providers(scene)
    assert sorted(found) == [
        "compute-1_0000:05:00.0",
        "compute-1_0000:81:00.0",
        "compute-1_0000:81:01.0",
        "compute-1_0000:82:00.0",
    ]
    gpu, nic = found["compute-1_0000:81:00.0"], found["compute-1_0000:05:00.0"]
    assert inventory(scene, gpu) == {"CUSTOM_PCI_10DE_20B5": (1, 0)}
    assert inventory(scene, nic) == {"CUSTOM_FAST_NIC": (4, 0)}
    assert placement(scene, f"/resource_providers/{gpu}/traits")["traits"] == ["CUSTOM_BIG", "CUSTOM_FAST"]


def test_guests_get_the_devices_that_were_claimed(scene: Scene) -> None:
    (server,) = scene.boot(flavor(scene, "gpu:2,vf:3"))
    assert server["status"] == "ACTIVE", server
    stored = scene.stored(server)
    names = {id_: name.partition("_")[2] for name, id_ in providers(scene).items()}
    gpus = [device for device in stored.pci_devices if device.vendor_id == "10de"]
    functions = [device for device in stored.pci_devices if device.vendor_id == "8086"]
    assert {names[device.provider_id] for device in gpus} == {device.address for device in gpus}
    assert {names[device.provider_id] for device in functions} == {HEAD}
    assert claimed(scene, server) == {
        **{f"compute-1_{device.address}": {"CUSTOM_PCI_10DE_20B5": 1} for device in gpus},
        f"compute-1_{HEAD}": {"CUSTOM_FAST_NIC": 3},
    }
    # What was claimed is not reserved beside.
    assert all(reserved == 0 for id_ in names for _, reserved in inventory(scene, id_).values())
    (late,) = scene.boot(flavor(scene, "vf:2"))
    assert "1 short of 2 CUSTOM_FAST_NIC, at most 1 free" in late["fault"]["message"]
    scene.delete([server, late])
    assert placement(scene, f"/allocations/{server['id']}")["allocations"] == {}


def test_what_placement_offers_far_from_the_guest_is_passed_over(scene: Scene) -> None:
    """The only dedicated CPUs are in the second cell, where one of three GPUs is."""
    near = flavor(scene, "gpu:1", 2, cpu_policy="dedicated")
    (server,) = scene.boot(near)
    assert server["status"] == "ACTIVE", server
    assert list(claimed(scene, server)) == ["compute-1_0000:82:00.0"]
    (other,) = scene.boot(near)
    assert other["status"] == "ERROR"
    scene.kill_agent()
    everything = scene.boot(flavor(scene, "gpu:1"), 3)
    active = [one for one in everything if one["status"] == "ACTIVE"]
    assert sorted(name for one in active for name in claimed(scene, one)) == [
        "compute-1_0000:81:00.0",
        "compute-1_0000:81:01.0",
    ]
    scene.delete([server, other, *everything])


def test_an_alias_of_several_kinds_cannot_be_asked_of_placement(scene: Scene) -> None:
    (server,) = scene.boot(flavor(scene, "either:1"))
    assert server["status"] == "ERROR"
    assert "'either' has several definitions" in server["fault"]["details"]
    scene.delete([server])


def test_what_is_held_without_a_claim_is_reserved(tmp_path) -> None:
    config = CONFIG.replace("pci_in_placement = true\n", "")
    with running("sqlite", computes=1, config=config) as cloud:
        scene = Scene(cloud)
        (server,) = scene.boot(flavor(scene, "gpu:1,vf:2"))
        assert server["status"] == "ACTIVE", server
        assert claimed(scene, server) == {}
        ids = providers(scene)
        (gpu,) = [device for device in scene.stored(server).pci_devices if device.vendor_id == "10de"]

        def told(address: str, expected: tuple[int, int]) -> None:
            wait_for(
                lambda: expected in inventory(scene, ids[f"compute-1_{address}"]).values(),
                seconds=30,
                every=0.05,
                what=f"{expected} of {address}",
            )

        told(gpu.address, (1, 1))
        told(HEAD, (4, 2))
        scene.delete([server])
        told(gpu.address, (1, 0))
        told(HEAD, (4, 0))
