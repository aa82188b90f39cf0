"""Actions, metadata, tags, addresses and the history of servers."""

from __future__ import annotations

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1 import server_action_pb2
from protonova.common.v1 import server_pb2 as pb
from protonova.services.runtime import errors
from tests.support.identity import PROJECT, USER


@pytest.fixture
def server(cloud):
    return cloud.put_server()


def act(cloud, server, body, **rest):
    return cloud.call("POST", f"/servers/{server.id}/action", body, **rest)


def test_start_stop_reboot(cloud, server):
    assert act(cloud, server, {"os-stop": None}).status_code == 202
    assert server.vm_state == pb.VM_STATE_STOPPED
    assert act(cloud, server, {"os-start": None}).status_code == 202
    assert server.vm_state == pb.VM_STATE_ACTIVE
    for spelled, hard in (("HARD", True), ("soft", False)):
        assert act(cloud, server, {"reboot": {"type": spelled}}).status_code == 202
        assert cloud.servers.requests[-1].hard == hard
    assert act(cloud, server, {"reboot": {"type": "sOFT"}}).status_code == 400
    assert act(cloud, server, {"reboot": {}}).status_code == 400
    assert act(cloud, server, {"os-stop": None}, token="reader").status_code == 403


def test_wrong_state(cloud):
    server = cloud.put_server(vm_state=pb.VM_STATE_STOPPED)
    answer = act(cloud, server, {"os-stop": None})
    assert answer.status_code == 409
    message = answer.json["conflictingRequest"]["message"]
    assert message == f"Cannot 'stop' instance {server.id} while it is in vm_state stopped"


def test_locked(cloud, server):
    cloud.servers.refuse["StopServer"] = errors.FailedPrecondition(
        f"Instance {server.id} is locked", "SERVER_LOCKED", server_id=server.id
    )
    answer = act(cloud, server, {"os-stop": None})
    assert answer.json["conflictingRequest"]["message"] == f"Instance {server.id} is locked"


def test_console_output(cloud, server):
    assert act(cloud, server, {"os-getConsoleOutput": {}}).json == {"output": "one\ntwo[0m\nthree"}
    assert act(cloud, server, {"os-getConsoleOutput": {"length": 1}}).json == {"output": "three"}
    assert act(cloud, server, {"os-getConsoleOutput": {"length": "2"}}).status_code == 200
    assert act(cloud, server, {"os-getConsoleOutput": {"length": -1}}).json["output"].startswith("one")
    assert act(cloud, server, {"os-getConsoleOutput": {"length": None}}).status_code == 200
    assert act(cloud, server, {"os-getConsoleOutput": {"length": -2}}).status_code == 400
    assert act(cloud, server, {"os-getConsoleOutput": {"length": "x"}}).status_code == 400


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ({"os-stop": None, "os-start": None}, 400),
        ({"os-fly": None}, 400),
        ([], 404),
        (5, 404),
        # Not before 2.17.
        ({"trigger_crash_dump": None}, 404),
        ({"resetNetwork": None}, 410),
    ],
)
def test_action_bodies(cloud, server, body, code):
    answer = act(cloud, server, body)
    assert answer.status_code == code


def test_actions_have_windows(cloud, server):
    assert act(cloud, server, {"os-getVNCConsole": {}}, version="2.6").status_code == 404
    assert act(cloud, server, {"trigger_crash_dump": None}, version="2.17").status_code == 202


def test_lock_and_unlock(cloud, server):
    assert act(cloud, server, {"lock": None}).status_code == 202
    assert server.locked_by == pb.LOCK_HOLDER_OWNER
    assert act(cloud, server, {"unlock": None}).status_code == 202
    assert not server.locked_by
    reason = {"lock": {"locked_reason": "mine"}}
    assert act(cloud, server, reason, version="2.73").status_code == 202
    assert server.locked_reason == "mine"
    assert act(cloud, server, {"lock": {"why": "x"}}, version="2.73").status_code == 400
    server.locked_by = pb.LOCK_HOLDER_ADMIN
    assert act(cloud, server, {"unlock": None}).status_code == 403
    assert act(cloud, server, {"unlock": None}, token="admin").status_code == 202


def test_deletion(cloud, server):
    assert act(cloud, server, {"forceDelete": None}).status_code == 202
    server = cloud.put_server()
    answer = cloud.call("DELETE", f"/servers/{server.id}")
    assert (answer.status_code, answer.data) == (204, b"")
    assert cloud.get(f"/servers/{server.id}").status_code == 404


def test_other_projects_do_not_exist(cloud, server):
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("PUT", "", {"server": {"name": "x"}}),
        ("GET", "/ips", None),
        ("GET", "/metadata", None),
        ("POST", "/action", {"os-stop": None}),
    ):
        answer = cloud.call(method, f"/servers/{server.id}{path}", body, token="other")
        assert answer.status_code == 404
        assert "itemNotFound" in answer.json


def test_update(cloud, server):
    path = f"/servers/{server.id}"
    body = {"server": {"accessIPv4": "10.1.1.1", "OS-DCF:diskConfig": "AUTO", "description": None}}
    answer = cloud.call("PUT", path, body, version="2.19")
    assert (server.access_ip_v4, server.auto_disk_config) == ("10.1.1.1", True)
    assert answer.json["server"]["description"] is None
    assert cloud.call("PUT", path, {"server": {}}).status_code == 200
    assert cloud.call("PUT", path, {"server": {"description": "x"}}, version="2.18").status_code == 400
    assert cloud.call("PUT", path, {}).status_code == 400
    zone = {"server": {"pinned_availability_zone": None}}
    assert cloud.call("PUT", path, zone, version="2.103").status_code == 400
    server.pinned_availability_zone = "az1"
    shown = cloud.call("PUT", path, zone, version="2.104").json["server"]
    assert shown["pinned_availability_zone"] is None


def test_metadata(cloud, server):
    path = f"/servers/{server.id}/metadata"
    assert cloud.call("POST", path, {"metadata": {"a": "1"}}).json == {"metadata": {"a": "1"}}
    assert cloud.call("POST", path, {"metadata": {"b": "2"}}).json == {"metadata": {"a": "1", "b": "2"}}
    assert cloud.call("PUT", path, {"metadata": {"c": "3"}}).json == {"metadata": {"c": "3"}}
    assert cloud.get(path).json == {"metadata": {"c": "3"}}
    assert cloud.get(f"{path}/c").json == {"meta": {"c": "3"}}
    assert cloud.get(f"{path}/x").status_code == 404
    assert cloud.call("PUT", f"{path}/d", {"meta": {"d": "4"}}).json == {"meta": {"d": "4"}}
    assert cloud.call("PUT", f"{path}/d", {"meta": {"e": "4"}}).status_code == 400
    assert cloud.call("PUT", f"{path}/d", {"meta": {"d": "4", "e": "5"}}).status_code == 400
    assert cloud.call("DELETE", f"{path}/d").status_code == 204
    assert cloud.call("DELETE", f"{path}/d").status_code == 404
    assert cloud.call("POST", path, {"metadata": {"a": None}}).status_code == 400
    assert cloud.call("POST", path, {"metadata": {"": "x"}}).status_code == 400
    assert cloud.call("POST", path, {"metadata": {"a": "x"}}, token="reader").status_code == 403


def test_tags(cloud, server):
    path = f"/servers/{server.id}/tags"
    assert cloud.get(path, version="2.25").status_code == 404
    late = {"version": "2.26"}
    assert cloud.call("PUT", path, {"tags": ["b", "a"]}, **late).json == {"tags": ["a", "b"]}
    assert cloud.get(path, **late).json == {"tags": ["a", "b"]}
    answer = cloud.call("PUT", f"{path}/c", **late)
    assert (answer.status_code, answer.data) == (201, b"")
    assert answer.headers["Location"] == f"http://localhost/v2.1/servers/{server.id}/tags/c"
    assert cloud.call("PUT", f"{path}/c", **late).status_code == 204
    assert cloud.get(f"{path}/c", **late).status_code == 204
    assert cloud.get(f"{path}/d", **late).status_code == 404
    assert cloud.call("DELETE", f"{path}/c", **late).status_code == 204
    assert cloud.call("DELETE", f"{path}/c", **late).status_code == 404
    assert cloud.call("PUT", f"{path}/{'x' * 61}", **late).status_code == 400
    assert cloud.call("PUT", path, {"tags": ["a,b"]}, **late).status_code == 400
    assert cloud.call("PUT", path, {"tags": [str(n) for n in range(51)]}, **late).status_code == 400
    assert cloud.call("DELETE", path, **late).status_code == 204
    assert cloud.get(path, **late).json == {"tags": []}
    cloud.call("PUT", path, {"tags": [str(n) for n in range(50)]}, **late)
    assert cloud.call("PUT", f"{path}/more", **late).status_code == 400


def test_addresses(cloud):
    server = cloud.put_server(
        interfaces=[
            pb.NetworkInterface(network_name="private", addresses=[pb.FixedAddress(address="fd00::3")])
        ]
    )
    path = f"/servers/{server.id}/ips"
    assert cloud.get(path).json == {"addresses": {"private": [{"addr": "fd00::3", "version": 6}]}}
    assert cloud.get(f"{path}/private").json == {"private": [{"addr": "fd00::3", "version": 6}]}
    assert cloud.get(f"{path}/public").status_code == 404


@pytest.fixture
def history(cloud, server):
    event = server_action_pb2.ServerActionEvent(
        name="compute_stop_instance",
        started_at=Timestamp(seconds=1_700_000_001),
        finished_at=Timestamp(seconds=1_700_000_002),
        result="Success",
        details="none",
        host="compute-1",
    )
    cloud.servers.actions[server.id] = [
        server_action_pb2.ServerAction(
            action=name,
            server_id=server.id,
            request_id=f"req-{name}",
            user_id=USER,
            project_id=PROJECT,
            started_at=Timestamp(seconds=1_700_000_000),
            updated_at=Timestamp(seconds=1_700_000_003),
            events=[event],
        )
        for name in ("create", "stop")
    ]
    return f"/servers/{server.id}/os-instance-actions"


EVENT = {"event", "start_time", "finish_time", "result"}


@pytest.mark.parametrize(
    ("version", "token", "keys"),
    [
        ("2.50", "member", None),
        ("2.50", "admin", EVENT | {"traceback"}),
        ("2.51", "member", EVENT),
        ("2.61", "admin", EVENT | {"traceback"}),
        ("2.62", "member", EVENT | {"hostId"}),
        ("2.62", "admin", EVENT | {"traceback", "hostId", "host"}),
        ("2.84", "member", EVENT | {"hostId"}),
        ("2.84", "admin", EVENT | {"traceback", "hostId", "host", "details"}),
    ],
)
def test_events_of_an_action(cloud, history, version, token, keys):
    shown = cloud.get(f"{history}/req-stop", version=version, token=token).json["instanceAction"]
    assert ("events" in shown) == (keys is not None)
    if keys is not None:
        assert set(shown["events"][0]) == keys
    assert ("updated_at" in shown) == (version >= "2.58")
    assert shown["start_time"] == "2023-11-14T22:13:20.000000"


def test_history(cloud, history):
    listed = cloud.get(history).json
    assert [each["action"] for each in listed["instanceActions"]] == ["stop", "create"]
    assert "links" not in listed
    assert cloud.get(f"{history}?limit=1").json == listed
    page = cloud.get(f"{history}?limit=1", version="2.58").json
    assert [each["action"] for each in page["instanceActions"]] == ["stop"]
    assert "marker=req-stop" in page["links"][0]["href"]
    assert cloud.get(f"{history}?marker=req-none", version="2.58").status_code == 400
    assert cloud.get(f"{history}?bogus=1", version="2.57").status_code == 200
    assert cloud.get(f"{history}?bogus=1", version="2.58").status_code == 400
    assert cloud.get(f"{history}?limit=1&limit=2", version="2.58").status_code == 400
    assert cloud.get(f"{history}?changes-before=2026-01-01", version="2.65").status_code == 400
    assert cloud.get(f"{history}?changes-before=2026-01-01", version="2.66").status_code == 200
    assert cloud.get(f"{history}/req-none").status_code == 404


def test_history_of_deleted_servers(cloud, server, history):
    server.deleted_at.seconds = 1_700_000_009
    assert cloud.get(history, version="2.20").status_code == 404
    assert cloud.get(history, version="2.21").status_code == 200


def test_volumes_boot_is_another_name(cloud, server):
    assert cloud.get("/os-volumes_boot").json["servers"][0]["id"] == server.id
    assert cloud.get(f"/os-volumes_boot/{server.id}", version="2.102").status_code == 200
    assert cloud.get(f"/os-volumes_boot/{server.id}", version="2.103").status_code == 404
    body = {"os-stop": None}
    assert cloud.call("POST", f"/os-volumes_boot/{server.id}/action", body).status_code == 202
