"""Deleting servers: at rest, in the middle of everything, and with services missing."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import LockHolder, NetworkRequest, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_create import is_error, volume_device
from tests.support.conductor import Conductor, Edges, as_user, new_build, new_server, unblocked


def delete(cell: Conductor, server_id: str) -> None:
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))


def assert_nothing_left(edges: Edges, server_id: str) -> None:
    assert edges.guests.where(server_id) == []
    assert edges.allocations.providers(server_id) == []
    assert [port for port in edges.networks.ports.values() if port.device_id == server_id] == []
    assert edges.volumes.attachments_of(server_id) == {}
    assert edges.region.released == [server_id]


def full_build(edges: Edges, *hosts: str) -> tuple[server_pb2.ServerBuild, str, str]:
    """A server with a port and a volume of its user's and one each of its own."""
    network = edges.networks.add_network("private")
    port = edges.networks.add_port(network)
    volume = edges.volumes.add()
    devices = [
        volume_device(source=2, volume_id=volume.id, boot_index=0),
        volume_device(source=4, size_gb=1, delete_on_termination=True),
    ]
    build = new_build(
        *hosts,
        networks=[NetworkRequest(port_id=port.id), NetworkRequest(network_id=network.id)],
        server=new_server(block_devices=devices, tags=["blue"]),
    )
    return build, port.id, volume.id


def test_nothing_is_left_of_a_server(cell: Conductor, edges: Edges):
    build, port_id, volume_id = full_build(edges, "host1")
    server = cell.boot(build)
    with as_user(request_id="req-delete"):
        delete(cell, server.id)
    gone = cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    assert list(edges.networks.ports) == [port_id]
    assert list(edges.volumes.volumes) == [volume_id]
    assert gone.vm_state == VmState.VM_STATE_DELETED
    assert gone.deleted_at == gone.terminated_at
    assert gone.deleted_at.seconds
    with pytest.raises(errors.NotFound) as caught:
        cell.get(server.id)
    assert caught.value.reason == "SERVER_NOT_FOUND"
    actions = cell.servers.ListServerActions(
        server_pb2.ListServerActionsRequest(server_id=server.id, include_deleted=True)
    ).actions
    assert [action.action for action in actions] == ["delete", "create"]
    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-delete", include_deleted=True)
    ).action
    assert [(event.name, event.result) for event in action.events] == [
        ("compute_terminate_instance", "Success")
    ]


def test_a_volume_that_cannot_be_deleted_stays(cell: Conductor, edges: Edges):
    build, _, volume_id = full_build(edges, "host1")
    server = cell.boot(build)
    made = server.block_devices[1].volume_id
    refusal = errors.InvalidArgument("It has dependent snapshots.", reason="EXTERNAL_INVALID")
    edges.volumes.errors["delete"] = [refusal]
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    assert {volume_id, made} == set(edges.volumes.volumes)


def test_deleting_twice_is_deleting_once(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("DestroyGuest")
    delete(cell, server.id)
    unblocked(gate.reached)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_DELETING
    delete(cell, server.id)
    gate.open.set()
    cell.wait_gone(server.id)
    assert edges.region.released == [server.id]
    with pytest.raises(errors.NotFound):
        delete(cell, server.id)


@pytest.mark.parametrize("step", ["create_port", "create_attachment", "SpawnGuest"])
def test_a_delete_preempts_a_build(cell: Conductor, edges: Edges, step: str):
    """Whatever step is under way when the delete comes, nothing is left, and nothing comes back."""
    build, port_id, volume_id = full_build(edges, "host1", "host2")
    deleted = []

    def now(*_):
        if not deleted:
            deleted.append(True)
            delete(cell, build.server.id)

    if step == "SpawnGuest":
        gate = edges.guests.gate(step)
        cell.create(build)
        unblocked(gate.reached)
        now()
        cell.wait_gone(build.server.id)
        gate.open.set()
    else:
        edges.networks.after[step] = now
        edges.volumes.after[step] = now
        cell.create(build)
        cell.wait_gone(build.server.id)
    assert_nothing_left(edges, build.server.id)
    assert list(edges.networks.ports) == [port_id]
    assert list(edges.volumes.volumes) == [volume_id]
    actions = cell.servers.ListServerActions(
        server_pb2.ListServerActionsRequest(server_id=build.server.id, include_deleted=True)
    ).actions
    assert [action.action for action in actions] == ["delete", "create"]


def test_a_delete_preempts_the_undoing_of_a_build(cell: Conductor, edges: Edges):
    edges.guests.always_fail("SpawnGuest", errors.FailedPrecondition("No.", reason="HOST_REFUSES"))
    gate = edges.guests.gate("DestroyGuest")
    build, _, _ = full_build(edges, "host1", "host2")
    cell.create(build)
    unblocked(gate.reached)
    delete(cell, build.server.id)
    gate.open.set()
    cell.wait_gone(build.server.id)
    assert_nothing_left(edges, build.server.id)


def test_a_server_in_error_can_be_deleted(cell: Conductor, edges: Edges):
    edges.guests.always_fail("SpawnGuest", errors.FailedPrecondition("No.", reason="HOST_REFUSES"))
    build = new_build("host1")
    cell.create(build)
    cell.wait(build.server.id, is_error)
    delete(cell, build.server.id)
    cell.wait_gone(build.server.id)
    assert_nothing_left(edges, build.server.id)


def test_a_host_that_is_down_does_not_keep_its_servers(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.stop_agent()
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert edges.region.released == [server.id]
    # Its agent comes back, tells of the guest, and hears that it has no server any more.
    answer = cell.hosts.ReportGuests(
        host_pb2.ReportGuestsRequest(guests=[host_pb2.GuestReport(host="host1", server_id=server.id)])
    )
    assert answer.unknown_server_ids == [server.id]


@pytest.mark.parametrize("edge", ["placement", "api"])
def test_what_is_away_is_waited_for(cell: Conductor, edges: Edges, edge: str):
    server = cell.boot()
    away = [errors.Unavailable("Away."), errors.Unavailable("Away.")]
    (edges.allocations if edge == "placement" else edges.region).errors.extend(away)
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def test_a_delete_that_fails_can_be_tried_again(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("DestroyGuest", errors.Internal("The hypervisor is confused."))
    delete(cell, server.id)
    failed = cell.wait(server.id, is_error)
    assert failed.fault.message == "The hypervisor is confused."
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def test_a_locked_server_stays(cell: Conductor):
    server = cell.boot()
    request = server_pb2.UpdateServerRequest(server={"id": server.id})
    request.server.locked_by = LockHolder.LOCK_HOLDER_OWNER
    request.update_mask.paths.append("locked_by")
    cell.servers.UpdateServer(request)
    with as_user(), pytest.raises(errors.FailedPrecondition) as caught:
        delete(cell, server.id)
    assert caught.value.reason == "SERVER_LOCKED"
    with as_user(is_admin=True):
        delete(cell, server.id)
    cell.wait_gone(server.id)
