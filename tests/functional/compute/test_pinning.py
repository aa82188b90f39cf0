"""An agent gives each CPU once: beside other guests, in races, after failures and restarts."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from protonova.common.v1 import numa_pb2, server_pb2
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2
from protonova.services.compute import virt
from protonova.services.numa import usage
from protonova.services.runtime import errors
from tests.functional.compute.test_agent import SECONDS, Agent, fence
from tests.support.numa import guest

TWO = guest((range(2), 512))


class Machine(Agent):
    """One host: two cells of two cores with two threads; CPU 0 and its sibling are shared by guests."""

    def __init__(self, state, **rest: str) -> None:
        self.faults = state / "faults.json"
        self.faults.write_text('{"rules": []}')
        self.fake = {
            "vcpus": 8,
            "memory_mb": 8192,
            "numa_cells": 2,
            "threads_per_core": 2,
            "huge_pages": {"2048": "1024"},
            "faults": str(self.faults),
        }
        self.sets = {"cpu_shared_set": "0-1", "cpu_dedicated_set": "2-7", **rest}
        super().__init__(state, hosts=["one"])

    def start(self) -> None:
        virt.options.register(self.conf)
        for group, values in (("fake", self.fake), ("compute", self.sets)):
            for name, value in values.items():
                self.conf.set_override(name, value, group=group)
        super().start()

    def boot(self, wanted: numa_pb2.GuestTopology | None = TWO, server_id: str = "", operation: str = ""):
        """Its topology as the agent told it."""
        server = server_pb2.Server(
            id=server_id or str(uuid.uuid4()), instance_name="i", numa_topology=wanted, name="web"
        )
        cells = wanted.cells if wanted is not None else ()
        server.flavor.vcpus = sum(len(cell.cpus) for cell in cells) or 1
        server.flavor.memory_mb = sum(cell.memory_mb for cell in cells) or 64
        request = guest_pb2.SpawnGuestRequest(
            host="one", server=server, fence=fence(operation or f"create-{server.id}", "spawning")
        )
        self.cell.servers.add(server.id)
        told = list(self.guests.SpawnGuest(request))[-1].guest
        return told.numa_topology if told.HasField("numa_topology") else None

    def delete(self, server_id: str) -> None:
        self.guests.DestroyGuest(
            guest_pb2.DestroyGuestRequest(
                host="one", server_id=server_id, fence=fence(f"del-{server_id}", "guest")
            )
        )

    def reported(self, until) -> host_pb2.HostReport:
        """The first report of the host that is as wanted."""
        while True:
            for report in self.cell.reports.get(timeout=SECONDS).hosts:
                if until(report):
                    return report


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.close()


def taken(topologies) -> list[int]:
    """Host CPUs, every time they are given."""
    return [cpu for topology in topologies for cell in topology.cells for cpu in usage.host_cpus(cell)]


def test_what_the_host_is_told_to_have(machine):
    report = machine.reported(lambda report: True)
    assert [list(cell.dedicated_cpus) for cell in report.topology.cells] == [[2, 3], [4, 5, 6, 7]]
    assert [list(cell.shared_cpus) for cell in report.topology.cells] == [[0, 1], []]
    assert [cell.pages[1].total for cell in report.topology.cells] == [512, 512]
    assert report.vcpus == 8
    inventories = machine.providers.inventories[report.node_id]
    assert inventories["VCPU"].total == 2
    assert (inventories["PCPU"].total, inventories["PCPU"].allocation_ratio) == (6, 1.0)
    assert "HW_CPU_HYPERTHREADING" in machine.providers.traits[report.node_id]


def test_guests_lie_beside_each_other_and_the_host_tells_so(machine):
    first, second = machine.boot(), machine.boot()
    assert [dict(found.cells[0].pins) for found in (first, second)] == [{0: 2, 1: 3}, {0: 4, 1: 5}]
    report = machine.reported(lambda report: len(report.topology.cells[1].pinned_cpus) == 2)
    assert [list(cell.pinned_cpus) for cell in report.topology.cells] == [[2, 3], [4, 5]]
    assert machine.boot(None) is None


def test_what_does_not_fit_is_refused_with_the_reason_and_leaves_nothing(machine):
    machine.boot(guest((range(3), 512)))
    with pytest.raises(errors.FailedPrecondition) as refused:
        machine.boot(guest((range(3), 512)))
    assert refused.value.reason == "HOST_REFUSES"
    assert "1: 1 of 4 dedicated CPUs are free, 3 are wanted" in refused.value.message
    assert len(machine.ids()) == 1
    assert machine.boot(guest((range(2), 512))).cells[0].host_cell == 0


def test_what_a_deleted_guest_had_is_free_again(machine):
    server = str(uuid.uuid4())
    everything = guest((range(2), 64), (range(2, 6), 64))
    machine.boot(everything, server)
    with pytest.raises(errors.FailedPrecondition):
        machine.boot(guest(((0,), 64)))
    machine.delete(server)
    assert sorted(taken([machine.boot(everything)])) == [2, 3, 4, 5, 6, 7]


def test_racing_guests_never_share_a_cpu(machine):
    def boot(_: int):
        try:
            return machine.boot()
        except errors.FailedPrecondition as error:
            return error.reason

    with ThreadPoolExecutor(12) as pool:
        outcomes = list(pool.map(boot, range(12)))
    assert outcomes.count("HOST_REFUSES") == 9
    found = [outcome for outcome in outcomes if outcome != "HOST_REFUSES"]
    assert sorted(taken(found)) == [2, 3, 4, 5, 6, 7]


def test_a_repeated_spawn_gives_the_same_cpus(machine):
    server = str(uuid.uuid4())
    first = machine.boot(server_id=server)
    machine.boot()
    assert machine.boot(server_id=server) == first
    assert machine.boot(server_id=server, operation="another") == first
    # What another host had decided means nothing here.
    moved = usage.requested(first)
    moved.fitted = True
    moved.cells[0].pins[0] = 99
    assert machine.boot(moved, server, "third") == first


def test_what_guests_have_outlives_the_agent_and_its_journal(machine, tmp_path):
    before = [machine.boot(), machine.boot()]
    machine.stop()
    for file in tmp_path.glob("compute-journal.sqlite*"):
        file.unlink()
    machine.start()
    after = machine.boot()
    assert sorted(taken([*before, after])) == [2, 3, 4, 5, 6, 7]
    with pytest.raises(errors.FailedPrecondition):
        machine.boot()


@pytest.mark.parametrize("stage", ["begin", "image", "start"])
def test_a_spawn_that_fails_holds_no_more_than_what_is_left_of_it(machine, stage):
    rule = {"call": "spawn", "stage": stage, "guest": "*", "error": "HostRefuses", "message": "no luck"}
    machine.faults.write_text(json.dumps({"rules": [rule]}))
    server = str(uuid.uuid4())
    everything = guest((range(2), 64), (range(2, 6), 64))
    with pytest.raises(errors.FailedPrecondition, match="no luck"):
        machine.boot(everything, server)
    machine.faults.write_text('{"rules": []}')
    if server in machine.ids():
        with pytest.raises(errors.FailedPrecondition):
            machine.boot(guest(((0,), 64)))
    machine.delete(server)
    assert len(taken([machine.boot(everything)])) == 6


def test_shared_guests_do_not_take_dedicated_cpus(machine):
    """Two CPUs, sold four times each."""
    for _ in range(8):
        machine.boot(None)
    with pytest.raises(errors.FailedPrecondition, match="vcpus"):
        machine.boot(None)
    assert machine.boot() is not None


def test_sets_that_cannot_be_are_an_error_at_start(tmp_path):
    with pytest.raises(virt.errors.DriverError, match="cpu_dedicated_set names CPU 8"):
        Machine(tmp_path, cpu_dedicated_set="6-8")
