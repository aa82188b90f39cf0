"""Pause, suspend, rescue, rebuild, passwords and the like over REST: bodies, versions, policies, faults."""

from __future__ import annotations

import pytest

from protonova.common.v1 import server_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.gateway.test_server_parts import act

IMAGE = "11111111-2222-3333-4444-555555555555"
# action -> (state it needs, state after)
CHANGES = {
    "pause": (pb.VM_STATE_ACTIVE, pb.VM_STATE_PAUSED),
    "unpause": (pb.VM_STATE_PAUSED, pb.VM_STATE_ACTIVE),
    "suspend": (pb.VM_STATE_ACTIVE, pb.VM_STATE_SUSPENDED),
    "resume": (pb.VM_STATE_SUSPENDED, pb.VM_STATE_ACTIVE),
    "restore": (pb.VM_STATE_SOFT_DELETED, pb.VM_STATE_ACTIVE),
    "unrescue": (pb.VM_STATE_RESCUED, pb.VM_STATE_ACTIVE),
}


@pytest.fixture
def server(cloud):
    return cloud.put_server()


@pytest.mark.parametrize("action", CHANGES)
def test_changes(cloud, action):
    needs, becomes = CHANGES[action]
    server = cloud.put_server(vm_state=needs)
    assert act(cloud, server, {action: None}, token="reader").status_code == 403
    answer = act(cloud, server, {action: None})
    assert (answer.status_code, answer.data) == (202, b"")
    assert server.vm_state == becomes
    refused = act(cloud, server, {action: {}})
    assert refused.status_code == 409
    message = refused.json["conflictingRequest"]["message"]
    assert message.startswith(f"Cannot '{action}' instance {server.id} while it is in vm_state ")


@pytest.mark.parametrize("action", [*CHANGES, "rescue"])
def test_a_locked_server(cloud, server, action):
    cloud.servers.refuse[f"{action.capitalize()}Server"] = errors.FailedPrecondition(
        f"Server {server.id} is locked.", "SERVER_LOCKED", server_id=server.id
    )
    assert act(cloud, server, {action: None}).status_code == 409


def test_crash_dump(cloud, server):
    body = {"trigger_crash_dump": None}
    assert act(cloud, server, body, version="2.16").status_code == 404
    assert act(cloud, server, body, version="2.17").status_code == 202
    assert act(cloud, server, {"trigger_crash_dump": {}}, version="2.17").status_code == 400


@pytest.mark.parametrize(("state", "becomes"), [("active", pb.VM_STATE_ACTIVE), ("error", pb.VM_STATE_ERROR)])
def test_reset_state(cloud, server, state, becomes):
    body = {"os-resetState": {"state": state}}
    assert act(cloud, server, body).status_code == 403
    assert act(cloud, server, body, token="admin").status_code == 202
    assert server.vm_state == becomes


@pytest.mark.parametrize(
    "body", [{}, {"state": "paused"}, {"state": "ACTIVE"}, {"state": "error", "x": 1}, None]
)
def test_a_reset_to_something_else(cloud, server, body):
    assert act(cloud, server, {"os-resetState": body}, token="admin").status_code == 400


def test_inject_network_info(cloud, server):
    assert act(cloud, server, {"injectNetworkInfo": None}).status_code == 403
    assert act(cloud, server, {"injectNetworkInfo": None}, token="admin").status_code == 202
    assert act(cloud, server, {"resetNetwork": None}, token="admin").status_code == 410


def test_diagnostics(cloud, server):
    path = f"/servers/{server.id}/diagnostics"
    assert cloud.get(path).status_code == 403
    assert cloud.get(path, token="admin", version="2.47").json == {"cpu0_time": 17, "vda_read": 5}
    told = cloud.get(path, token="admin", version="2.48").json
    assert told["state"] == "running"
    assert told["num_cpus"] == told["num_disks"] == told["num_nics"] == 1
    assert told["memory_details"] == {"maximum": 512, "used": None}
    assert told["cpu_details"] == [{"id": 0, "time": 17, "utilisation": None}]
    assert told["nic_details"][0]["rx_octets"] == 9
    assert told["nic_details"][0]["tx_octets"] is None
    assert (told["uptime"], told["hypervisor_os"], told["config_drive"]) == (None, None, True)
    for error, code in (
        (errors.FailedPrecondition("No host.", "HOST_NOT_READY"), 409),
        (errors.Unimplemented("Not here.", "UNSUPPORTED"), 501),
    ):
        cloud.servers.refuse["GetServerDiagnostics"] = error
        assert cloud.get(path, token="admin").status_code == code


def test_change_password(cloud, server):
    assert act(cloud, server, {"changePassword": {"adminPass": "x"}}).status_code == 202
    assert cloud.servers.requests[-1].admin_password == "x"
    assert act(cloud, server, {"changePassword": {}}).status_code == 400
    assert act(cloud, server, {"changePassword": {"adminPass": 5}}).status_code == 400
    for error, code, element in (
        (errors.FailedPrecondition("No agent.", "GUEST_AGENT_REFUSES"), 409, "conflictingRequest"),
        (errors.Unimplemented("Not here.", "UNSUPPORTED"), 501, "notImplemented"),
    ):
        cloud.servers.refuse["ChangeServerPassword"] = error
        answer = act(cloud, server, {"changePassword": {"adminPass": "x"}})
        assert (answer.status_code, list(answer.json)) == (code, [element])


def test_server_password(cloud):
    server = cloud.put_server(encrypted_password="cGFzcw==")
    path = f"/servers/{server.id}/os-server-password"
    assert cloud.get(path, token="reader").json == {"password": "cGFzcw=="}
    assert cloud.call("DELETE", path, token="reader").status_code == 403
    assert cloud.call("DELETE", path).status_code == 204
    assert cloud.get(path).json == {"password": ""}
    missing = "/servers/99999999-9999-9999-9999-999999999999/os-server-password"
    assert cloud.get(missing).status_code == 404


def test_restore_beyond_the_quota(cloud, server):
    cloud.servers.refuse["RestoreServer"] = errors.QuotaExceeded(
        "No.", "QUOTA_EXCEEDED", resource="cores", limit=1, used=1, requested=1
    )
    answer = act(cloud, server, {"restore": None})
    assert answer.status_code == 403
    assert "Quota exceeded for cores" in answer.json["forbidden"]["message"]


def test_force_delete(cloud, server):
    assert act(cloud, server, {"forceDelete": None}).status_code == 202
    assert cloud.servers.requests[-1].force


@pytest.mark.parametrize("body", [None, {}, {"adminPass": "x"}, {"rescue_image_ref": IMAGE}])
def test_rescue(cloud, server, body):
    answer = act(cloud, server, {"rescue": body}, version="2.86")
    assert answer.status_code == 200
    given = (body or {}).get("adminPass")
    assert answer.json == {"adminPass": given or "generated"}
    asked = cloud.servers.requests[-1]
    assert asked.image_id == (body or {}).get("rescue_image_ref", "")
    assert not asked.allow_volume_backed


def test_rescue_says_no_password_where_they_are_off(cloud, server):
    cloud.servers.passwords = False
    assert act(cloud, server, {"rescue": None}, version="2.87").json == {}
    assert cloud.servers.requests[-1].allow_volume_backed


@pytest.mark.parametrize("body", [5, {"rescue_image_ref": "x"}, {"adminPass": None}, {"image": IMAGE}])
def test_a_rescue_that_makes_no_sense(cloud, server, body):
    assert act(cloud, server, {"rescue": body}).status_code == 400


@pytest.mark.parametrize(
    ("reason", "code"),
    [("RESCUE_UNSUPPORTED", 400), ("IMAGE_UNUSABLE", 400), ("VOLUME_NOT_ATTACHED", 409)],
)
def test_a_rescue_that_is_refused(cloud, server, reason, code):
    cloud.servers.refuse["RescueServer"] = errors.FailedPrecondition("Not so.", reason)
    assert act(cloud, server, {"rescue": None}).status_code == code


def test_rebuild(cloud, server):
    body = {
        "imageRef": IMAGE,
        "name": "again",
        "adminPass": "x",
        "metadata": {"a": "b"},
        "preserve_ephemeral": "true",
        "OS-DCF:diskConfig": "AUTO",
        "accessIPv4": "10.0.0.1",
        "accessIPv6": "FE80::1",
        "description": None,
        "key_name": "key",
        "user_data": "eA==",
        "trusted_image_certificates": ["cert"],
        "hostname": "again",
    }
    answer = act(cloud, server, {"rebuild": body}, version="2.93")
    assert answer.status_code == 202
    assert answer.headers["Location"].endswith(f"/servers/{server.id}")
    told = answer.json["server"]
    assert (told["name"], told["status"], told["adminPass"], told["metadata"]) == (
        "again",
        "REBUILD",
        "x",
        {"a": "b"},
    )
    assert (told["image"]["id"], told["key_name"], told["user_data"]) == (IMAGE, "key", "eA==")
    asked = cloud.servers.requests[-1]
    assert asked.preserve_ephemeral
    assert asked.allow_volume_backed
    assert asked.server.access_ip_v6 == "fe80::1"
    assert set(asked.update_mask.paths) == {
        "name",
        "metadata",
        "auto_disk_config",
        "access_ip_v4",
        "access_ip_v6",
        "description",
        "key_name",
        "user_data",
        "trusted_image_certificates",
        "hostname",
    }


@pytest.mark.parametrize(
    ("key", "value", "since", "until"),
    [
        ("description", "x", "2.19", None),
        ("key_name", None, "2.54", None),
        ("user_data", None, "2.57", None),
        ("personality", [{"path": "/a", "contents": "eA=="}], "2.1", "2.56"),
        ("trusted_image_certificates", None, "2.63", None),
        ("hostname", "again", "2.90", None),
    ],
)
def test_what_a_rebuild_takes_since_when(cloud, server, key, value, since, until):
    def code(version: str) -> int:
        return act(cloud, server, {"rebuild": {"imageRef": IMAGE, key: value}}, version=version).status_code

    major, minor = map(int, since.split("."))
    assert code(since) == 202
    if minor > 1:
        assert code(f"{major}.{minor - 1}") == 400
    if until:
        assert code(until) == 202
        assert cloud.servers.requests[-1].files[0].contents == b"x"
        assert code(f"2.{int(until.split('.')[1]) + 1}") == 400


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        ("2.1", {"adminPass", "addresses"}, {"key_name", "user_data", "locked"}),
        ("2.54", {"key_name", "locked"}, {"user_data", "OS-EXT-STS:vm_state"}),
        ("2.57", {"user_data"}, {"OS-EXT-STS:vm_state"}),
        ("2.75", {"OS-EXT-STS:vm_state", "config_drive"}, set()),
    ],
)
def test_what_a_rebuild_answers_since_when(cloud, server, version, there, not_there):
    told = act(cloud, server, {"rebuild": {"imageRef": IMAGE}}, version=version).json["server"]
    assert there <= set(told)
    assert not not_there & set(told)


def test_below_v2_the_url_of_an_image_will_do(cloud, server):
    body = {"rebuild": {"imageRef": f"http://images/v2/images/{IMAGE}"}}
    assert act(cloud, server, body, prefix="/v2").status_code == 202
    assert cloud.servers.requests[-1].image_id == IMAGE


def test_a_rebuild_says_no_password_where_they_are_off(cloud, server):
    cloud.servers.passwords = False
    assert "adminPass" not in act(cloud, server, {"rebuild": {"imageRef": IMAGE}}).json["server"]
    assert not cloud.servers.requests[-1].allow_volume_backed


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"imageRef": "x"},
        {"imageRef": None},
        {"imageRef": ""},
        {"imageRef": f"http://images/{IMAGE}"},
        {"imageRef": IMAGE, "name": ""},
        {"imageRef": IMAGE, "name": "x" * 256},
        {"imageRef": IMAGE, "accessIPv4": "fe80::1"},
        {"imageRef": IMAGE, "metadata": {"a": 5}},
        {"imageRef": IMAGE, "preserve_ephemeral": "maybe"},
        {"imageRef": IMAGE, "user_data": "!"},
        {"imageRef": IMAGE, "trusted_image_certificates": []},
        {"imageRef": IMAGE, "flavorRef": "1"},
    ],
)
def test_a_rebuild_that_makes_no_sense(cloud, server, body):
    assert act(cloud, server, {"rebuild": body}, version="2.63").status_code == 400


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("IMAGE_UNUSABLE", 400),
        ("FLAVOR_TOO_SMALL", 400),
        ("NUMA_CHANGED", 400),
        ("REBUILD_UNSUPPORTED", 400),
        ("CERTIFICATES_INVALID", 400),
        ("SERVER_LOCKED", 409),
    ],
)
def test_a_rebuild_that_is_refused(cloud, server, reason, code):
    cloud.servers.refuse["RebuildServer"] = errors.FailedPrecondition("Not so.", reason)
    assert act(cloud, server, {"rebuild": {"imageRef": IMAGE}}).status_code == code


def test_the_old_name_of_servers_rebuilds_them_too(cloud, server):
    path = f"/os-volumes_boot/{server.id}/action"
    assert cloud.call("POST", path, {"rebuild": {"imageRef": IMAGE}}).status_code == 202
    assert cloud.call("POST", path, {"trigger_crash_dump": None}, version="2.17").status_code == 202
