"""Moves of servers and their migrations over REST: bodies by version, who may, what is asked, what is shown."""

from __future__ import annotations

import pytest

from protonova.common.v1 import flavor_pb2
from protonova.common.v1 import migration_pb2 as pb
from protonova.services.runtime import errors
from tests.support.identity import OTHER_PROJECT, PROJECT

LIVE = pb.MIGRATION_TYPE_LIVE_MIGRATION
RUNNING = pb.MIGRATION_STATUS_RUNNING


@pytest.fixture
def server(cloud):
    return cloud.put_server()


def act(cloud, server, body, token="admin", **rest):
    return cloud.call("POST", f"/servers/{server.id}/action", body, token=token, **rest)


def asked(cloud):
    return cloud.migrations.requests[-1]


def test_resize(cloud, server):
    answer = act(cloud, server, {"resize": {"flavorRef": "http://x/flavors/2"}}, "member")
    assert (answer.status_code, answer.data) == (202, b"")
    assert (asked(cloud).server_id, asked(cloud).flavor_id) == (server.id, "2")
    assert not asked(cloud).HasField("auto_disk_config")
    act(cloud, server, {"resize": {"flavorRef": 3, "OS-DCF:diskConfig": "AUTO"}}, "member")
    assert (asked(cloud).flavor_id, asked(cloud).auto_disk_config) == ("3", True)
    for body in (
        {},
        {"flavorRef": ""},
        {"flavorRef": "2", "more": 1},
        {"flavorRef": "2", "OS-DCF:diskConfig": "x"},
    ):
        assert act(cloud, server, {"resize": body}).status_code == 400
    assert act(cloud, server, {"resize": {"flavorRef": "2"}}, "reader").status_code == 403
    assert act(cloud, server, {"resize": {"flavorRef": "2"}}, "other").status_code == 404


@pytest.mark.parametrize(
    ("error", "code", "element"),
    [
        (errors.InvalidArgument("Change it.", "FLAVOR_UNCHANGED"), 400, "badRequest"),
        (errors.InvalidArgument("Too small.", "FLAVOR_TOO_SMALL"), 400, "badRequest"),
        (errors.InvalidArgument("Which?", "FLAVOR_NOT_FOUND"), 400, "badRequest"),
        (errors.QuotaExceeded("Too much.", "QUOTA_EXCEEDED"), 403, "forbidden"),
        (errors.FailedPrecondition("Down.", "HOST_NOT_READY"), 409, "conflictingRequest"),
        (errors.FailedPrecondition("Locked.", "SERVER_LOCKED"), 409, "conflictingRequest"),
    ],
)
def test_refusals_of_a_resize(cloud, server, error, code, element):
    cloud.migrations.refuse["ResizeServer"] = error
    answer = act(cloud, server, {"resize": {"flavorRef": "2"}}, "member")
    assert answer.status_code == code
    assert answer.json[element]["message"] == error.message


def test_both_ends(cloud, server):
    assert act(cloud, server, {"confirmResize": None}, "member").status_code == 204
    assert act(cloud, server, {"revertResize": None}, "member").status_code == 202
    for action, method in (("confirmResize", "ConfirmResize"), ("revertResize", "RevertResize")):
        cloud.migrations.refuse[method] = errors.NotFound("None.", "MIGRATION_NOT_FOUND")
        answer = act(cloud, server, {action: None}, "member")
        assert answer.json["badRequest"]["message"] == "None."


def test_migrate(cloud, server):
    assert act(cloud, server, {"migrate": "anything"}, "manager").status_code == 202
    assert asked(cloud).host == ""
    # What was taken and did not count does not count later.
    assert act(cloud, server, {"migrate": {"host": "h2"}}, "manager").status_code == 202
    assert asked(cloud).host == ""
    assert act(cloud, server, {"migrate": "anything"}, version="2.56").status_code == 400
    for body in (None, {}, {"host": None}):
        assert act(cloud, server, {"migrate": body}, "manager", version="2.56").status_code == 202
        assert asked(cloud).host == ""
    named = {"migrate": {"host": "h2"}}
    assert act(cloud, server, named, "manager", version="2.56").status_code == 403
    assert act(cloud, server, named, version="2.56").status_code == 202
    assert asked(cloud).host == "h2"
    assert act(cloud, server, {"migrate": {"host": "a b"}}, version="2.56").status_code == 400
    assert act(cloud, server, {"migrate": None}, "member", version="2.56").status_code == 403
    for reason in ("HOST_NOT_FOUND", "HOST_UNCHANGED", "HOST_IN_OTHER_CELL"):
        cloud.migrations.refuse["MigrateServer"] = errors.InvalidArgument("No.", reason)
        assert act(cloud, server, named, version="2.56").status_code == 400


def test_who_may_leave_the_cell(cloud, server):
    """Nobody, unless the operator says otherwise."""
    for body in ({"migrate": None}, {"resize": {"flavorRef": "2"}}):
        assert act(cloud, server, body).status_code == 202
        assert not asked(cloud).may_leave_cell


OLD_LIVE = {"host": "h2", "block_migration": False, "disk_over_commit": "True"}


@pytest.mark.parametrize(
    ("version", "body", "code"),
    [
        ("2.1", OLD_LIVE, 202),
        ("2.24", OLD_LIVE, 202),
        ("2.25", OLD_LIVE, 400),
        ("2.24", {"host": None, "block_migration": "auto", "disk_over_commit": False}, 400),
        ("2.1", {"host": None, "block_migration": True}, 400),
        ("2.25", {"host": None, "block_migration": "auto"}, 202),
        ("2.25", {"block_migration": "auto"}, 400),
        ("2.25", {"host": None, "block_migration": "auto", "force": True}, 400),
        ("2.30", {"host": "h2", "block_migration": "auto", "force": True}, 202),
        ("2.30", {"host": None, "block_migration": "auto", "force": True}, 400),
        ("2.30", {"host": None, "block_migration": "auto", "force": False}, 202),
        ("2.67", {"host": "h2", "block_migration": "auto", "force": "yes"}, 202),
        ("2.68", {"host": "h2", "block_migration": "auto", "force": False}, 400),
    ],
)
def test_live_migration_by_version(cloud, server, version, body, code):
    assert act(cloud, server, {"os-migrateLive": body}, version=version).status_code == code


def test_what_is_asked_of_a_live_migration(cloud, server):
    act(cloud, server, {"os-migrateLive": OLD_LIVE})
    first = asked(cloud)
    assert (first.host, first.force, first.check_first, first.disk_over_commit) == ("h2", True, True, True)
    assert first.block_migration == pb.BLOCK_MIGRATION_SHARED
    act(cloud, server, {"os-migrateLive": {"host": "h2", "block_migration": "yes"}}, version="2.34")
    second = asked(cloud)
    assert (second.force, second.check_first) == (False, False)
    assert second.block_migration == pb.BLOCK_MIGRATION_COPY
    anywhere = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
    assert act(cloud, server, anywhere, "manager", version="2.34").status_code == 202
    assert asked(cloud).block_migration == pb.BLOCK_MIGRATION_UNSPECIFIED
    named = {"os-migrateLive": {"host": "h2", "block_migration": "auto"}}
    assert act(cloud, server, named, "manager", version="2.34").status_code == 403
    assert act(cloud, server, anywhere, "member", version="2.34").status_code == 403
    cloud.migrations.refuse["LiveMigrateServer"] = errors.FailedPrecondition("No.", "MIGRATION_CHECK_FAILED")
    assert act(cloud, server, {"os-migrateLive": OLD_LIVE}).status_code == 400


def test_evacuate(cloud, server):
    answer = act(cloud, server, {"evacuate": {"host": "h2", "onSharedStorage": "False"}})
    assert (answer.status_code, answer.json) == (200, {"adminPass": "generated"})
    assert (asked(cloud).host, asked(cloud).force, asked(cloud).stop) == ("h2", True, False)
    assert (asked(cloud).HasField("on_shared_storage"), asked(cloud).on_shared_storage) == (True, False)
    assert act(cloud, server, {"evacuate": {"onSharedStorage": True}}).json == {"adminPass": None}
    assert act(cloud, server, {"evacuate": {}}).status_code == 400
    both = {"evacuate": {"onSharedStorage": True, "adminPass": "x"}}
    assert act(cloud, server, both).status_code == 400
    answer = act(cloud, server, {"evacuate": {"adminPass": "x"}}, version="2.14")
    assert (answer.status_code, answer.data) == (200, b"")
    assert (asked(cloud).admin_password, asked(cloud).HasField("on_shared_storage")) == ("x", False)
    assert act(cloud, server, {"evacuate": {"onSharedStorage": True}}, version="2.14").status_code == 400
    assert act(cloud, server, {"evacuate": {"host": "h2", "force": True}}, version="2.28").status_code == 400
    act(cloud, server, {"evacuate": {"host": "h2"}}, version="2.29")
    assert asked(cloud).force is False
    act(cloud, server, {"evacuate": {"host": "h2", "force": True}}, version="2.29")
    assert asked(cloud).force is True
    assert act(cloud, server, {"evacuate": {"force": True}}, version="2.29").status_code == 400
    assert act(cloud, server, {"evacuate": {"host": "h2", "force": True}}, version="2.68").status_code == 400
    act(cloud, server, {"evacuate": {}}, version="2.95")
    assert asked(cloud).stop is True
    assert act(cloud, server, {"evacuate": {}}, "manager", version="2.95").status_code == 403
    cloud.migrations.refuse["EvacuateServer"] = errors.FailedPrecondition("It is up.", "HOST_IS_UP")
    assert act(cloud, server, {"evacuate": {}}, version="2.95").status_code == 400
    cloud.migrations.refuse["EvacuateServer"] = errors.NotFound("Which?", "HOST_NOT_FOUND")
    assert act(cloud, server, {"evacuate": {"host": "x"}}, version="2.95").status_code == 404


# ---- migrations


def test_a_migration_by_version(cloud, server):
    migration = cloud.migrations.put(server, new_flavor=flavor_pb2.Flavor(number=7))
    (first,) = cloud.get("/os-migrations", token="admin").json["migrations"]
    assert first == {
        "id": 1,
        "instance_uuid": server.id,
        "status": "finished",
        "source_compute": "h1",
        "source_node": "n1",
        "dest_compute": "h2",
        "dest_node": "n2",
        "dest_host": "10.0.0.2",
        "old_instance_type_id": None,
        "new_instance_type_id": 7,
        "created_at": "2023-11-14T22:13:21.000000",
        "updated_at": "2023-11-14T22:13:21.000005",
    }
    added = {
        "2.23": {"migration_type": "resize"},
        "2.59": {"uuid": migration.id},
        "2.80": {"project_id": PROJECT, "user_id": server.user_id},
    }
    for version, more in added.items():
        first |= more
        answer = cloud.get("/os-migrations", token="admin", version=version).json
        assert answer == {"migrations": [first]}


def test_links_lead_to_what_is_in_progress(cloud, server):
    cloud.migrations.put(server, type=LIVE, status=pb.MIGRATION_STATUS_COMPLETED)
    cloud.migrations.put(server, type=LIVE, status=RUNNING)
    running, completed = cloud.get("/os-migrations", token="admin", version="2.23").json["migrations"]
    assert "links" not in completed
    assert running["links"][0]["href"].endswith(f"/v2.1/servers/{server.id}/migrations/2")
    assert "links" not in cloud.get("/os-migrations", token="admin", version="2.22").json["migrations"][0]


def test_pages(cloud, server):
    for _ in range(3):
        cloud.migrations.put(server)
    answer = cloud.get("/os-migrations?limit=2", token="admin", version="2.59").json
    assert [each["id"] for each in answer["migrations"]] == [3, 2]
    marker = answer["migrations_links"][0]["href"].partition("?")[2]
    answer = cloud.get(f"/os-migrations?{marker}", token="admin", version="2.59").json
    assert [each["id"] for each in answer["migrations"]] == [1]
    assert cloud.get("/os-migrations?marker=x", token="admin", version="2.59").status_code == 400
    # Before there were pages nothing of this counts.
    answer = cloud.get("/os-migrations?limit=2", token="admin", version="2.58").json
    assert len(answer["migrations"]) == 3


def test_filters(cloud, server):
    query = "host=h&instance_uuid=i&source_compute=s&status=done&migration_type=evacuation&hidden=1"
    query += "&changes-since=2026-01-01T00:00:00Z&changes-before=2026-01-02T00:00:00Z&user_id=u&project_id=p"
    assert cloud.get(f"/os-migrations?{query}", token="admin", version="2.80").status_code == 200
    wanted = asked(cloud).filter
    assert (wanted.host, wanted.server_id, wanted.source_host) == ("h", "i", "s")
    assert (wanted.status, wanted.type, wanted.user_id, wanted.project_id) == ("done", "evacuation", "u", "p")
    assert wanted.changed_before.seconds - wanted.changed_since.seconds == 86400
    late = "/os-migrations?changes-since=2026-01-02T00:00:00Z&changes-before=2026-01-01T00:00:00Z"
    assert cloud.get(late, token="admin", version="2.66").status_code == 400
    for query, version in (
        ("user_id=u", "2.79"),
        ("changes-before=2026-01-01", "2.65"),
        ("color=red", "2.59"),
    ):
        assert cloud.get(f"/os-migrations?{query}", token="admin", version=version).status_code == 400
    assert cloud.get("/os-migrations?color=red", token="admin", version="2.58").status_code == 200


def test_who_sees_migrations(cloud, server):
    cloud.migrations.put(server)
    assert cloud.get("/os-migrations", token="member").status_code == 403
    assert cloud.get("/os-migrations", token="manager", version="2.80").status_code == 403
    other = cloud.get(f"/os-migrations?project_id={OTHER_PROJECT}", token="manager", version="2.80")
    assert other.status_code == 403
    (own,) = cloud.get(f"/os-migrations?project_id={PROJECT}", token="manager", version="2.80").json[
        "migrations"
    ]
    hosts = ("source_compute", "source_node", "dest_compute", "dest_node", "dest_host")
    assert [own[name] for name in hosts] == [None] * 5


def test_of_a_server(cloud, server):
    progress = pb.MigrationProgress(
        memory_total_bytes=100, memory_processed_bytes=40, memory_remaining_bytes=60
    )
    migration = cloud.migrations.put(server, type=LIVE, status=RUNNING, progress=progress)
    path = f"/servers/{server.id}/migrations"
    assert cloud.get(path, token="admin", version="2.22").status_code == 404
    (shown,) = cloud.get(path, token="admin", version="2.23").json["migrations"]
    assert shown["server_uuid"] == server.id
    assert [shown[f"memory_{each}_bytes"] for each in ("total", "processed", "remaining")] == [100, 40, 60]
    assert [shown[f"disk_{each}_bytes"] for each in ("total", "processed", "remaining")] == [None] * 3
    assert shown["source_compute"] == "h1"
    assert asked(cloud).filter.live_in_progress
    assert cloud.get(path, token="manager", version="2.23").json["migrations"][0]["source_compute"] is None
    one = cloud.get(f"{path}/1", token="admin", version="2.80").json["migration"]
    assert (one["uuid"], one["project_id"]) == (migration.id, PROJECT)
    for missing in ("2", "x"):
        assert cloud.get(f"{path}/{missing}", token="admin", version="2.80").status_code == 404
    migration.status = pb.MIGRATION_STATUS_COMPLETED
    assert cloud.get(f"{path}/1", token="admin", version="2.80").status_code == 404
    assert cloud.get("/servers/no/migrations", token="admin", version="2.80").status_code == 404


def test_abort_and_force(cloud, server):
    path = f"/servers/{server.id}/migrations/1"
    assert cloud.call("DELETE", path, token="manager", version="2.23").status_code == 404
    for version, early in (("2.24", False), ("2.65", True)):
        assert cloud.call("DELETE", path, token="manager", version=version).status_code == 202
        assert (asked(cloud).number, asked(cloud).before_it_runs) == (1, early)
    body = {"force_complete": None}
    action = f"{path}/action"
    assert cloud.call("POST", action, body, token="manager", version="2.21").status_code == 404
    assert cloud.call("POST", action, body, token="manager", version="2.22").status_code == 202
    assert (
        cloud.call("POST", action, {"force_complete": {}}, token="manager", version="2.22").status_code == 400
    )
    for method, send in (
        ("AbortMigration", lambda: cloud.call("DELETE", path, token="manager", version="2.24")),
        ("ForceCompleteMigration", lambda: cloud.call("POST", action, body, token="manager", version="2.22")),
    ):
        for error, code in (
            (errors.FailedPrecondition("Not running.", "MIGRATION_STATE"), 400),
            (errors.NotFound("Which?", "MIGRATION_NOT_FOUND"), 404),
            (errors.FailedPrecondition("Busy.", "SERVER_STATE"), 409),
        ):
            cloud.migrations.refuse[method] = error
            assert send().status_code == code
