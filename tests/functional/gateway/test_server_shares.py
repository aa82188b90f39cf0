"""Shares of servers, over REST."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import ServerShare
from protonova.services.runtime import errors

SHARE = "aaaaaaaa-0000-0000-0000-000000000001"
OTHER = "aaaaaaaa-0000-0000-0000-000000000002"
MAPPING = "bbbbbbbb-0000-0000-0000-000000000001"
SINCE = "2.97"
STATUSES = ("attaching", "inactive", "active", "detaching", "error")
TO_USERS = {"share_id": SHARE, "status": "active", "tag": "data"}
TO_ADMINS = {**TO_USERS, "uuid": MAPPING, "export_location": "192.0.2.9:/a"}


@pytest.fixture
def server(cloud):
    server = cloud.put_server()
    server.shares.append(
        ServerShare(
            id=MAPPING,
            share_id=SHARE,
            tag="data",
            status="SHARE_STATUS_ACTIVE",
            export_location="192.0.2.9:/a",
            protocol="NFS",
        )
    )
    return server


def path(server, share=""):
    return f"/servers/{server.id}/shares" + (f"/{share}" if share else "")


def test_they_come_with_their_version(cloud, server):
    for method, where, body in (
        ("GET", path(server), None),
        ("GET", path(server, SHARE), None),
        ("POST", path(server), {"share": {"share_id": OTHER}}),
        ("DELETE", path(server, SHARE), None),
    ):
        assert cloud.call(method, where, body, version="2.96").status_code == 404
        assert cloud.call(method, where, body, version="2.104").status_code in (200, 201)


def test_list_and_show(cloud, server):
    assert cloud.get(path(server), version=SINCE, token="member").json == {"shares": [TO_USERS]}
    assert cloud.get(path(server, SHARE), version=SINCE, token="reader").json == {"share": TO_USERS}
    assert cloud.get(path(server), version=SINCE, token="admin").json == {"shares": [TO_ADMINS]}
    assert cloud.get(path(server, SHARE), version=SINCE, token="admin").json == {"share": TO_ADMINS}
    assert cloud.get(path(server, OTHER), version=SINCE).status_code == 404
    assert cloud.get(path(server) + "?limit=1", version=SINCE).status_code == 400
    assert cloud.get(path(server, SHARE) + "?a=b", version=SINCE).status_code == 400


@pytest.mark.parametrize("status", STATUSES)
def test_statuses(cloud, server, status):
    server.shares[0].status = f"SHARE_STATUS_{status.upper()}"
    assert cloud.get(path(server, SHARE), version=SINCE).json["share"]["status"] == status


def test_attach(cloud, server):
    body = {"share": {"share_id": OTHER, "tag": "more"}}
    answer = cloud.call("POST", path(server), body, version=SINCE, token="member")
    assert answer.status_code == 201
    assert answer.json == {"share": {"share_id": OTHER, "status": "attaching", "tag": "more"}}
    answer = cloud.call("POST", path(server), {"share": {"share_id": OTHER}}, version=SINCE)
    assert answer.json["share"]["tag"] == OTHER
    assert cloud.devices.requests[-1].share_id == OTHER


@pytest.mark.parametrize(
    "share",
    [
        {},
        {"share_id": "no uuid"},
        {"share_id": None},
        {"share_id": OTHER, "tag": ""},
        {"share_id": OTHER, "tag": "a b"},
        {"share_id": OTHER, "tag": "x" * 256},
        {"share_id": OTHER, "more": 1},
    ],
)
def test_bad_bodies(cloud, server, share):
    assert cloud.call("POST", path(server), {"share": share}, version=SINCE).status_code == 400
    assert not cloud.devices.requests


def test_detach(cloud, server):
    answer = cloud.call("DELETE", path(server, SHARE), version=SINCE, token="member")
    assert (answer.status_code, answer.text) == (200, "")
    assert cloud.devices.requests[-1].share_id == SHARE


def test_who_may(cloud, server):
    body = {"share": {"share_id": OTHER}}
    assert cloud.call("POST", path(server), body, version=SINCE, token="reader").status_code == 403
    assert cloud.call("DELETE", path(server, SHARE), version=SINCE, token="reader").status_code == 403


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("No.", "SHARE_NOT_FOUND"), 404),
        (errors.FailedPrecondition("No.", "SHARE_UNUSABLE", cause="status"), 409),
        (errors.FailedPrecondition("No.", "SHARE_ATTACHED"), 409),
        (errors.InvalidArgument("No.", "SHARE_TAG_INVALID"), 400),
        (errors.PermissionDenied("No.", "SHARES_UNSUPPORTED"), 403),
    ],
)
def test_refusals(cloud, server, error, code):
    cloud.devices.refuse["AttachShare"] = error
    answer = cloud.call("POST", path(server), {"share": {"share_id": OTHER}}, version=SINCE)
    assert answer.status_code == code
    cloud.devices.refuse["DetachShare"] = errors.NotFound("No.", "SHARE_NOT_ATTACHED")
    assert cloud.call("DELETE", path(server, OTHER), version=SINCE).status_code == 404


@pytest.mark.parametrize(("kind", "code"), [(errors.FailedPrecondition, 409), (errors.InvalidArgument, 400)])
def test_actions_that_shares_stand_against(cloud, server, kind, code):
    cloud.servers.refuse["SuspendServer"] = kind("It has shares.", "SERVER_HAS_SHARES")
    answer = cloud.call("POST", f"/servers/{server.id}/action", {"suspend": None})
    assert answer.status_code == code
