"""PCI devices in decisions: hosts that have them, until others were faster."""

from __future__ import annotations

import pytest

from protonova.common.v1 import pci_pb2 as pb
from tests.functional.scheduler.region import Region, eventually
from tests.support.pci import pool, request

SIZES = {"VCPU": 8, "MEMORY_MB": 8192, "DISK_GB": 100}


def having(*free: int, holders: tuple[str, ...] = ()) -> pb.HostDevices:
    return pb.HostDevices(pools=[pool(count, cell) for cell, count in enumerate(free)], server_ids=holders)


@pytest.fixture
def region(new_region) -> Region:
    return new_region(filter_scheduler__enabled_filters=["ComputeFilter", "PciPassthroughFilter"])


def test_servers_without_devices_leave_the_hosts_that_have_some(region: Region):
    region.host("many", SIZES, devices=having(8))
    region.host("few", SIZES, devices=having(2))
    region.host("none", SIZES)
    assert region.hosts_of() == ["none"]
    assert region.hosts_of(pci_requests=[request(1)]) == ["few"]
    assert region.hosts_of(pci_requests=[request(3)]) == ["many"]


def test_servers_of_one_request_are_counted(region: Region):
    region.host("a", SIZES, devices=having(1, 1))
    region.host("b", SIZES, devices=having(2))
    found = region.select(count=5, pci_requests=[request(1)])
    assert sorted(each.destination.host for each in found) == ["", "a", "a", "b", "b"]
    (failed,) = [each for each in found if not each.HasField("destination")]
    assert "PciPassthroughFilter left none (1 of 'gpu' asked for, at most 0 free)" in failed.failure
    (stage,) = [each for each in failed.explanation.stages if each.name == "PciPassthroughFilter"]
    assert stage.note == "1 of 'gpu' asked for, at most 0 free"
    assert {each.reason for each in failed.explanation.verdicts} == {"1 of 'gpu' are wanted, 0 are free"}


def test_requests_count_each_other_until_the_host_tells(region: Region):
    node = region.host("a", SIZES, devices=having(2))
    first, second, third = (region.select(pci_requests=[request(1)])[0] for _ in range(3))
    assert [each.destination.host for each in (first, second, third)] == ["a", "a", ""]
    # One has its device, the other was refused: what is free now is as the host tells.
    region.cell().put(node, "a", devices=having(1, holders=(first.server_id, second.server_id)))
    assert eventually(
        lambda: region.hosts_of(pci_requests=[request(1)]), until=lambda hosts: hosts == ["a"]
    ) == ["a"]


def test_a_request_waits_a_moment_for_devices_that_are_being_given_back(region: Region):
    node = region.host("a", SIZES, devices=having(0))
    assert region.hosts_of(pci_requests=[request(1)]) == [""]
    region.cell().put(node, "a", devices=having(1))
    assert region.hosts_of(pci_requests=[request(1)]) == ["a"]


def test_a_lost_claim_leaves_nothing_behind(region: Region):
    """Placement refuses what another took meanwhile; its devices are not counted as taken."""
    node = region.host("a", {"VCPU": 1, "MEMORY_MB": 8192, "DISK_GB": 100}, devices=having(1))
    (chosen,) = region.select(pci_requests=[request(1)])
    assert chosen.destination.host == "a"
    region.placement.release(chosen.server_id)
    region.cell().put(node, "a", devices=having(1, holders=(chosen.server_id,)))
    assert eventually(
        lambda: region.hosts_of(pci_requests=[request(1)]), until=lambda hosts: hosts == ["a"]
    ) == ["a"]
