"""Volumes attached to servers, taken away, swapped: what happens, what is refused, what a failure leaves."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import BlockDevice, Server, VmState
from protonova.conductor.v1 import host_pb2
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.volume import Volume
from tests.functional.conductor.test_create import volume_device
from tests.functional.conductor.test_delete import assert_nothing_left, delete
from tests.functional.conductor.test_power import change, events
from tests.support.conductor import Conductor, Edges, as_user, by_somebody, new_build, new_server, unblocked

REFUSED = errors.FailedPrecondition("No slot is free.", reason="HOST_REFUSES")


def attach(cell: Conductor, server: Server, volume: Volume, **fields) -> BlockDevice:
    values = {"allow_shelved": True, "allow_multiattach": True, **fields}
    request = pb.AttachVolumeRequest(server_id=server.id, volume_id=volume.id, **values)
    with by_somebody():
        return cell.devices.AttachVolume(request).device


def detach(cell: Conductor, server: Server, volume: Volume) -> None:
    request = pb.DetachVolumeRequest(server_id=server.id, volume_id=volume.id, allow_shelved=True)
    with by_somebody():
        cell.devices.DetachVolume(request)


def volumes(server: Server) -> dict[str, str]:
    return {device.volume_id: device.device_name for device in server.block_devices}


def wait_in_use(cell: Conductor, edges: Edges, server: Server, volume: Volume) -> Server:
    cell.settled(server.id)
    assert edges.volumes.status(volume.id) == "in-use"
    return cell.get(server.id)


def test_attach_and_detach(cell: Conductor, edges: Edges):
    server, volume = cell.boot(), edges.volumes.add(2)
    with as_user(request_id="req-attach"):
        told = attach(cell, server, volume, tag="data", delete_on_termination=True)
    assert (told.device_name, told.tag, told.delete_on_termination) == ("/dev/vdb", "data", True)
    (device,) = wait_in_use(cell, edges, server, volume).block_devices
    assert (device.volume_id, device.device_name, device.size_gb) == (volume.id, "/dev/vdb", 2)
    assert device.delete_on_termination
    assert edges.volumes.attachments[device.attachment_id] == (volume.id, server.id)
    assert edges.volumes.connected[device.attachment_id]["host"] == "host1"
    assert edges.devices.volumes[server.id] == {volume.id: "/dev/vdb"}
    done = ("attach_volume", "", [("compute_attach_volume", "Success")])
    assert events(cell, server.id, "req-attach") == done

    with as_user(request_id="req-detach"):
        detach(cell, server, volume)
    cell.wait(server.id, lambda s: not s.block_devices)
    assert edges.volumes.status(volume.id) == "available"
    assert edges.devices.volumes[server.id] == {}
    done = ("detach_volume", "", [("compute_detach_volume", "Success")])
    assert events(cell, server.id, "req-detach") == done


def test_names_of_disks(cell: Conductor, edges: Edges):
    server = new_server()
    server.flavor.ephemeral_gb, server.flavor.swap_mb = 1, 64
    server = cell.boot(new_build("host1", server=server))
    wanted, next_ = edges.volumes.add(), edges.volumes.add()
    assert attach(cell, server, next_).device_name == "/dev/vdd"
    assert attach(cell, server, wanted, device_name="/dev/vdf").device_name == "/dev/vdf"
    assert attach(cell, server, edges.volumes.add(), device_name="/dev/sdb").device_name == "/dev/vde"
    for taken in ("/dev/vdf", "/dev/vda", "/dev/vdc1"):
        with pytest.raises(errors.FailedPrecondition) as caught:
            attach(cell, server, edges.volumes.add(), device_name=taken)
        assert caught.value.reason == "DEVICE_NAME_IN_USE"


def test_a_server_that_boots_from_volumes_names_them(cell: Conductor, edges: Edges):
    data, root = edges.volumes.add(), edges.volumes.add()
    devices = [
        volume_device(source=2, volume_id=data.id),
        volume_device(source=2, volume_id=root.id, boot_index=0),
    ]
    server = new_server(block_devices=devices)
    server.image.id = ""
    booted = cell.boot(new_build("host1", server=server))
    assert volumes(booted) == {root.id: "/dev/vda", data.id: "/dev/vdb"}
    with pytest.raises(errors.InvalidArgument) as caught:
        detach(cell, booted, root)
    assert caught.value.reason == "VOLUME_IS_ROOT"


@pytest.mark.parametrize(
    ("volume", "asked", "reason"),
    [
        ({"status": "error"}, {}, "VOLUME_UNUSABLE"),
        ({"status": "in-use"}, {}, "VOLUME_UNUSABLE"),
        ({"multiattach": True}, {"allow_multiattach": False}, "VOLUME_UNUSABLE"),
        ({"project_id": "other"}, {}, "VOLUME_NOT_FOUND"),
        ({}, {"device_name": "/dev/nul!"}, "DEVICE_NAME_INVALID"),
    ],
)
def test_what_is_refused_changes_nothing(cell: Conductor, edges: Edges, volume, asked, reason):
    server, made = cell.boot(), edges.volumes.add(**volume)
    before = cell.get(server.id)
    with as_user(), pytest.raises(errors.Error) as caught:
        attach(cell, server, made, **asked)
    assert caught.value.reason == reason
    assert cell.get(server.id) == before
    assert edges.volumes.attachments == {}


def test_other_zones_and_too_many_disks(cell: Conductor, edges: Edges):
    server = cell.boot()
    far = edges.volumes.add(zone="far")
    cell.conf.set_override("cross_az_attach", False, "cinder")
    with pytest.raises(errors.InvalidArgument) as caught:
        attach(cell, server, far)
    assert caught.value.facts["cause"] == "zone"
    cell.conf.set_override("max_disk_devices_to_attach", 1, "compute")
    with pytest.raises(errors.PermissionDenied) as refused:
        attach(cell, server, edges.volumes.add())
    assert refused.value.reason == "TOO_MANY_DISKS"


def test_a_volume_is_attached_once(cell: Conductor, edges: Edges):
    """The reservation decides between two servers, and the second is told so."""
    first, second = cell.boot(), cell.boot(new_build("host2"))
    volume = edges.volumes.add()
    attach(cell, first, volume)
    with pytest.raises(errors.InvalidArgument) as caught:
        attach(cell, first, volume)
    assert caught.value.facts["cause"] == "attached"
    wait_in_use(cell, edges, first, volume)
    # As if it had still been free when it was looked at.
    edges.volumes.volumes[volume.id] = edges.volumes.add(status="available", id=volume.id)
    with pytest.raises(errors.InvalidArgument) as caught:
        attach(cell, second, volume)
    assert (caught.value.reason, caught.value.facts["cause"]) == ("VOLUME_UNUSABLE", "refused")
    assert not cell.get(second.id).block_devices


@pytest.mark.parametrize("state", ["SUSPENDED", "RESCUED", "ERROR", "BUILDING"])
def test_the_wrong_state(cell: Conductor, edges: Edges, state):
    server, volume = cell.boot(), edges.volumes.add()
    change(cell, server.id, vm_state=VmState.Value(f"VM_STATE_{state}"))
    with pytest.raises(errors.FailedPrecondition) as caught:
        attach(cell, server, volume)
    assert (caught.value.reason, caught.value.facts["action"]) == ("SERVER_STATE", "attach_volume")


def test_shelved_servers(cell: Conductor, edges: Edges):
    """One on no host has the volume in use; it is connected where the server goes."""
    server, volume = cell.boot(), edges.volumes.add()
    change(cell, server.id, vm_state=VmState.VM_STATE_SHELVED_OFFLOADED, host="", node="")
    with pytest.raises(errors.FailedPrecondition) as caught:
        attach(cell, server, volume, allow_shelved=False)
    assert caught.value.reason == "SERVER_STATE"
    with pytest.raises(errors.InvalidArgument) as refused:
        attach(cell, server, volume, tag="data")
    assert refused.value.reason == "TAG_UNSUPPORTED"
    attach(cell, server, volume)
    cell.settled(server.id)
    (device,) = cell.get(server.id).block_devices
    assert edges.volumes.attachments[device.attachment_id] == (volume.id, server.id)
    assert edges.volumes.connected == {}
    assert edges.volumes.status(volume.id) == "in-use"
    detach(cell, server, volume)
    cell.wait(server.id, lambda s: not s.block_devices)
    assert edges.volumes.attachments == {}


@pytest.mark.parametrize("method", ["AttachGuestVolume", "after AttachGuestVolume"])
def test_a_guest_that_takes_no_disk(cell: Conductor, edges: Edges, method):
    server, volume = cell.boot(), edges.volumes.add()
    edges.guests.fail(method, REFUSED)
    with as_user(request_id="req-bad"):
        attach(cell, server, volume)
    cell.settled(server.id)
    after = cell.get(server.id)
    assert not after.block_devices
    assert after.fault.message == "No slot is free."
    assert after.vm_state == VmState.VM_STATE_ACTIVE
    assert edges.volumes.status(volume.id) == "available"
    assert edges.devices.volumes[server.id] == {}
    assert events(cell, server.id, "req-bad")[1] == "Error"


def test_a_guest_that_holds_on_to_its_disk(cell: Conductor, edges: Edges):
    server, volume = cell.boot(), edges.volumes.add()
    attach(cell, server, volume)
    before = wait_in_use(cell, edges, server, volume)
    holds = errors.FailedPrecondition("The guest does not let go.", reason="DEVICE_DETACH_FAILED")
    edges.guests.fail("DetachGuestVolume", holds)
    with as_user(request_id="req-holds"):
        detach(cell, server, volume)
    cell.settled(server.id)
    after = cell.get(server.id)
    assert after.block_devices == before.block_devices
    assert after.fault.message == "The guest does not let go."
    assert edges.volumes.status(volume.id) == "in-use"
    assert events(cell, server.id, "req-holds")[1] == "Error"
    detach(cell, server, volume)
    cell.wait(server.id, lambda s: not s.block_devices)


def test_a_host_that_is_down(cell: Conductor, edges: Edges):
    server, volume = cell.boot(), edges.volumes.add()
    attach(cell, server, volume)
    wait_in_use(cell, edges, server, volume)
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    with pytest.raises(errors.FailedPrecondition) as caught:
        detach(cell, server, volume)
    assert caught.value.reason == "HOST_NOT_READY"
    other = edges.volumes.add()
    attach(cell, server, other)
    cell.settled(server.id)
    assert volumes(cell.get(server.id)) == {volume.id: "/dev/vdb"}
    assert edges.volumes.status(other.id) == "available"


def test_a_delete_in_the_middle(cell: Conductor, edges: Edges):
    """Nothing is left, and a volume that was not attached yet is not deleted."""
    server, volume = cell.boot(), edges.volumes.add()
    gate = edges.guests.gate("AttachGuestVolume")
    attach(cell, server, volume, delete_on_termination=True)
    unblocked(gate.reached)
    delete(cell, server.id)
    gate.open.set()
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    assert edges.volumes.status(volume.id) == "available"


def test_volumes_go_with_their_server_if_they_are_to(cell: Conductor, edges: Edges):
    server, goes, stays = cell.boot(), edges.volumes.add(), edges.volumes.add()
    attach(cell, server, goes)
    attach(cell, server, stays, delete_on_termination=True)
    cell.settled(server.id)
    for volume, flag in ((goes, True), (stays, False)):
        cell.devices.UpdateVolumeAttachment(
            pb.UpdateVolumeAttachmentRequest(
                server_id=server.id, volume_id=volume.id, delete_on_termination=flag
            )
        )
    with pytest.raises(errors.NotFound):
        cell.devices.UpdateVolumeAttachment(
            pb.UpdateVolumeAttachmentRequest(server_id=server.id, volume_id="nothing")
        )
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert list(edges.volumes.volumes) == [stays.id]


def swap(cell: Conductor, server: Server, old: Volume, new: Volume) -> None:
    request = pb.SwapVolumeRequest(server_id=server.id, volume_id=old.id, new_volume_id=new.id)
    with by_somebody():
        cell.devices.SwapVolume(request)


def moving(cell: Conductor, edges: Edges) -> tuple[Server, Volume, Volume]:
    server, old = cell.boot(), edges.volumes.add(1, migration_status="migrating")
    attach(cell, server, old)
    wait_in_use(cell, edges, server, old)
    return server, old, edges.volumes.add(2)


def test_swap(cell: Conductor, edges: Edges):
    server, old, new = moving(cell, edges)
    swap(cell, server, old, new)
    cell.settled(server.id)
    (device,) = cell.get(server.id).block_devices
    # The volume service gives what goes on the id it had.
    assert (device.volume_id, device.device_name) == (old.id, "/dev/vdb")
    assert edges.volumes.migrations == [(old.id, new.id, False)]
    assert edges.volumes.attachments == {device.attachment_id: (old.id, server.id)}
    assert edges.devices.volumes[server.id] == {old.id: "/dev/vdb"}
    assert edges.devices.attachments[server.id] == {old.id: device.attachment_id}
    detach(cell, cell.get(server.id), old)
    cell.settled(server.id)
    assert not cell.get(server.id).block_devices
    assert not edges.devices.volumes[server.id]


def test_a_swap_that_fails(cell: Conductor, edges: Edges):
    server, old, new = moving(cell, edges)
    before = cell.get(server.id)
    failed = errors.FailedPrecondition("The copy broke off.", reason="VOLUME_SWAP_FAILED")
    edges.guests.fail("SwapGuestVolume", failed)
    swap(cell, server, old, new)
    cell.settled(server.id)
    after = cell.get(server.id)
    assert after.block_devices == before.block_devices
    assert after.fault.message == "The copy broke off."
    assert edges.volumes.migrations == [(old.id, new.id, True)]
    assert edges.volumes.status(new.id) == "available"
    assert edges.devices.volumes[server.id] == {old.id: "/dev/vdb"}


def test_swaps_that_are_refused(cell: Conductor, edges: Edges):
    server, old, new = moving(cell, edges)
    cases = [
        (old, old, "VOLUME_UNUSABLE"),
        (new, old, "ATTACHMENT_NOT_FOUND"),
        (old, edges.volumes.add(project_id="other"), "VOLUME_NOT_FOUND"),
    ]
    for left, right, reason in cases:
        with as_user(), pytest.raises(errors.Error) as caught:
            swap(cell, server, left, right)
        assert caught.value.reason == reason
    edges.volumes.volumes[old.id] = edges.volumes.add(id=old.id, migration_status="")
    with pytest.raises(errors.FailedPrecondition) as refused:
        swap(cell, server, old, new)
    assert refused.value.reason == "VOLUME_NOT_MIGRATING"
