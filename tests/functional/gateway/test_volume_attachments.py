"""Volumes attached to servers, over REST, by version."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.runtime import errors

VOLUME = "aaaaaaaa-0000-0000-0000-000000000001"
OTHER = "aaaaaaaa-0000-0000-0000-000000000002"
ATTACHMENT = "bbbbbbbb-0000-0000-0000-000000000001"
BDM = "cccccccc-0000-0000-0000-000000000001"


@pytest.fixture
def server(cloud):
    server = cloud.put_server()
    server.block_devices.extend(
        [
            BlockDevice(id="local", source=1, destination=1),
            BlockDevice(
                id=BDM,
                source=2,
                destination=2,
                volume_id=VOLUME,
                device_name="/dev/vdb",
                tag="data",
                attachment_id=ATTACHMENT,
                delete_on_termination=True,
            ),
            BlockDevice(id="coming", source=2, destination=2, volume_id=OTHER),
        ]
    )
    return server


def path(server, volume=""):
    return f"/servers/{server.id}/os-volume_attachments" + (f"/{volume}" if volume else "")


OLD = {"id": VOLUME, "volumeId": VOLUME, "device": "/dev/vdb"}
NEW = {"volumeId": VOLUME, "device": "/dev/vdb", "tag": "data", "delete_on_termination": True}


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("2.1", OLD),
        ("2.70", {**OLD, "tag": "data"}),
        ("2.79", {**OLD, "tag": "data", "delete_on_termination": True}),
        ("2.89", {**NEW, "attachment_id": ATTACHMENT, "bdm_uuid": BDM}),
    ],
)
def test_show(cloud, server, version, shown):
    answer = cloud.get(path(server, VOLUME), version=version)
    assert answer.json == {"volumeAttachment": {**shown, "serverId": server.id}}
    assert cloud.get(path(server, "nothing"), version=version).status_code == 404


def test_list(cloud, server):
    listed = cloud.get(path(server)).json["volumeAttachments"]
    assert [(one["volumeId"], one["device"]) for one in listed] == [(VOLUME, "/dev/vdb"), (OTHER, None)]
    assert cloud.get(path(server) + "?limit=1&offset=1").json["volumeAttachments"] == listed[1:]
    assert cloud.get(path(server) + "?limit=0").json["volumeAttachments"] == []
    assert cloud.get(path(server) + "?limit=-1").status_code == 400
    # What is not attached yet has no id of its own.
    (one,) = cloud.get(path(server), version="2.89").json["volumeAttachments"]
    assert one["volumeId"] == VOLUME
    assert cloud.get(path(server, OTHER), version="2.89").status_code == 404
    assert cloud.get(path(server) + "?colour=red", version="2.74").status_code == 200
    assert cloud.get(path(server) + "?colour=red", version="2.75").status_code == 400


def attach(cloud, server, version, **body):
    body = {"volumeAttachment": {"volumeId": OTHER, **body}}
    return cloud.call("POST", path(server), body, version=version)


def test_attach(cloud, server):
    answer = attach(cloud, server, "2.1", device="/dev/vdc")
    assert answer.json["volumeAttachment"] == {
        "id": OTHER,
        "volumeId": OTHER,
        "serverId": server.id,
        "device": "/dev/vdc",
    }
    asked = cloud.devices.requests[-1]
    assert not asked.allow_shelved
    assert not asked.allow_multiattach
    answer = attach(cloud, server, "2.79", tag="more", delete_on_termination=True, device=None)
    assert answer.json["volumeAttachment"]["delete_on_termination"] is True
    asked = cloud.devices.requests[-1]
    assert (asked.tag, asked.delete_on_termination, asked.device_name) == ("more", True, "")
    assert asked.allow_shelved
    assert asked.allow_multiattach
    answer = attach(cloud, server, "2.101")
    assert (answer.status_code, answer.data) == (202, b"")


@pytest.mark.parametrize(
    ("version", "body", "word"),
    [
        ("2.1", {"tag": "a"}, "tag"),
        ("2.49", {"delete_on_termination": True}, "delete_on_termination"),
        ("2.49", {"tag": "a/b"}, "tag"),
        ("2.1", {"device": "vda"}, "device"),
        ("2.1", {"volumeId": "x"}, "volumeId"),
    ],
)
def test_bodies_that_are_refused(cloud, server, version, body, word):
    answer = attach(cloud, server, version, **body)
    assert answer.status_code == 400
    assert word in answer.json["badRequest"]["message"]
    assert cloud.devices.requests == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("No volume.", "VOLUME_NOT_FOUND"), 404),
        (errors.InvalidArgument("In use.", "VOLUME_UNUSABLE"), 400),
        (errors.InvalidArgument("No name.", "DEVICE_NAME_INVALID"), 400),
        (errors.FailedPrecondition("Taken.", "DEVICE_NAME_IN_USE"), 409),
        (errors.PermissionDenied("Too many.", "TOO_MANY_DISKS"), 403),
        (errors.InvalidArgument("No tag.", "TAG_UNSUPPORTED"), 400),
        (errors.FailedPrecondition("Locked.", "SERVER_LOCKED"), 409),
    ],
)
def test_faults(cloud, server, error, code):
    cloud.devices.refuse["AttachVolume"] = error
    assert attach(cloud, server, "2.60").status_code == code


def test_detach(cloud, server):
    assert cloud.call("DELETE", path(server, VOLUME), version="2.20").status_code == 202
    assert cloud.devices.requests[-1].allow_shelved
    assert cloud.call("DELETE", path(server, VOLUME), token="reader").status_code == 403
    for error, code in (
        (errors.NotFound("Not attached.", "ATTACHMENT_NOT_FOUND"), 404),
        (errors.InvalidArgument("Root.", "VOLUME_IS_ROOT"), 400),
        (errors.FailedPrecondition("Down.", "HOST_NOT_READY"), 409),
    ):
        cloud.devices.refuse["DetachVolume"] = error
        assert cloud.call("DELETE", path(server, VOLUME)).status_code == code


def change(cloud, server, version, token="member", **body):
    body = {"volumeAttachment": {"volumeId": VOLUME, **body}}
    return cloud.call("PUT", path(server, VOLUME), body, version=version, token=token)


def test_change(cloud, server):
    assert change(cloud, server, "2.85", delete_on_termination=False).status_code == 202
    assert not server.block_devices[1].delete_on_termination
    same = {"id": VOLUME, "serverId": server.id, "device": "/dev/vdb", "tag": "data"}
    assert change(cloud, server, "2.85", **same).status_code == 202
    assert change(cloud, server, "2.89", id=ATTACHMENT).status_code == 202
    for name, value in (("id", OTHER), ("serverId", OTHER), ("device", "/dev/vdz"), ("tag", "none")):
        answer = change(cloud, server, "2.85", **{name: value})
        assert (answer.status_code, name in answer.json["badRequest"]["message"]) == (400, True)


def test_swap(cloud, server):
    """For services; before 2.85 every change is one."""
    assert change(cloud, server, "2.85", volumeId=OTHER).status_code == 403
    assert change(cloud, server, "2.1").status_code == 403
    assert change(cloud, server, "2.1", token="admin", volumeId=OTHER).status_code == 202
    assert cloud.devices.requests[-1].new_volume_id == OTHER
    assert change(cloud, server, "2.84", token="admin", delete_on_termination=True).status_code == 400
    cloud.devices.refuse["SwapVolume"] = errors.FailedPrecondition("At rest.", "VOLUME_NOT_MIGRATING")
    assert change(cloud, server, "2.85", token="admin", volumeId=OTHER).status_code == 409
    cloud.devices.refuse["SwapVolume"] = errors.InvalidArgument("None.", "VOLUME_NOT_FOUND")
    assert change(cloud, server, "2.85", token="admin", volumeId=OTHER).status_code == 400


def test_a_cell_that_is_silent(cloud):
    server = cloud.put_server(partial=True, cell_id="away")
    assert cloud.get(path(server), version="2.69").status_code == 503
