"""Ports, groups and addresses of servers, and events of other services, over REST."""

from __future__ import annotations

import pytest

from protonova.common.v1 import server_device_pb2 as common
from protonova.services.runtime import errors

NETWORK = "aaaaaaaa-0000-0000-0000-000000000001"
PORT = "aaaaaaaa-0000-0000-0000-000000000002"
GROUP = "aaaaaaaa-0000-0000-0000-000000000003"


@pytest.fixture
def server(cloud):
    return cloud.put_server()


def path(server, port=""):
    return f"/servers/{server.id}/os-interface" + (f"/{port}" if port else "")


def attach(cloud, server, body, **rest):
    return cloud.call("POST", path(server), {"interfaceAttachment": body}, **rest)


def test_interfaces(cloud, server):
    shown = attach(cloud, server, {"port_id": PORT, "tag": "front"}, version="2.70").json
    assert shown["interfaceAttachment"] == {
        "port_id": PORT,
        "net_id": "00000000-0000-0000-0000-0000000000e2",
        "mac_addr": "fa:16:3e:00:00:01",
        "port_state": "ACTIVE",
        "fixed_ips": [{"ip_address": "10.0.0.9", "subnet_id": "00000000-0000-0000-0000-0000000000e3"}],
        "tag": "front",
    }
    assert cloud.get(path(server), version="2.70").json["interfaceAttachments"] == [
        shown["interfaceAttachment"]
    ]
    (old,) = cloud.get(path(server)).json["interfaceAttachments"]
    assert "tag" not in old
    assert cloud.get(path(server, PORT)).json == {"interfaceAttachment": old}
    assert cloud.get(path(server, NETWORK)).status_code == 404
    assert cloud.call("DELETE", path(server, PORT)).status_code == 202
    assert cloud.call("DELETE", path(server, PORT), token="reader").status_code == 403


def test_what_an_attach_asks_for(cloud, server):
    body = {"net_id": NETWORK, "fixed_ips": [{"ip_address": "2001:DB8::0:1"}]}
    assert attach(cloud, server, body).status_code == 200
    asked = cloud.devices.requests[-1]
    assert (asked.network_id, asked.fixed_address) == (NETWORK, "2001:db8::1")
    assert not asked.allow_external_network
    assert attach(cloud, server, {}, token="admin").status_code == 200
    assert cloud.devices.requests[-1].allow_external_network
    assert cloud.call("POST", path(server), {}).status_code == 200


@pytest.mark.parametrize(
    ("body", "version"),
    [
        ({"net_id": NETWORK, "port_id": PORT}, "2.1"),
        ({"fixed_ips": [{"ip_address": "10.0.0.1"}]}, "2.1"),
        ({"net_id": NETWORK, "fixed_ips": []}, "2.1"),
        ({"net_id": NETWORK, "fixed_ips": [{"ip_address": "10.0.0.1"}, {"ip_address": "10.0.0.2"}]}, "2.1"),
        ({"net_id": NETWORK, "fixed_ips": [{"ip_address": "here"}]}, "2.1"),
        ({"net_id": "private"}, "2.1"),
        ({"port_id": PORT, "tag": "front"}, "2.48"),
    ],
)
def test_bodies_that_are_refused(cloud, server, body, version):
    assert attach(cloud, server, body, version=version).status_code == 400
    assert cloud.devices.requests == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("No port.", "PORT_NOT_FOUND"), 404),
        (errors.NotFound("No network.", "NETWORK_NOT_FOUND"), 404),
        (errors.InvalidArgument("No addresses.", "NETWORK_UNUSABLE"), 400),
        (errors.FailedPrecondition("In use.", "PORT_IN_USE"), 409),
        (errors.FailedPrecondition("Taken.", "ADDRESS_IN_USE"), 409),
        (errors.PermissionDenied("External.", "EXTERNAL_NETWORK_FORBIDDEN"), 403),
        (errors.QuotaExceeded("Too many ports.", "EXTERNAL_QUOTA_EXCEEDED"), 403),
        (errors.Internal("No slot is free.", "INTERFACE_ATTACH_FAILED"), 500),
    ],
)
def test_faults(cloud, server, error, code):
    cloud.devices.refuse["AttachInterface"] = error
    answer = attach(cloud, server, {"port_id": PORT})
    assert answer.status_code == code
    (fault,) = answer.json.values()
    assert fault["message"] == error.message


def test_security_groups(cloud, server):
    rule = {"id": GROUP, "protocol": "tcp", "from_port": 22, "to_port": 22, "ether_type": "IPv4"}
    pings = {"id": PORT, "protocol": "icmp", "remote_group_id": GROUP, "remote_group_name": "web"}
    pings["remote_group_project_id"] = "project"
    anything = {"id": NETWORK, "ether_type": "IPv6"}
    cloud.devices.groups = [
        common.SecurityGroup(
            id=GROUP, name="web", description="", project_id="project", rules=[rule, pings, anything]
        )
    ]
    (group,) = cloud.get(f"/servers/{server.id}/os-security-groups").json["security_groups"]
    assert (group["name"], group["tenant_id"]) == ("web", "project")
    assert group["rules"] == [
        {
            "id": GROUP,
            "parent_group_id": GROUP,
            "ip_protocol": "tcp",
            "from_port": 22,
            "to_port": 22,
            "group": {},
            "ip_range": {"cidr": "0.0.0.0/0"},
        },
        {
            "id": PORT,
            "parent_group_id": GROUP,
            "ip_protocol": "icmp",
            "from_port": -1,
            "to_port": -1,
            "group": {"name": "web", "tenant_id": "project"},
            "ip_range": {},
        },
        {
            "id": NETWORK,
            "parent_group_id": GROUP,
            "ip_protocol": None,
            "from_port": None,
            "to_port": None,
            "group": {},
            "ip_range": {"cidr": "::/0"},
        },
    ]


def act(cloud, server, body, **rest):
    return cloud.call("POST", f"/servers/{server.id}/action", body, **rest)


@pytest.mark.parametrize(
    ("action", "body", "asked"),
    [
        ("addSecurityGroup", {"name": "web"}, {"security_group": "web"}),
        ("removeSecurityGroup", {"name": "web"}, {"security_group": "web"}),
        ("addFixedIp", {"networkId": NETWORK}, {"network_id": NETWORK}),
        ("removeFixedIp", {"address": "10.0.0.1"}, {"address": "10.0.0.1"}),
        (
            "addFloatingIp",
            {"address": "192.0.2.1", "fixed_address": "10.0.0.1"},
            {"address": "192.0.2.1", "fixed_address": "10.0.0.1"},
        ),
        ("removeFloatingIp", {"address": "192.0.2.1"}, {"address": "192.0.2.1"}),
    ],
)
def test_actions(cloud, server, action, body, asked):
    answer = act(cloud, server, {action: body})
    assert (answer.status_code, answer.data) == (202, b"")
    request = cloud.devices.requests[-1]
    assert {name: getattr(request, name) for name in asked} == asked
    assert request.server_id == server.id
    assert act(cloud, server, {action: {}}).status_code == 400
    assert act(cloud, server, {action: body}, token="reader").status_code == 403
    lasts = action.endswith("Group")
    assert act(cloud, server, {action: body}, version="2.44").status_code == (202 if lasts else 404)


@pytest.mark.parametrize(
    ("action", "method", "error", "code"),
    [
        ("addSecurityGroup", "AddServerSecurityGroup", "SECURITY_GROUP_NOT_FOUND", 404),
        ("addSecurityGroup", "AddServerSecurityGroup", "SECURITY_GROUP_AMBIGUOUS", 409),
        ("addSecurityGroup", "AddServerSecurityGroup", "SECURITY_GROUP_UNUSABLE", 400),
        ("removeFloatingIp", "RemoveFloatingAddress", "ADDRESS_NOT_ASSOCIATED", 409),
        ("removeFloatingIp", "RemoveFloatingAddress", "ADDRESS_NOT_FOUND", 404),
        ("addFloatingIp", "AddFloatingAddress", "ADDRESS_UNUSABLE", 400),
    ],
)
def test_faults_of_actions(cloud, server, action, method, error, code):
    kind = {404: errors.NotFound, 409: errors.FailedPrecondition, 400: errors.InvalidArgument}[code]
    cloud.devices.refuse[method] = kind("No.", error)
    body = {"name": "web"} if "Group" in action else {"address": "192.0.2.1"}
    assert act(cloud, server, {action: body}).status_code == code


# ---- events


def tell(cloud, *events, token="admin", **rest):
    return cloud.call("POST", "/os-server-external-events", {"events": list(events)}, token=token, **rest)


def test_events(cloud, server):
    changed = {"name": "network-changed", "server_uuid": server.id, "tag": PORT}
    answer = tell(cloud, changed)
    assert answer.status_code == 200
    assert answer.json["events"] == [{**changed, "status": "completed", "code": 200}]
    homeless = cloud.put_server()
    cloud.devices.homeless.add(homeless.id)
    answer = tell(
        cloud,
        {**changed, "status": "in-progress"},
        {**changed, "server_uuid": NETWORK},
        {**changed, "server_uuid": homeless.id},
        {"name": "volume-extended", "server_uuid": server.id},
        version="2.51",
    )
    assert answer.status_code == 207
    assert [(one["code"], one["status"]) for one in answer.json["events"]] == [
        (200, "in-progress"),
        (404, "failed"),
        (422, "failed"),
        (400, "failed"),
    ]
    assert tell(cloud, changed, token="member").status_code == 403


@pytest.mark.parametrize(
    ("name", "since"),
    [
        ("volume-extended", 51),
        ("power-update", 76),
        ("accelerator-request-bound", 82),
        ("volume-reimaged", 93),
    ],
)
def test_names_of_events(cloud, server, name, since):
    event = {"name": name, "server_uuid": server.id, "tag": "POWER_ON"}
    assert tell(cloud, event, version=f"2.{since - 1}").status_code == 400
    assert tell(cloud, event, version=f"2.{since}").status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"events": []}, {"events": [{"name": "network-changed"}]}, {"events": [{"server_uuid": NETWORK}]}],
)
def test_events_that_are_refused(cloud, body):
    assert cloud.call("POST", "/os-server-external-events", body, token="admin").status_code == 400
