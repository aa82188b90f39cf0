"""Destinations over the wire: who is chosen, what is claimed, why there is nobody."""

from __future__ import annotations

import contextvars
import threading
import uuid
from collections.abc import Iterable

import pytest

from protonova.placement.v1 import allocation_pb2_grpc, resource_provider_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from protonova.services.scheduler.view import HostView
from tests.functional.scheduler.region import SIZES, Region, eventually, spec

ONE = [str(uuid.UUID(int=1))]


def test_a_server_gets_a_host_and_a_claim(region: Region):
    node = region.host("h1", availability_zone="zone-1")
    (selection,) = region.select(vcpus=2, memory_mb=512, root_gb=5, ephemeral_gb=3, swap_mb=1500)
    destination = selection.destination
    assert (destination.host, destination.node_id, destination.cell_id) == ("h1", node, "cell-1")
    assert destination.availability_zone == "zone-1"
    wanted = {"VCPU": 2, "MEMORY_MB": 512, "DISK_GB": 10}
    assert dict(destination.allocations.providers[node].amounts) == wanted
    assert region.placement.held(selection.server_id) == {node: wanted}
    assert selection.failure == ""


def test_servers_spread_and_each_counts_the_earlier_ones(region: Region):
    for name in ("h1", "h2", "h3"):
        region.host(name)
    assert sorted(region.hosts_of(6)) == ["h1", "h1", "h2", "h2", "h3", "h3"]


def test_a_negative_multiplier_packs(new_region):
    region = new_region(
        filter_scheduler={
            "ram_weight_multiplier": -1.0,
            "cpu_weight_multiplier": -1.0,
            "disk_weight_multiplier": -1.0,
        }
    )
    region.host("h1")
    region.host("h2")
    assert len(set(region.hosts_of(5))) == 1


def test_more_servers_than_fit(region: Region):
    region.host("h1", {**SIZES, "VCPU": 2})
    region.host("h2", {**SIZES, "VCPU": 1})
    selections = region.select(5)
    chosen = [selection.destination.host for selection in selections]
    assert sorted(chosen) == ["", "", "h1", "h1", "h2"]
    failures = [selection.failure for selection in selections if not selection.destination.host]
    assert all(failure.startswith("No valid host was found.") for failure in failures)


def test_more_servers_than_placement_tells_of_at_first(new_region):
    region = new_region(scheduler__max_placement_results=1)
    for number in range(4):
        region.host(f"h{number}", {**SIZES, "VCPU": 1})
    assert sorted(region.hosts_of(4)) == ["h0", "h1", "h2", "h3"]


def test_a_host_that_placement_told_of_first(region: Region, monkeypatch: pytest.MonkeyPatch):
    """Its conductor tells of it while a request is waiting."""
    region.host("full", {**SIZES, "VCPU": 1})
    region.hosts_of()
    node = region.placement.provider("new", inventories=SIZES)
    waiting = threading.Event()
    wait = HostView.await_newcomer

    def await_newcomer(view: HostView, node_ids: Iterable[str], timeout: float) -> bool:
        waiting.set()
        return wait(view, node_ids, timeout * 10)

    monkeypatch.setattr(HostView, "await_newcomer", await_newcomer)
    chosen: list[str] = []
    asking = threading.Thread(target=lambda: chosen.extend(region.hosts_of()))
    asking.start()
    assert waiting.wait(10)
    region.cell().put(node, "new")
    asking.join(20)
    assert chosen == ["new"]


def test_nobody_waits_for_a_node_without_a_conductor():
    """Placement has known it for long: its host is not coming."""
    view = HostView()
    assert not view.await_newcomer([], 60)
    view.put_provider("old", "old", {"VCPU": 1})
    view._providers["old"].heard_at -= 11
    assert not view.await_newcomer(["old"], 60)


def test_a_repeat_replaces_the_claim(region: Region):
    nodes = {region.host("h1"), region.host("h2")}
    server = str(uuid.uuid4())
    region.select(servers=[server], memory_mb=1000)
    (selection,) = region.select(servers=[server], memory_mb=2000)
    assert selection.destination.node_id in nodes
    held = region.placement.held(server)
    assert held == {selection.destination.node_id: {"VCPU": 1, "MEMORY_MB": 2000, "DISK_GB": 10}}


def test_a_repeat_is_not_kept_out_by_its_own_claims(region: Region):
    """The answer to the first call was not heard; its claims fill the region."""
    for name in ("h1", "h2"):
        region.host(name, {**SIZES, "VCPU": 2})
    servers = [str(uuid.uuid4()) for _ in range(4)]
    region.select(servers=servers)
    chosen = [one.destination for one in region.select(servers=servers)]
    assert sorted(one.host for one in chosen) == ["h1", "h1", "h2", "h2"]
    for server, one in zip(servers, chosen, strict=True):
        assert region.placement.held(server).keys() == {one.node_id}
    # Nor does one that fits nowhere any more keep what it has.
    (selection,) = region.select(servers=servers[:1], vcpus=3)
    assert not selection.destination.host
    assert region.placement.held(servers[0]) == {}


class LateClaims(allocation_pb2_grpc.AllocationServiceServicer):
    """Placement behind a line on which claims wait until they are let through."""

    def __init__(self, behind: allocation_pb2_grpc.AllocationServiceStub) -> None:
        self.GetAllocations = lambda request, _: behind.GetAllocations(request)
        self.ListAllocationCandidates = lambda request, _: behind.ListAllocationCandidates(request)
        self._behind = behind
        self.waiting, self.through, self.answered = (threading.Event() for _ in range(3))

    def ReplaceAllocations(self, request, context):
        self.waiting.set()
        assert self.through.wait(20)
        try:
            # Not with the deadline of the call it came with: it has left, and nobody calls it back.
            return contextvars.Context().run(self._behind.ReplaceAllocations, request)
        finally:
            self.answered.set()


class Providers(resource_provider_pb2_grpc.ResourceProviderServiceServicer):
    """What else a scheduler asks of placement, at once."""

    def __init__(self, behind: resource_provider_pb2_grpc.ResourceProviderServiceStub) -> None:
        self.WatchProviders = lambda request, _: behind.WatchProviders(request)


def test_a_claim_that_comes_after_its_repeat_changes_nothing(region: Region):
    region.host("h1")
    region.host("h2")
    late = LateClaims(region.placement.allocations)
    address = region.serve(
        (allocation_pb2_grpc.add_AllocationServiceServicer_to_server, late),
        (
            resource_provider_pb2_grpc.add_ResourceProviderServiceServicer_to_server,
            Providers(region.placement.providers),
        ),
    )
    region.start(placement__target=address)
    server = str(uuid.uuid4())
    request = scheduler_pb2.SelectDestinationsRequest(spec=spec(host="h1"), server_ids=[server])
    with pytest.raises(errors.DeadlineExceeded):
        eventually(lambda: region.stub.SelectDestinations(request, timeout=0.5))
    assert late.waiting.wait(20)
    region.start()
    (repeated,) = region.select(servers=[server], host="h2")
    late.through.set()
    assert late.answered.wait(20)
    assert region.placement.held(server).keys() == {repeated.destination.node_id}


def test_alternates_are_of_the_same_cell(region: Region):
    for name in ("h1", "h2", "h3"):
        region.host(name)
    region.host("other", {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}, cell="cell-2")
    (selection,) = region.select(alternates=5)
    names = [alternate.host for alternate in selection.alternates]
    assert selection.destination.cell_id == "cell-1"
    assert sorted([selection.destination.host, *names]) == ["h1", "h2", "h3"]
    assert all(alternate.allocations.providers for alternate in selection.alternates)
    assert set(region.placement.held(selection.server_id)) == {selection.destination.node_id}


def test_a_root_disk_on_a_volume_takes_no_space(region: Region):
    node = region.host("h1", {**SIZES, "DISK_GB": 5})
    (selection,) = region.select(root_gb=100, boots_from_volume=True)
    assert region.placement.held(selection.server_id) == {node: {"VCPU": 1, "MEMORY_MB": 1024}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"host": "h2"}, "h2"),
        ({"host": "h2", "node": "n2"}, "h2"),
        ({"host": "h2", "node": "n1"}, ""),
        ({"host": "nowhere"}, ""),
        ({"host": "down"}, ""),
        ({"host": "down", "skip_filters": True}, "down"),
        ({"ignore_hosts": ["h1", "h3"]}, "h2"),
        ({"availability_zone": "zone-2"}, "h2"),
        ({"availability_zone": "zone-9"}, ""),
        ({"cell_id": "cell-2"}, "h3"),
        ({"cell_id": "cell-9"}, ""),
    ],
)
def test_places_that_are_asked_for(region: Region, fields, expected):
    region.host("h1", node="n1")
    region.host("h2", {"VCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 50}, node="n2", availability_zone="zone-2")
    region.host("h3", {"VCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 50}, node="n3", cell="cell-2")
    region.host("down", node="n4", up=False)
    (selection,) = region.select(**fields)
    assert selection.destination.host == expected
    assert selection.failure.startswith("No valid host was found.") is (not expected)


@pytest.mark.parametrize(
    ("extra_specs", "image", "expected"),
    [
        ({"capabilities:hypervisor_type": "s== QEMU"}, {}, "qemu"),
        ({"hypervisor_type": "<or> xen <or> fake"}, {}, "fake"),
        ({"capabilities:hypervisor_version": ">= 7000000"}, {}, "qemu"),
        ({"capabilities:nothing_such": "1"}, {}, ""),
        ({"something_else": "1", "quota:cpu_shares": "3"}, {}, "qemu"),
        ({}, {"hw_architecture": "aarch64"}, "fake"),
        ({}, {"hw_architecture": "amd64"}, "qemu"),
        ({}, {"img_hv_type": "kvm"}, "qemu"),
        ({}, {"img_hv_type": "fake", "hw_vm_mode": "hvm"}, "fake"),
        ({}, {"hw_vm_mode": "exe"}, ""),
        ({}, {"img_hv_type": "qemu", "img_hv_requested_version": ">=7.0,<9"}, "qemu"),
        ({}, {"img_hv_type": "qemu", "img_hv_requested_version": "<7.0"}, ""),
        ({"trait:HW_CPU_X86_AVX2": "required"}, {}, "qemu"),
        ({"trait:HW_CPU_X86_AVX2": "forbidden"}, {}, "fake"),
        ({}, {"trait:HW_CPU_X86_AVX2": "required"}, "qemu"),
        ({"trait:CUSTOM_UNHEARD_OF": "required"}, {}, ""),
        ({"resources:CUSTOM_UNHEARD_OF": "1"}, {}, ""),
        ({"resources:VGPU": "1"}, {}, "fake"),
        ({"resources:VCPU": "0", "resources:MEMORY_MB": "4096"}, {}, "qemu"),
        ({"resourcesGPU:VGPU": "1", "traitGPU:HW_CPU_X86_AVX2": "forbidden"}, {}, "fake"),
        ({"hw:cpu_policy": "dedicated"}, {}, "fake"),
    ],
)
def test_what_flavor_and_image_ask_for(region: Region, extra_specs, image, expected):
    region.host(
        "qemu",
        {"VCPU": 16, "MEMORY_MB": 16384, "DISK_GB": 200},
        traits=("HW_CPU_X86_AVX2",),
        hypervisor_type="QEMU",
        hypervisor_version=8_002_000,
        architecture="x86_64",
    )
    region.host(
        "fake",
        {"VCPU": 8, "PCPU": 4, "VGPU": 2, "MEMORY_MB": 3000, "DISK_GB": 100},
        hypervisor_type="fake",
        hypervisor_version=1_000_000,
        architecture="aarch64",
    )
    (selection,) = region.select(extra_specs=extra_specs, image=image)
    assert selection.destination.host == expected
    if not expected:
        assert selection.failure.startswith("No valid host was found.")


def test_nested_resources_are_claimed_where_they_are(region: Region):
    node = region.host("h1")
    gpu = region.placement.provider("h1-gpu", parent=node, inventories={"VGPU": 2})
    (selection,) = region.select(extra_specs={"resources1:VGPU": "1"})
    held = region.placement.held(selection.server_id)
    assert held == {node: {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}, gpu: {"VGPU": 1}}
    assert region.hosts_of(2, extra_specs={"resources1:VGPU": "1"}) == ["h1", ""]


def test_a_host_with_the_disabled_trait_is_left_out(region: Region):
    region.host("h1", traits=("COMPUTE_STATUS_DISABLED",))
    assert region.hosts_of() == [""]


def ends_with(region: Region, host: str) -> bool:
    """Whether that host, or none when it is empty, comes to be chosen. One server, so nothing fills up."""
    return eventually(lambda: region.hosts_of(servers=ONE), lambda found: found == [host]) == [host]


def test_hosts_come_go_and_change(region: Region):
    node = region.host("h1")
    assert region.hosts_of() == ["h1"]
    for change, expected in (
        ({"up": False}, ""),
        ({"up": True}, "h1"),
        ({"disabled": True}, ""),
        ({"disabled": False}, "h1"),
    ):
        region.cell().change(node, **change)
        assert ends_with(region, expected)
    region.cell().topic.drop(node)
    assert ends_with(region, "")
    region.host("h2", cell="cell-2")
    assert ends_with(region, "h2")
    conductor = region.cells.topic.get("cell-2").conductor_target
    region.cells.put("cell-2", conductor, disabled=True)
    assert ends_with(region, "")
    region.cells.put("cell-2", conductor)
    assert ends_with(region, "h2")
    region.cells.topic.drop("cell-2")
    assert ends_with(region, "")


def test_a_silent_cell_gets_nothing(new_region):
    region = new_region(scheduler__cell_away_seconds=0.2)
    region.host("h1")
    region.host("h2", {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}, cell="cell-2")
    assert region.hosts_of() == ["h1"]
    region.cell().topic.gone.set()
    assert ends_with(region, "h2")
    region.cell().topic.gone.clear()
    assert ends_with(region, "h1")


def test_with_no_cell_to_be_heard_nothing_is_decided(new_region):
    """A build that is accepted just after an outage waits for the cells; it does not fail for want of them."""
    region = new_region(scheduler__cell_away_seconds=0.2)
    region.host("h1")
    assert region.hosts_of(servers=ONE) == ["h1"]
    region.cell().topic.gone.set()
    request = scheduler_pb2.SelectDestinationsRequest(spec=spec(), server_ids=ONE)

    def refused() -> str:
        try:
            region.stub.SelectDestinations(request)
        except errors.Unavailable as error:
            return error.reason
        return ""

    assert eventually(refused, lambda reason: reason) == "SCHEDULER_NOT_READY"
    region.cell().topic.gone.clear()
    assert ends_with(region, "h1")


def test_not_ready_without_cells_to_hear_of(new_region):
    region = new_region()
    region.cells.put("cell-1", "127.0.0.1:1")
    region.start()
    with pytest.raises(errors.Unavailable) as refused:
        region.stub.SelectDestinations(scheduler_pb2.SelectDestinationsRequest(server_ids=ONE))
    assert refused.value.reason == "SCHEDULER_NOT_READY"


def test_hosts_that_serve_alone_and_hosts_with_providers_below_them(region: Region):
    """Placement tells of the two in different ways; either can be chosen, and what is claimed is of its kind."""
    alone = region.host("h1", {**SIZES, "VCPU": 2})
    root = region.host("h2", {"DISK_GB": 100})
    numa = region.placement.provider("numa", parent=root, inventories={"VCPU": 2, "MEMORY_MB": 8192})
    selections = region.select(4)
    assert sorted(one.destination.host for one in selections) == ["h1", "h1", "h2", "h2"]
    wanted = {"VCPU": 1, "MEMORY_MB": 1024, "DISK_GB": 10}
    split = {root: {"DISK_GB": 10}, numa: {"VCPU": 1, "MEMORY_MB": 1024}}
    for one in selections:
        told = {key: dict(each.amounts) for key, each in one.destination.allocations.providers.items()}
        assert told == ({alone: wanted} if one.destination.node_id == alone else split)
        assert region.placement.held(one.server_id) == told
