"""Evacuation: a server of a dead host is built anew elsewhere, and what is left of it goes when the host is
back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from protonova.common.v1.server_pb2 import PowerState, Server, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.compute.leftovers import Leftovers
from protonova.services.conductor import tables
from protonova.services.runtime import context, errors
from tests.functional.conductor.moves.test_resize import devices_are_on, failed, full, resized
from tests.support.conductor import Conductor
from tests.support.moving import Mover, MovingEdges

ACTIVE, STOPPED, ERROR = VmState.VM_STATE_ACTIVE, VmState.VM_STATE_STOPPED, VmState.VM_STATE_ERROR


def down(cell: Conductor, host: str = "host1", *, forced: bool = True) -> None:
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host=host, forced_down=forced))


def on(host: str):
    return lambda server: server.host == host and not server.task_state


def come_back(mover: Mover, edges: MovingEdges, host: str = "host1") -> None:
    """What its agent does when it starts."""
    with context.use(context.internal("compute")):
        Leftovers(mover.stub).tidy(edges.fakes.hosts.get(host))


def become(cell: Conductor, server_id: str, vm_state: int) -> None:
    cell.cell.db.write(
        lambda c: cell.cell.servers.change(c, server_id, lambda s: setattr(s, "vm_state", vm_state))
    )


def test_evacuated_and_cleaned_up_after(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    down(cell)
    migration = mover.evacuate(server.id)
    moved = mover.wait(server.id, on("host2"))
    assert (moved.vm_state, moved.power_state) == (ACTIVE, PowerState.POWER_STATE_RUNNING)
    devices_are_on(edges, moved, "host2")
    assert edges.held(server.id) == {"host2": 1}
    # The dead host is booked for what it may still have.
    assert edges.held(migration) == {"host1": 1}
    mover.until(migration, "done")
    assert sorted(edges.fakes.where(server.id)) == ["host1", "host2"]
    come_back(mover, edges)
    assert edges.fakes.where(server.id) == ["host2"]
    assert edges.held(migration) == {}
    mover.until(migration, "completed")
    come_back(mover, edges)
    assert edges.fakes.where(server.id) == ["host2"]


@pytest.mark.parametrize(
    ("before", "stop", "after"),
    [(ACTIVE, False, ACTIVE), (ACTIVE, True, STOPPED), (STOPPED, False, STOPPED), (ERROR, False, ACTIVE)],
)
def test_what_it_is_afterwards(
    cell: Conductor, mover: Mover, edges: MovingEdges, before: int, stop: bool, after: int
):
    server = cell.boot()
    become(cell, server.id, before)
    down(cell)
    mover.evacuate(server.id, stop=stop)
    moved = mover.wait(server.id, on("host2"))
    assert moved.vm_state == after
    running = edges.fakes.drivers["host2"].guest(server.id).power_state.name == "RUNNING"
    assert running is (after == ACTIVE)


def test_not_from_a_host_that_is_up(cell: Conductor, mover: Mover):
    server = cell.boot()
    with pytest.raises(errors.FailedPrecondition) as refused:
        mover.evacuate(server.id)
    assert refused.value.reason == "HOST_IS_UP"
    assert cell.get(server.id) == server


def test_a_failure_leaves_it_where_it_was(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    down(cell)
    edges.fakes.fail("spawn", "ImageUnacceptable", stage="image")
    migration = mover.evacuate(server.id)
    after = mover.wait(server.id, failed)
    assert (after.vm_state, after.host) == (ACTIVE, "host1")
    assert edges.fakes.where(server.id) == ["host1"]
    assert edges.held(server.id) == {"host1": 1}
    assert edges.held(migration) == {}
    devices_are_on(edges, after, "host1")
    mover.until(migration, "error")
    edges.fakes.faults.set()
    mover.evacuate(server.id)
    assert mover.wait(server.id, on("host2")).vm_state == ACTIVE


def test_an_alternate_is_tried(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot(full(edges, "host1"))
    down(cell)
    edges.fakes.fail("spawn", "HostRefuses", host="host2", stage="image")
    migration = mover.evacuate(server.id)
    devices_are_on(edges, mover.wait(server.id, on("host3")), "host3")
    assert edges.held(migration) == {"host1": 1}


def test_disks_that_are_said_to_be_shared(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    down(cell)
    mover.evacuate(server.id, shared=True)
    after = mover.wait(server.id, failed)
    assert (after.host, "shares no storage" in after.fault.message) == ("host1", True)
    mover.evacuate(server.id, shared=False)
    mover.wait(server.id, on("host2"))


def test_a_delete_after_an_evacuation(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    down(cell)
    migration = mover.evacuate(server.id)
    mover.wait(server.id, on("host2"))
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    cell.wait_gone(server.id)
    assert edges.held(server.id) == edges.held(migration) == {}
    assert edges.fakes.where(server.id) == ["host1"]
    come_back(mover, edges)
    assert edges.fakes.where(server.id) == []
    mover.until(migration, "completed")


def test_evacuated_back_before_the_host_was_cleaned(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    down(cell)
    first = mover.evacuate(server.id)
    mover.wait(server.id, on("host2"))
    # Not while something of it may be there.
    with pytest.raises(errors.FailedPrecondition) as refused:
        down(cell, forced=False)
    assert refused.value.reason == "HOST_NOT_CLEAN"
    # A host that was away by itself comes back, but its agent has yet to look around, when the next one dies.
    hosts = tables.hosts
    cell.cell.db.write(lambda c: c.execute(sa.update(hosts).values(forced_down=False, reported_up=True)))
    down(cell, "host2")
    edges.scheduler.hosts = ["host1"]
    mover.evacuate(server.id)
    mover.wait(server.id, on("host1"))
    come_back(mover, edges)
    assert "host1" in edges.fakes.where(server.id)
    mover.until(first, "completed")


def test_what_was_set_aside_goes_when_nobody_needs_it(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    mover.migrate(server.id)
    mover.wait(server.id, resized)
    come_back(mover, edges)
    assert edges.fakes.aside(server.id) == ["host1"]
    down(cell)
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server.id))
    cell.wait_gone(server.id)
    assert edges.fakes.aside(server.id) == ["host1"]
    down(cell, forced=False)
    come_back(mover, edges)
    assert edges.fakes.aside(server.id) == []


def test_what_could_not_be_put_back_is_put_back_later(cell: Conductor, mover: Mover, edges: MovingEdges):
    server = cell.boot()
    edges.fakes.faults.set(
        {"call": "receive", "error": "DriverError"}, {"call": "take_back", "error": "DriverError"}
    )
    mover.resize(server.id)
    mover.wait(server.id, lambda s: s.vm_state == ERROR)
    edges.fakes.faults.set()
    come_back(mover, edges)
    assert edges.fakes.where(server.id) == ["host1"]
    cell.servers.RebootServer(server_pb2.RebootServerRequest(id=server.id, hard=True))
    assert mover.wait(server.id, lambda s: s.vm_state == ACTIVE).host == "host1"


def test_it_waits_for_what_is_under_way(cell: Conductor, mover: Mover, edges: MovingEdges):
    """A server that has left the dead host by the time its evacuation begins stays where it is."""
    server = cell.boot()
    edges.fakes.faults.set({"call": "receive", "stage": "begin", "delay": 0.3})
    mover.migrate(server.id)
    mover.wait(server.id, lambda s: s.task_state == TaskState.TASK_STATE_RESIZE_FINISH)
    down(cell)
    migration = mover.evacuate(server.id)
    after: Server = mover.wait(server.id, lambda s: s.HasField("fault") and not s.task_state)
    assert after.host == "host2"
    mover.until(migration, "error")
