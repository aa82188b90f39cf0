"""Snapshots that the volume service makes with our help."""

from __future__ import annotations

from urllib.parse import quote

import orjson
import pytest

from protonova.services.runtime import errors

ADMIN = {"token": "admin"}
PATH = "/os-assisted-volume-snapshots"
VOLUME = "00000000-0000-4000-8000-000000000001"
SNAPSHOT = "00000000-0000-4000-8000-000000000002"


def order(**changes):
    info = {"snapshot_id": SNAPSHOT, "type": "qcow2", "new_file": "volume-1.snap", **changes}
    return {"snapshot": {"volume_id": VOLUME, "create_info": info}}


def delete(cloud, info, version=None, **who):
    words = info if isinstance(info, str) else orjson.dumps(info).decode()
    return cloud.call(
        "DELETE", f"{PATH}/{SNAPSHOT}?delete_info={quote(words)}", version=version, **(who or ADMIN)
    )


@pytest.mark.parametrize("version", ["2.1", "2.104"])
def test_create(cloud, version):
    answer = cloud.call("POST", PATH, order(id=SNAPSHOT), version=version, **ADMIN)
    assert answer.json == {"snapshot": {"id": SNAPSHOT, "volumeId": VOLUME}}
    asked = cloud.devices.requests[-1]
    assert (asked.volume_id, asked.snapshot_id, asked.new_file) == (VOLUME, SNAPSHOT, "volume-1.snap")
    assert cloud.call("POST", PATH, order(), **ADMIN).json["snapshot"]["id"] is None
    assert cloud.call("POST", PATH, order()).status_code == 403


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"type": "raw"}, "type"), ({"new_file": ""}, "new_file"), ({"new_file": "../x"}, "new_file"),
        ({"new_file": "/etc/passwd"}, "new_file"), ({"snapshot_id": ""}, "snapshot_id"), ({"colour": 1}, "colour"),
    ],
)  # fmt: skip
def test_bad_orders(cloud, changes, named):
    answer = cloud.call("POST", PATH, order(**changes), **ADMIN)
    assert answer.status_code == 400
    assert named in answer.json["badRequest"]["message"]
    assert not cloud.devices.requests


def test_delete(cloud):
    info = {"volume_id": VOLUME, "file_to_merge": "top", "merge_target_file": None, "type": "qcow2"}
    assert delete(cloud, info).status_code == 204
    asked = cloud.devices.requests[-1]
    assert (asked.volume_id, asked.snapshot_id) == (VOLUME, SNAPSHOT)
    assert (asked.file_to_merge, asked.merge_target_file) == ("top", "")
    assert delete(cloud, info, token="member").status_code == 403
    for bad in (
        "{",
        "[]",
        "{}",
        {"volume_id": ""},
        {"volume_id": 5},
        {"volume_id": VOLUME, "file_to_merge": 5},
    ):
        refused = delete(cloud, bad)
        assert refused.status_code == 400
        assert "delete_info" in refused.json["badRequest"]["message"]
    assert cloud.call("DELETE", f"{PATH}/{SNAPSHOT}", **ADMIN).status_code == 400
    more = f"{PATH}/{SNAPSHOT}?delete_info={quote(orjson.dumps(info).decode())}&colour=blue"
    assert cloud.call("DELETE", more, version="2.74", **ADMIN).status_code == 204
    assert cloud.call("DELETE", more, version="2.75", **ADMIN).status_code == 400


@pytest.mark.parametrize(
    "refusal",
    [
        errors.FailedPrecondition("Not attached.", "VOLUME_NOT_ATTACHED"),
        errors.InvalidArgument("For several.", "VOLUME_UNUSABLE"),
        errors.NotFound("Not attached.", "ATTACHMENT_NOT_FOUND"),
        errors.FailedPrecondition("Off.", "SERVER_STATE"),
    ],
    ids=lambda error: error.reason,
)
def test_what_is_not_possible_is_a_bad_request(cloud, refusal):
    cloud.devices.refuse["SnapshotVolume"] = cloud.devices.refuse["MergeVolume"] = refusal
    assert cloud.call("POST", PATH, order(), **ADMIN).status_code == 400
    assert delete(cloud, {"volume_id": VOLUME}).status_code == 400
