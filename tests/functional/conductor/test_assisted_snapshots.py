"""Snapshots that the volume service makes with our help: what the guest does, and what the service is told."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import STOPPED, change
from tests.functional.conductor.test_volumes import attach
from tests.support.conductor import Conductor, Edges, as_user


@pytest.fixture
def held(cell: Conductor, edges: Edges) -> Server:
    server = cell.boot()
    attach(cell, server, edges.volumes.add())
    cell.settled(server.id)
    return cell.get(server.id)


def asked(server: Server, **fields) -> dict[str, str]:
    volume = server.block_devices[-1].volume_id
    return {"server_id": server.id, "volume_id": volume, "snapshot_id": "snapshot", **fields}


def test_a_snapshot_and_its_end(cell: Conductor, edges: Edges, held: Server):
    volume = held.block_devices[-1].volume_id
    with as_user(request_id="req-take"):
        cell.devices.SnapshotVolume(pb.SnapshotVolumeRequest(**asked(held, new_file="top")))
    cell.settled(held.id)
    assert edges.devices.files == {volume: "top"}
    assert edges.volumes.told == {"snapshot": "creating"}
    assert cell.get(held.id).block_devices[-1].connection["data"]["device_path"] == "top"
    cell.devices.MergeVolume(
        pb.MergeVolumeRequest(**asked(held, file_to_merge="top", merge_target_file="low"))
    )
    cell.settled(held.id)
    assert edges.devices.merged == {volume: ("top", "low")}
    assert edges.volumes.told == {"snapshot": "deleting"}
    assert cell.get(held.id).block_devices[-1].connection["data"]["device_path"] == "top"


@pytest.mark.parametrize(
    ("method", "step", "told"), [("Snapshot", "Snapshot", "error"), ("Merge", "Merge", "error_deleting")]
)
def test_the_service_is_told_of_a_failure(cell: Conductor, edges: Edges, held: Server, method, step, told):
    refusal = errors.FailedPrecondition("Not this one.", reason="VOLUME_UNACCEPTABLE")
    edges.guests.fail(f"{step}GuestVolume", refusal)
    request = getattr(pb, f"{method}VolumeRequest")(**asked(held))
    getattr(cell.devices, f"{method}Volume")(request)
    for operation in cell.engine.list(subject=held.id):
        cell.engine.wait(operation.id, 20)
    assert edges.volumes.told == {"snapshot": told}
    assert cell.get(held.id).vm_state == held.vm_state


def test_what_is_not_possible_is_refused(cell: Conductor, edges: Edges, held: Server):
    other = asked(held, new_file="top") | {"volume_id": "another"}
    with pytest.raises(errors.NotFound) as raised:
        cell.devices.SnapshotVolume(pb.SnapshotVolumeRequest(**other))
    assert raised.value.reason == "ATTACHMENT_NOT_FOUND"
    change(cell, held.id, vm_state=STOPPED)
    for method, request in (
        (cell.devices.SnapshotVolume, pb.SnapshotVolumeRequest(**asked(held, new_file="top"))),
        (cell.devices.MergeVolume, pb.MergeVolumeRequest(**asked(held))),
    ):
        with pytest.raises(errors.FailedPrecondition) as refused:
            method(request)
        assert refused.value.reason == "SERVER_STATE"
    assert edges.volumes.told == {}
