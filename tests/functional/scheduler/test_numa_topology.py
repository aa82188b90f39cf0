"""The NUMA filter: who is sorted out, and what placement is asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functional.scheduler.region import Region, eventually
from tests.support.numa import cell, guest, host, three_cells

SIZES = {"VCPU": 8, "PCPU": 12, "MEMORY_MB": 8192, "DISK_GB": 100}
FOUR = guest((range(4), 1024))


@pytest.fixture
def region(new_region) -> Region:
    return new_region(filter_scheduler__enabled_filters=["ComputeFilter", "NUMATopologyFilter"])


def test_only_hosts_that_take_the_guest(region: Region):
    scattered = three_cells()
    for part in scattered.cells:
        part.pinned_cpus[:] = part.dedicated_cpus[:1]
    region.host("scattered", SIZES, topology=scattered)
    region.host("untold", SIZES)
    region.host("whole", SIZES, topology=three_cells())
    region.host("small", SIZES, topology=host(cell(0, dedicated=range(8), memory_mb=512)))
    (chosen,) = region.select(vcpus=4, numa_topology=FOUR, alternates=5)
    assert chosen.destination.host == "whole"
    assert not chosen.alternates
    (amounts,) = [found.amounts for found in chosen.destination.allocations.providers.values()]
    assert amounts["PCPU"] == 4
    assert "VCPU" not in amounts
    (plain,) = region.select(vcpus=4, alternates=5)
    assert len(plain.alternates) == 3


def test_earlier_servers_of_the_request_are_counted(region: Region):
    region.host("a", SIZES, topology=host(cell(0, dedicated=range(6)), cell(1, dedicated=range(6, 12))))
    region.host("b", SIZES, topology=three_cells())
    found = region.select(count=6, vcpus=4, numa_topology=FOUR)
    assert sorted(each.destination.host for each in found) == ["", "a", "a", "b", "b", "b"]
    (failed,) = [each for each in found if not each.HasField("destination")]
    assert "NUMATopologyFilter" in failed.failure


def test_news_of_a_host_count(region: Region):
    node_id = region.host("a", SIZES, topology=three_cells())
    assert region.hosts_of(vcpus=4, numa_topology=FOUR) == ["a"]
    full = three_cells()
    for part in full.cells:
        part.pinned_cpus[:] = part.dedicated_cpus
    region.cell().put(node_id, "a", topology=full)
    eventually(
        lambda: region.select(vcpus=4, numa_topology=FOUR),
        until=lambda selections: not selections[0].HasField("destination"),
    )
    assert region.hosts_of(vcpus=4, numa_topology=FOUR) == [""]


def test_a_request_waits_a_moment_for_room_that_placement_tells_of_first(region: Region):
    full = three_cells()
    for part in full.cells:
        part.pinned_cpus[:] = part.dedicated_cpus
    node_id = region.host("a", SIZES, topology=full)
    assert region.hosts_of(vcpus=4, numa_topology=FOUR) == [""]
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(region.hosts_of, vcpus=4, numa_topology=FOUR)
        full.cells[2].ClearField("pinned_cpus")
        region.cell().put(node_id, "a", topology=full)
        assert waiting.result() == ["a"]


def test_what_placement_is_asked_for(region: Region):
    region.host("a", SIZES, traits=("HW_CPU_HYPERTHREADING",), topology=three_cells())
    mixed = guest((range(3), 64), policy="mixed", dedicated=(2,), emulator="isolate")
    region.host("b", SIZES, topology=host(cell(0, shared=range(2), dedicated=(2, 3))))
    (chosen,) = region.select(vcpus=3, numa_topology=mixed)
    assert chosen.destination.host == "b"
    (amounts,) = [found.amounts for found in chosen.destination.allocations.providers.values()]
    assert (amounts["PCPU"], amounts["VCPU"]) == (2, 2)
    assert region.hosts_of(vcpus=2, numa_topology=guest((range(2), 64), threads="require")) == ["a"]
