"""What servers say of their guests, and when they are stopped, when nothing else is being done to them."""

from __future__ import annotations

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, TaskState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2 as pb
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor.states import RUNS
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import change
from tests.support.conductor import Conductor, Edges, new_server


def has(cell: Conductor, **fields) -> Server:
    server = new_server(host="host1", **fields)
    cell.store(server)
    return server


def booted(cell: Conductor) -> Server:
    cell.report("host1")
    return cell.boot()


def tell(cell: Conductor, server: Server, state: str = "UNSPECIFIED", *, host: str = "host1", **fields):
    report = pb.GuestReport(
        host=host, server_id=server.id, power_state=PowerState.Value(f"POWER_STATE_{state}"), **fields
    )
    return list(cell.hosts.ReportGuests(pb.ReportGuestsRequest(guests=[report])).unknown_server_ids)


# State and power state of a server, what its guest is, and what the server becomes; None = it goes on saying what
# it said, but for the power state.
GUESTS = [
    ("ACTIVE", "RUNNING", "SHUTDOWN", "STOPPED"),
    ("ACTIVE", "RUNNING", "CRASHED", "STOPPED"),
    ("ACTIVE", "RUNNING", "SUSPENDED", "STOPPED"),
    ("PAUSED", "PAUSED", "SHUTDOWN", "STOPPED"),
    ("PAUSED", "PAUSED", "CRASHED", "STOPPED"),
    ("STOPPED", "SHUTDOWN", "RUNNING", "STOPPED"),
    ("STOPPED", "SHUTDOWN", "PAUSED", "STOPPED"),
    ("STOPPED", "SHUTDOWN", "SUSPENDED", "STOPPED"),
    # What another try is due for.
    ("STOPPED", "RUNNING", "RUNNING", "STOPPED"),
    ("ACTIVE", "SHUTDOWN", "SHUTDOWN", "STOPPED"),
    # Left to their users.
    ("ACTIVE", "RUNNING", "PAUSED", None),
    ("PAUSED", "PAUSED", "RUNNING", None),
    ("PAUSED", "PAUSED", "SUSPENDED", None),
    ("SUSPENDED", "SUSPENDED", "RUNNING", None),
    ("SUSPENDED", "SUSPENDED", "SHUTDOWN", None),
    ("STOPPED", "SHUTDOWN", "CRASHED", None),
    ("ERROR", "RUNNING", "SHUTDOWN", None),
    ("RESCUED", "RUNNING", "SHUTDOWN", None),
    ("RESIZED", "RUNNING", "SHUTDOWN", None),
    ("SHELVED", "SHUTDOWN", "RUNNING", None),
]


def test_guests_that_are_not_what_their_servers_say(cell: Conductor, edges: Edges):
    cell.report("host1")
    for vm_state, power_state, seen, after in GUESTS:
        server = has(cell, vm_state=f"VM_STATE_{vm_state}", power_state=f"POWER_STATE_{power_state}")
        guest = guest_pb2.Guest(server_id=server.id, power_state=f"POWER_STATE_{seen}")
        edges.guests.guests["host1", server.id] = guest
        assert tell(cell, server, seen) == []
        cell.settled(server.id)
        now = cell.get(server.id)
        row = f"{vm_state}, {power_state}, {seen}"
        assert now.task_state == TaskState.TASK_STATE_UNSPECIFIED, row
        assert VmState.Name(now.vm_state) == f"VM_STATE_{after or vm_state}", row
        stopped = [call for call, _, known in edges.guests.calls if known == server.id]
        assert stopped == (["StopGuest"] if after else []), row
        asked = server_pb2.ListServerActionsRequest(server_id=server.id)
        actions = [each.action for each in cell.servers.ListServerActions(asked).actions]
        assert actions == (["stop"] if after else []), row
        if after:
            assert now.power_state not in RUNS, row
        else:
            assert PowerState.Name(now.power_state) == f"POWER_STATE_{seen}", row


def test_a_guest_that_runs_again_by_now_is_not_stopped(cell: Conductor, edges: Edges):
    """A report of before its start."""
    server = booted(cell)
    tell(cell, server, "SHUTDOWN")
    cell.settled(server.id)
    now = cell.get(server.id)
    assert (now.vm_state, now.power_state) == (VmState.VM_STATE_ACTIVE, PowerState.POWER_STATE_RUNNING)
    assert edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_RUNNING


def test_a_stop_that_fails_is_tried_again_with_the_next_report(cell: Conductor, edges: Edges):
    server = booted(cell)
    edges.guests.guests["host1", server.id].power_state = PowerState.POWER_STATE_SHUTDOWN
    edges.guests.fail("StopGuest", errors.Internal("It does not stop."))
    tell(cell, server, "SHUTDOWN")
    cell.settled(server.id)
    left = cell.get(server.id)
    assert (left.vm_state, left.power_state) == (VmState.VM_STATE_ACTIVE, PowerState.POWER_STATE_SHUTDOWN)
    tell(cell, server, "SHUTDOWN")
    cell.settled(server.id)
    assert cell.get(server.id).vm_state == VmState.VM_STATE_STOPPED


def test_a_server_that_somebody_locked_is_stopped_as_well(cell: Conductor, edges: Edges):
    server = booted(cell)
    change(cell, server.id, vm_state=VmState.VM_STATE_STOPPED, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    tell(cell, server, "RUNNING")
    cell.settled(server.id)
    assert cell.get(server.id).power_state == PowerState.POWER_STATE_SHUTDOWN
    assert edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_SHUTDOWN


def test_what_is_known_already_changes_nothing(cell: Conductor):
    server = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    before = cell.get(server.id)
    assert tell(cell, server, "RUNNING") == []
    assert cell.get(server.id) == before


def test_an_operation_knows_better(cell: Conductor):
    server = has(
        cell,
        vm_state="VM_STATE_ACTIVE",
        power_state="POWER_STATE_RUNNING",
        task_state=TaskState.TASK_STATE_POWERING_OFF,
    )
    before = cell.get(server.id)
    assert tell(cell, server, "SHUTDOWN") == []
    assert cell.get(server.id) == before


def seen_at(cell: Conductor, server: Server, seconds: float, state: str) -> pb.ReportGuestsResponse:
    """A report of a guest that was looked at so long after the server's last change."""
    report = pb.GuestReport(
        host="host1", server_id=server.id, power_state=PowerState.Value(f"POWER_STATE_{state}")
    )
    changed = cell.get(server.id).updated_at
    report.observed_at.FromMicroseconds(changed.ToMicroseconds() + int(seconds * 1e6))
    return cell.hosts.ReportGuests(pb.ReportGuestsRequest(guests=[report]))


def test_a_report_that_was_on_its_way_while_something_was_done_is_of_the_past(cell: Conductor):
    server = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    before = cell.get(server.id)
    assert list(seen_at(cell, server, -0.1, "SHUTDOWN").unsettled_server_ids) == [server.id]
    assert cell.get(server.id) == before
    assert list(seen_at(cell, server, -0.1, "RUNNING").unsettled_server_ids) == []
    assert list(seen_at(cell, server, 0.1, "SHUTDOWN").unsettled_server_ids) == []
    assert cell.get(server.id).power_state == PowerState.POWER_STATE_SHUTDOWN


def test_a_guest_whose_server_is_worked_on_is_to_be_looked_at_again(cell: Conductor):
    server = has(
        cell,
        vm_state="VM_STATE_ACTIVE",
        power_state="POWER_STATE_RUNNING",
        task_state=TaskState.TASK_STATE_POWERING_OFF,
    )
    assert list(seen_at(cell, server, 0.1, "SHUTDOWN").unsettled_server_ids) == [server.id]


def test_a_complete_report_of_before_a_guest_was_made_does_not_miss_it(cell: Conductor):
    made = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    request = pb.ReportGuestsRequest(complete_hosts=["host1"])
    changed = cell.get(made.id).updated_at.ToMicroseconds()
    request.observed_at.FromMicroseconds(changed - 1)
    cell.hosts.ReportGuests(request)
    assert cell.get(made.id).power_state == PowerState.POWER_STATE_RUNNING
    request.observed_at.FromMicroseconds(changed + 1)
    cell.hosts.ReportGuests(request)
    assert cell.get(made.id).power_state == PowerState.POWER_STATE_UNSPECIFIED


def test_strangers(cell: Conductor):
    server = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    assert tell(cell, new_server(), "RUNNING") != []
    assert tell(cell, server, "SHUTDOWN", host="host2") == [server.id]
    assert cell.get(server.id).vm_state == VmState.VM_STATE_ACTIVE


def test_a_missing_guest_is_noted(cell: Conductor):
    server = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    assert tell(cell, server, missing=True) == []
    now = cell.get(server.id)
    assert now.power_state == PowerState.POWER_STATE_UNSPECIFIED
    assert now.vm_state == VmState.VM_STATE_ACTIVE


def test_a_complete_report_tells_who_is_missing(cell: Conductor, edges: Edges):
    there = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    lost = has(cell, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING")
    busy = has(
        cell,
        vm_state="VM_STATE_BUILDING",
        task_state="TASK_STATE_SPAWNING",
        power_state="POWER_STATE_RUNNING",
    )
    report = pb.GuestReport(host="host1", server_id=there.id, power_state=PowerState.POWER_STATE_RUNNING)
    cell.hosts.ReportGuests(pb.ReportGuestsRequest(guests=[report], complete_hosts=["host1"]))
    states = {server.id: cell.get(server.id).power_state for server in (there, lost, busy)}
    assert states == {
        there.id: PowerState.POWER_STATE_RUNNING,
        lost.id: PowerState.POWER_STATE_UNSPECIFIED,
        busy.id: PowerState.POWER_STATE_RUNNING,
    }
