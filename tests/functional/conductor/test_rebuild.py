"""Rebuild: what changes and what stays, what is asked first, and how it fails."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest

from protonova.common.v1.server_pb2 import ImageSnapshot, PowerState, Server, TaskState, VmState
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.conductor import actions
from protonova.services.runtime import errors
from tests.functional.conductor.test_delete import assert_nothing_left, delete, full_build
from tests.functional.conductor.test_password import PASSWORD, kept
from tests.functional.conductor.test_power import ACTIVE, STOPPED, change, events, idle, stop
from tests.support.conductor import Conductor, Edges, as_user, unblocked

ERROR = VmState.VM_STATE_ERROR
IMAGE = ImageSnapshot(id=str(uuid.UUID(int=9)), name="new", properties={"os_distro": "x"})


def rebuild(
    cell: Conductor, server_id: str, *, other: bool = True, reimage: bool = False, **fields
) -> Server:
    request = server_pb2.RebuildServerRequest(
        id=server_id,
        server=Server(image=IMAGE, **fields),
        admin_password=PASSWORD,
        files=[server_pb2.BuildFile(path="/a", contents=b"b")],
        other_image=other,
        reimage=reimage,
    )
    request.update_mask.paths.extend(fields)
    return cell.servers.RebuildServer(request).server


@pytest.mark.parametrize("before", [ACTIVE, STOPPED, ERROR])
def test_a_server_is_made_anew(cell: Conductor, edges: Edges, before):
    build, _, _ = full_build(edges, "host1")
    server = cell.boot(build)
    held = edges.allocations.providers(server.id)
    change(cell, server.id, vm_state=before)
    with as_user(request_id="req-rebuild"):
        told = rebuild(cell, server.id, name="again", metadata={"a": "b"}, description="d")
    assert (told.name, told.image.name) == ("again", "new")
    # It may be further by the time it is told of.
    assert actions.REBUILD.owns(told.task_state) or told.task_state == TaskState.TASK_STATE_UNSPECIFIED
    after = cell.wait(server.id, idle)
    assert after.vm_state == (STOPPED if before == STOPPED else ACTIVE)
    off = before == STOPPED
    assert (after.power_state == PowerState.POWER_STATE_SHUTDOWN) is off
    assert (after.image.id, after.metadata, after.description) == (IMAGE.id, {"a": "b"}, "d")
    assert after.interfaces == server.interfaces
    assert after.block_devices == server.block_devices
    assert edges.allocations.providers(server.id) == held
    asked = edges.guests.rebuilt[server.id]
    assert asked.start is not off
    assert (asked.admin_password, asked.files[0].path) == (PASSWORD, "/a")
    assert [spec.host for spec in edges.rebuilds.asked] == ["host1"]
    assert edges.rebuilds.asked[0].image.id == IMAGE.id
    assert PASSWORD not in kept(cell)
    assert events(cell, server.id, "req-rebuild") == (
        "rebuild",
        "",
        [("rebuild_server", "Success"), ("compute_rebuild_instance", "Success")],
    )


def test_the_states_it_goes_through(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("RebuildGuest")
    rebuild(cell, server.id)
    unblocked(gate.reached)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_REBUILD_SPAWNING
    with pytest.raises(errors.FailedPrecondition) as caught:
        rebuild(cell, server.id)
    assert caught.value.facts["value"] == "rebuild_spawning"
    gate.open.set()
    cell.wait(server.id, idle)


def test_the_same_image_is_asked_about_by_nobody(cell: Conductor, edges: Edges):
    server = cell.boot()
    rebuild(cell, server.id, other=False)
    cell.wait(server.id, idle)
    assert edges.rebuilds.asked == []


def test_what_the_mask_names_and_the_message_has_not_is_taken_away(cell: Conductor):
    server = cell.boot()
    change(cell, server.id, description="old", key_name="key", key_data="data", user_data="eA==")
    request = server_pb2.RebuildServerRequest(id=server.id, server=Server(image=IMAGE))
    request.update_mask.paths.extend(["description", "key_name", "key_data"])
    after = cell.servers.RebuildServer(request).server
    assert not after.HasField("description")
    assert (after.key_name, after.key_data, after.user_data) == ("", "", "eA==")
    assert after.name == server.name
    request.update_mask.paths.append("host")
    cell.wait(server.id, idle)
    with pytest.raises(errors.InvalidArgument) as caught:
        cell.servers.RebuildServer(request)
    assert caught.value.facts["field"] == "host"


def test_an_image_the_host_may_not_run_changes_nothing(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.rebuilds.refuses = "ImagePropertiesFilter"
    with as_user(request_id="req-no"):
        rebuild(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert after.vm_state == ACTIVE
    assert after.image == server.image
    assert "ImagePropertiesFilter" in after.fault.message
    assert edges.guests.rebuilt == {}
    assert events(cell, server.id, "req-no")[1:] == ("Error", [("rebuild_server", "Error")])
    assert PASSWORD not in kept(cell)


def test_a_host_that_is_down_changes_nothing(cell: Conductor, edges: Edges):
    server = cell.boot()
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    rebuild(cell, server.id)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert (after.vm_state, after.image.id) == (ACTIVE, server.image.id)


def test_what_fails_later_is_an_error_and_can_be_tried_again(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("RebuildGuest", errors.FailedPrecondition("Bad image.", reason="IMAGE_UNACCEPTABLE"))
    rebuild(cell, server.id)
    after = cell.wait(server.id, idle)
    assert (after.vm_state, after.image.id) == (ERROR, IMAGE.id)
    assert after.fault.message == "Bad image."
    assert edges.guests.where(server.id) == ["host1"]
    rebuild(cell, server.id)
    assert cell.wait(server.id, idle).vm_state == ACTIVE


def on_volume(cell: Conductor, edges: Edges) -> tuple[Server, str]:
    """A server that boots from a volume of its user's."""
    build, _, volume_id = full_build(edges, "host1")
    build.server.image.Clear()
    return cell.boot(build), volume_id


def test_a_root_volume_is_written_over(cell: Conductor, edges: Edges):
    server, volume_id = on_volume(cell, edges)
    before = {device.volume_id: device.attachment_id for device in server.block_devices}
    rebuild(cell, server.id, reimage=True)
    after = cell.wait(server.id, idle)
    assert after.vm_state == ACTIVE
    now = {device.volume_id: device.attachment_id for device in after.block_devices}
    assert now[volume_id] != before.pop(volume_id)
    assert before.items() <= now.items()
    assert edges.volumes.attachments_of(server.id) == now
    assert set(now.values()) <= edges.volumes.completed
    assert edges.volumes.volumes[volume_id].image_properties == {"image_id": IMAGE.id}
    assert (after.image.id, after.image.name) == ("", "new")
    calls = [call for call, _, _ in edges.guests.calls]
    assert calls.index("StopGuest") < calls.index("RebuildGuest")


def test_a_root_volume_that_is_not_written_over(cell: Conductor, edges: Edges):
    server, volume_id = on_volume(cell, edges)
    rebuild(cell, server.id, other=False)
    after = cell.wait(server.id, idle)
    assert after.block_devices == server.block_devices
    assert edges.volumes.volumes[volume_id].image_properties == {}
    assert after.image.name == ""


def test_a_volume_that_cannot_be_written_leaves_an_error(cell: Conductor, edges: Edges):
    server, volume_id = on_volume(cell, edges)
    edges.volumes.becomes = "error"
    rebuild(cell, server.id, reimage=True)
    after = cell.wait(server.id, idle)
    assert after.vm_state == ERROR
    assert volume_id in after.fault.message
    # Nothing is lost: it is held still, and another try succeeds.
    assert len(edges.volumes.attachments_between(volume_id, server.id)) == 1
    edges.volumes.becomes = "reserved"
    edges.volumes.volumes[volume_id] = replace(edges.volumes.volumes[volume_id], status="reserved")
    rebuild(cell, server.id, reimage=True)
    assert cell.wait(server.id, idle).vm_state == ACTIVE
    assert len(edges.volumes.attachments_between(volume_id, server.id)) == 1


def test_a_delete_preempts_it(cell: Conductor, edges: Edges):
    server, _ = on_volume(cell, edges)
    gate = edges.guests.gate("RebuildGuest")
    rebuild(cell, server.id, reimage=True)
    unblocked(gate.reached)
    delete(cell, server.id)
    gate.open.set()
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    assert PASSWORD not in kept(cell)


def test_the_wrong_state(cell: Conductor):
    server = cell.boot()
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    change(cell, server.id, vm_state=VmState.VM_STATE_RESCUED)
    with pytest.raises(errors.FailedPrecondition) as caught:
        rebuild(cell, server.id, name="new")
    assert caught.value.facts["action"] == "rebuild"
    assert cell.get(server.id).name == server.name
