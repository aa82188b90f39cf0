"""Consoles over REST, by version."""

from __future__ import annotations

import pytest

from protonova.services.runtime import errors


@pytest.fixture
def server(cloud):
    return cloud.put_server()


def ask(cloud, server, protocol, type_, version):
    body = {"remote_console": {"protocol": protocol, "type": type_}}
    return cloud.call("POST", f"/servers/{server.id}/remote-consoles", body, version=version)


@pytest.mark.parametrize(
    ("protocol", "type_", "since"),
    [
        ("vnc", "novnc", 6),
        ("spice", "spice-html5", 6),
        ("serial", "serial", 6),
        ("mks", "webmks", 8),
        ("spice", "spice-direct", 99),
    ],
)
def test_remote_consoles(cloud, server, protocol, type_, since):
    answer = ask(cloud, server, protocol, type_, f"2.{since}")
    shown = answer.json["remote_console"]
    assert (shown["protocol"], shown["type"]) == (protocol, type_)
    assert shown["url"].startswith("http://consoles.example/")
    before = ask(cloud, server, protocol, type_, f"2.{since - 1}")
    assert before.status_code == (404 if since == 6 else 400)


@pytest.mark.parametrize(
    ("action", "protocol", "type_"),
    [
        ("os-getVNCConsole", "vnc", "novnc"),
        ("os-getVNCConsole", "vnc", "xvpvnc"),
        ("os-getSPICEConsole", "spice", "spice-html5"),
        ("os-getSerialConsole", "serial", "serial"),
    ],
)
def test_actions(cloud, server, action, protocol, type_):
    path = f"/servers/{server.id}/action"
    shown = cloud.call("POST", path, {action: {"type": type_}}, version="2.5").json["console"]
    assert shown["type"] == type_
    assert cloud.consoles.requests[-1].protocol == protocol
    assert cloud.call("POST", path, {action: {"type": type_}}, version="2.6").status_code == 404
    assert cloud.call("POST", path, {action: {"type": "other"}}).status_code == 400
    assert cloud.call("POST", path, {action: {"type": type_}}, token="reader").status_code == 403


def test_rdp_is_gone(cloud, server):
    body = {"os-getRDPConsole": {"type": "rdp-html5"}}
    assert cloud.call("POST", f"/servers/{server.id}/action", body).status_code == 400


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgument("Not here.", "CONSOLE_TYPE_UNAVAILABLE"), 400),
        (errors.FailedPrecondition("No host.", "HOST_NOT_READY"), 409),
        (errors.FailedPrecondition("Deleting.", "SERVER_STATE"), 409),
    ],
)
def test_faults(cloud, server, error, code):
    cloud.consoles.refuse = error
    assert ask(cloud, server, "vnc", "novnc", "2.6").status_code == code


def test_tokens(cloud, server):
    path = f"/os-console-auth-tokens/{cloud.consoles.TOKEN}"
    connection = {
        "instance_uuid": server.id,
        "host": "192.0.2.1",
        "port": 5901,
        "internal_access_path": None,
    }
    assert cloud.get(path, token="admin", version="2.31").json == {"console": connection}
    newest = cloud.get(path, token="admin", version="2.99").json["console"]
    assert newest == {**connection, "tls_port": 5902}
    assert cloud.get(path, token="admin", version="2.30").status_code == 400
    assert cloud.get(path, token="member", version="2.31").status_code == 403
    assert cloud.get("/os-console-auth-tokens/other", token="admin", version="2.31").status_code == 404
    assert cloud.get(path + "?x=1", token="admin", version="2.98").status_code == 200
    assert cloud.get(path + "?x=1", token="admin", version="2.99").status_code == 400
