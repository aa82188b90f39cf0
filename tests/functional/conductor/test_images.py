"""Images, backups and shelving: what is made, what is left when it fails, and who goes on when somebody dies."""

from __future__ import annotations

import json
import time

import pytest
import sqlalchemy as sa

from protonova.common.v1 import upkeep_pb2, upkeep_pb2_grpc
from protonova.common.v1.server_pb2 import (
    BlockDevice,
    BlockDeviceDestination,
    BlockDeviceSource,
    NetworkRequest,
    PowerState,
    Server,
    TaskState,
    VmState,
)
from protonova.conductor.v1 import server_image_pb2 as pb
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import errors
from protonova.services.runtime.channel import connect
from tests.functional.conductor.test_delete import assert_nothing_left, delete
from tests.functional.conductor.test_power import ACTIVE, STOPPED, idle, stop
from tests.functional.conductor.test_takeover import lose, replica  # noqa: F401 - a fixture
from tests.support.conductor import Conductor, Edges, as_user, new_build, new_server, unblocked

SHELVED = VmState.VM_STATE_SHELVED
OFFLOADED = VmState.VM_STATE_SHELVED_OFFLOADED
REFUSAL = errors.FailedPrecondition("There is no room.", reason="HOST_REFUSES")


def create_image(cell: Conductor, server_id: str, **fields) -> str:
    request = pb.CreateServerImageRequest(id=server_id, name="copy", **fields)
    return cell.images.CreateServerImage(request).image_id


def back_up(cell: Conductor, server_id: str, rotation: int, kind: str = "daily") -> str:
    request = pb.CreateServerBackupRequest(id=server_id, name="b", backup_type=kind, rotation=rotation)
    return cell.images.CreateServerBackup(request).image_id


def shelve(cell: Conductor, server_id: str) -> None:
    cell.images.ShelveServer(pb.ShelveServerRequest(id=server_id))


def from_volume(edges: Edges) -> Server:
    volume = edges.volumes.add(2)
    server = new_server()
    server.image.SetInParent()
    server.image.id = ""
    server.block_devices.append(
        BlockDevice(
            source=BlockDeviceSource.BLOCK_DEVICE_SOURCE_VOLUME,
            destination=BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME,
            volume_id=volume.id,
            boot_index=0,
        )
    )
    return server


def test_an_image_of_a_running_server(cell: Conductor, edges: Edges):
    source = new_server()
    source.image.properties.update({"hw_disk_bus": "virtio", "cache_in_nova": "True", "image_type": "old"})
    server = cell.boot(new_build("host1", server=source))
    image_id = create_image(cell, server.id, metadata={"colour": "red", "hw_disk_bus": "scsi"})
    # Whoever is told of it finds it at once.
    assert image_id in edges.glance.records
    after = cell.wait(server.id, lambda s: idle(s) and edges.glance.records[image_id].status == "active")
    assert (after.vm_state, after.power_state) == (ACTIVE, PowerState.POWER_STATE_RUNNING)
    record = edges.glance.records[image_id]
    assert (record.name, record.owner, record.content) == ("copy", "project", b"a root disk")
    assert record.min_disk_gb == 1
    assert record.properties == {
        "hw_disk_bus": "scsi",
        "colour": "red",
        "image_type": "snapshot",
        "instance_uuid": server.id,
        "user_id": "user",
        "base_image_ref": server.image.id,
    }
    assert not edges.guest_images.copies


def test_a_call_that_is_sent_again_makes_no_second_image(cell: Conductor, edges: Edges):
    """The answer was lost with a connection."""
    server = cell.boot()
    made = []
    for _ in range(2):
        with as_user(request_id="req-image"):
            made.append(create_image(cell, server.id))
        cell.wait(server.id, lambda s: idle(s) and edges.glance.records[made[0]].status == "active")
    assert made[0] == made[1]
    assert list(edges.glance.records) == made[:1]


def test_a_call_with_a_token_that_is_sent_again_makes_no_second_image(cell: Conductor, edges: Edges):
    """The token is not known any more by then."""
    server = cell.boot(new_build("host1", server=from_volume(edges)))
    for _ in range(2):
        with as_user(request_id="req-image"):
            create_image(cell, server.id, user_token="a-token")
        cell.engine.wait(cell.engine.list(subject=server.id)[0].id, 20)
    assert len(cell.engine.list(subject=server.id)) == 2
    assert len(edges.volumes.snapshots) == len(edges.glance.records) == 1


@pytest.mark.parametrize("method", ["SnapshotGuest", "UploadSnapshot"])
def test_an_image_that_cannot_be_made(cell: Conductor, edges: Edges, method: str):
    server = cell.boot()
    edges.guests.fail(method, REFUSAL)
    create_image(cell, server.id)
    after = cell.wait(server.id, idle)
    assert after.vm_state == ACTIVE
    assert not after.HasField("fault")
    assert not edges.glance.records
    assert not edges.guest_images.copies


def test_an_image_service_that_refuses(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.glance.errors["create"] = [errors.QuotaExceeded("Too many.", reason="EXTERNAL_QUOTA_EXCEEDED")] * 2
    with pytest.raises(errors.QuotaExceeded):
        create_image(cell, server.id)
    assert cell.wait(server.id, idle).vm_state == ACTIVE
    assert not edges.glance.records


def test_a_second_image_waits_for_the_first(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("UploadSnapshot")
    create_image(cell, server.id)
    unblocked(gate.reached)
    during = cell.get(server.id)
    assert during.task_state == TaskState.TASK_STATE_IMAGE_UPLOADING
    with pytest.raises(errors.FailedPrecondition) as caught:
        create_image(cell, server.id)
    assert (caught.value.reason, caught.value.facts["attribute"]) == ("SERVER_STATE", "task_state")
    gate.open.set()
    cell.wait(server.id, idle)
    assert len(edges.glance.records) == 1


def test_a_server_deleted_while_its_image_is_made(cell: Conductor, edges: Edges):
    server = cell.boot()
    gate = edges.guests.gate("SnapshotGuest")
    create_image(cell, server.id)
    unblocked(gate.reached)
    delete(cell, server.id)
    cell.wait_gone(server.id)
    gate.open.set()
    assert_nothing_left(edges, server.id)
    eventually_gone(cell, edges)


def eventually_gone(cell: Conductor, edges: Edges) -> None:
    """Its image goes by an operation of its own."""
    for operation in cell.engine.list():
        if operation.kind == "discard_image":
            cell.engine.wait(operation.id, 20)
    assert not edges.glance.records


def test_an_upload_is_taken_over(replica, edges: Edges):  # noqa: F811
    first = replica()
    server = first.boot()
    gate = edges.guests.gate("UploadSnapshot")
    image_id = create_image(first, server.id)
    unblocked(gate.reached)
    lose(first)
    second = replica()
    gate.open.set()
    second.wait(server.id, idle)
    assert edges.glance.records[image_id].status == "active"
    assert not edges.guest_images.copies


def test_backups_rotate(cell: Conductor, edges: Edges):
    server = cell.boot()
    made = []
    for kind in ("daily", "daily", "weekly", "daily"):
        made.append(back_up(cell, server.id, 2, kind))
        cell.wait(server.id, idle)
    assert set(edges.glance.records) == set(made[1:])
    back_up(cell, server.id, 0)
    cell.wait(server.id, idle)
    assert set(edges.glance.records) == {made[2]}


def test_an_image_of_a_server_on_a_volume(cell: Conductor, edges: Edges):
    server = cell.boot(new_build("host1", server=from_volume(edges)))
    image_id = create_image(cell, server.id)
    cell.engine.wait(cell.engine.list(subject=server.id)[0].id, 20)
    record = edges.glance.records[image_id]
    assert (record.status, record.content, record.fields["bdm_v2"]) == ("active", b"", "True")
    (device,) = json.loads(record.fields["block_device_mapping"])
    (snapshot,) = edges.volumes.snapshots.values()
    assert device["snapshot_id"] == snapshot.id
    assert (device["boot_index"], device["volume_size"], device["destination_type"]) == (0, 2, "volume")
    with pytest.raises(errors.InvalidArgument, match="volume"):
        back_up(cell, server.id, 1)


@pytest.mark.parametrize("fails", [False, True])
def test_snapshots_belong_to_whoever_asks(cell: Conductor, edges: Edges, fails: bool):
    server = cell.boot(new_build("host1", server=from_volume(edges)))
    if fails:
        edges.glance.errors["change"] = [errors.InvalidArgument("No.", reason="EXTERNAL_INVALID")]
    create_image(cell, server.id, user_token="a-token")
    operation = cell.engine.wait(cell.engine.list(subject=server.id)[0].id, 20)
    table = operation_tables.operations
    query = sa.select(table.c.payload).where(table.c.id == operation.id)
    assert "token" not in cell.cell.db.read(lambda connection: connection.scalar(query))
    (rights,) = edges.volumes.made_with.values()
    assert rights == ("a-token", server.project_id)


def test_volume_snapshots_of_an_image_that_fails(cell: Conductor, edges: Edges):
    server = cell.boot(new_build("host1", server=from_volume(edges)))
    edges.glance.errors["change"] = [errors.InvalidArgument("No.", reason="EXTERNAL_INVALID")]
    create_image(cell, server.id)
    cell.engine.wait(cell.engine.list(subject=server.id)[0].id, 20)
    assert not edges.volumes.snapshots
    assert not edges.glance.records


def test_shelving_leaves_the_host_at_once(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    server = cell.boot(build)
    shelve(cell, server.id)
    after = cell.wait(server.id, lambda s: s.vm_state == OFFLOADED)
    assert (after.host, after.node, after.task_state) == ("", "", 0)
    assert after.shelved_image_id
    assert after.HasField("shelved_at")
    assert edges.glance.records[after.shelved_image_id].status == "active"
    assert edges.glance.records[after.shelved_image_id].name == "server-shelved"
    assert edges.guests.where(server.id) == []
    assert server.id not in edges.allocations.held
    (port,) = edges.networks.ports.values()
    assert (port.device_id, port.host) == (server.id, "")
    assert [interface.port_id for interface in after.interfaces] == [port.id]
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    eventually_gone(cell, edges)


def test_volumes_stay_reserved_for_a_shelved_server(cell: Conductor, edges: Edges):
    server = cell.boot(new_build("host1", server=from_volume(edges)))
    before = server.block_devices[0].attachment_id
    shelve(cell, server.id)
    after = cell.wait(server.id, lambda s: s.vm_state == OFFLOADED)
    assert not edges.glance.records
    (attachment,) = edges.volumes.attachments
    assert attachment == after.block_devices[0].attachment_id != before
    assert attachment not in edges.volumes.connected
    assert not after.block_devices[0].HasField("connection")


def test_shelving_that_fails_brings_the_guest_back(cell: Conductor, edges: Edges):
    server = cell.boot()
    edges.guests.fail("UploadSnapshot", REFUSAL)
    shelve(cell, server.id)
    after = cell.wait(server.id, idle)
    assert (after.vm_state, after.power_state) == (ACTIVE, PowerState.POWER_STATE_RUNNING)
    assert after.fault.message
    assert edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_RUNNING
    assert not edges.glance.records
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    edges.guests.fail("SnapshotGuest", REFUSAL)
    shelve(cell, server.id)
    after = cell.wait(server.id, idle)
    assert after.vm_state == STOPPED
    assert edges.guests.guests["host1", server.id].power_state == PowerState.POWER_STATE_SHUTDOWN


def test_shelved_servers_leave_after_a_while(tmp_path, edges: Edges):
    cell = Conductor(tmp_path, edges, shelved_offload_time=1, shelved_poll_interval=-1)
    cell.report("host1")
    upkeep = upkeep_pb2_grpc.UpkeepServiceStub(connect(cell.conf, cell.server.address))

    def looked() -> int:
        return upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="offload-shelved")).upkeep.last_count

    try:
        server = cell.boot()
        shelve(cell, server.id)
        cell.wait(server.id, lambda s: s.vm_state == SHELVED and idle(s))
        assert not looked()
        begun = time.monotonic()
        while not looked():
            assert time.monotonic() - begun < 10
        cell.wait(server.id, lambda s: s.vm_state == OFFLOADED)
        assert not looked()
    finally:
        cell.close()


def test_a_shelved_server_is_told_to_leave(tmp_path, edges: Edges):
    cell = Conductor(tmp_path, edges, shelved_offload_time=-1)
    cell.report("host1")
    try:
        server = cell.boot()
        shelve(cell, server.id)
        shelved = cell.wait(server.id, lambda s: s.vm_state == SHELVED and idle(s))
        assert shelved.host == "host1"
        edges.guests.fail("DestroyGuest", errors.FailedPrecondition("No.", reason="GUEST_STATE"))
        offload = pb.OffloadServerRequest(id=server.id)
        cell.images.OffloadServer(offload)
        stays = cell.wait(server.id, idle)
        assert (stays.vm_state, stays.host) == (SHELVED, "host1")
        cell.images.OffloadServer(offload)
        cell.wait(server.id, lambda s: s.vm_state == OFFLOADED)
        with pytest.raises(errors.FailedPrecondition) as caught:
            cell.images.OffloadServer(offload)
        assert caught.value.facts["value"] == "shelved_offloaded"
    finally:
        cell.close()
