"""Every refusal is a fault of one form, with the right code, naming what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest

NOWHERE = "5d8a0c3a-3f3b-4d52-9d2c-6ed0f28e6a10"


@pytest.fixture(scope="module")
def server(kept: Servers, demo: Rest) -> str:
    return kept.boot(demo, "victim")["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/servers/{NOWHERE}", None),
        ("GET", "/servers/not-a-uuid", None),
        ("PUT", f"/servers/{NOWHERE}", {"server": {"name": "x"}}),
        ("DELETE", f"/servers/{NOWHERE}", None),
        ("POST", f"/servers/{NOWHERE}/action", {"os-stop": None}),
        ("POST", f"/servers/{NOWHERE}/action", {"os-getConsoleOutput": {}}),
        ("GET", f"/servers/{NOWHERE}/metadata", None),
        ("GET", f"/servers/{NOWHERE}/tags", None),
        ("GET", f"/servers/{NOWHERE}/ips", None),
        ("GET", f"/servers/{NOWHERE}/os-instance-actions", None),
        ("GET", "/servers/{server}/metadata/none", None),
        ("GET", "/servers/{server}/ips/none", None),
        ("GET", f"/servers/{{server}}/os-instance-actions/req-{NOWHERE}", None),
        ("GET", "/flavors/none", None),
        ("DELETE", "/flavors/none", None),
        ("GET", "/flavors/none/os-extra_specs", None),
        ("GET", "/flavors/small/os-extra_specs/none", None),
        ("GET", "/os-keypairs/none", None),
        ("DELETE", "/os-keypairs/none", None),
        ("DELETE", f"/os-services/{NOWHERE}", None),
        ("GET", f"/os-hypervisors/{NOWHERE}", None),
        ("GET", "/os-aggregates/1", None),
        ("GET", "/nothing", None),
        ("GET", "/nothing/at/all", None),
        ("PATCH", "/servers", {}),
        ("DELETE", "/servers", None),
        ("POST", "/flavors/small", {}),
        ("GET", "/os-fping", None),
        ("GET", "/os-networks", None),
        ("POST", "/servers/{server}/action", {"os-getVNCConsole": {"type": "novnc"}}),
    ],
)
def test_not_found(admin: Rest, server: str, method: str, path: str, body: Any) -> None:
    answer = admin.call(method, path.format(server=server), body)
    if path == "/os-fping":
        answer.fault(410)
    else:
        answer.fault(404)
    assert answer.headers["X-Compute-Request-Id"] == answer.headers["X-Openstack-Request-Id"]
    assert answer.headers["OpenStack-API-Version"] == "compute 2.104"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": ""}, ["server.name"]),
        ({"name": "x" * 256}, ["server.name"]),
        ({"name": None}, ["name"]),
        ({"name": " lead"}, ["server.name"]),
        ({"colour": "blue"}, ["colour"]),
        ({"flavorRef": "none"}, ["none"]),
        ({"flavorRef": None}, ["flavorRef"]),
        ({"imageRef": NOWHERE}, [NOWHERE]),
        ({"imageRef": "http://glance/image"}, ["server.imageRef"]),
        ({"imageRef": ""}, []),
        ({"networks": "some"}, ["server.networks"]),
        ({"networks": [{"uuid": NOWHERE}]}, [NOWHERE]),
        ({"networks": [{"port": NOWHERE}]}, [NOWHERE]),
        ({"networks": [{"uuid": "x"}]}, ["server.networks"]),
        ({"networks": [{}]}, ["networks"]),
        ({"key_name": "none"}, ["none"]),
        ({"user_data": "not base64!"}, ["server.user_data"]),
        ({"user_data": "QQ==" * 20000}, ["server.user_data"]),
        ({"metadata": {"": "x"}}, ["server.metadata"]),
        ({"metadata": {"a": 1}}, ["server.metadata.a"]),
        ({"metadata": {"a": "x" * 256}}, ["server.metadata.a"]),
        ({"tags": ["a,b"]}, ["server.tags"]),
        ({"tags": [f"t{n}" for n in range(51)]}, ["server.tags"]),
        ({"availability_zone": "moon"}, ["moon"]),
        ({"min_count": 0}, ["min_count"]),
        ({"min_count": 3, "max_count": 2}, ["min_count"]),
        ({"config_drive": "perhaps"}, ["server.config_drive"]),
        ({"accessIPv4": "1.2.3"}, ["server.accessIPv4"]),
        ({"accessIPv6": "1.2.3.4"}, ["server.accessIPv6"]),
        ({"OS-DCF:diskConfig": "maybe"}, ["OS-DCF:diskConfig"]),
        ({"security_groups": [{"name": "none"}], "networks": "auto"}, []),
        ({"hostname": "-bad"}, ["hostname", "-bad"]),
        ({"trusted_image_certificates": []}, ["server.trusted_image_certificates"]),
        ({"block_device_mapping_v2": [{"source_type": "moon"}]}, ["block_device_mapping_v2"]),
        ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": NOWHERE, "boot_index": 1}]}, []),
        ({"personality": []}, ["personality"]),
        ({"description": "x" * 256}, ["server.description"]),
    ],
)
def test_bad_requests_for_servers(demo: Rest, site: Site, change: dict[str, Any], words: list[str]) -> None:
    body = site.server("bad", **change)
    body["server"] = {name: value for name, value in body["server"].items() if value is not None}
    demo.call("POST", "/servers", body).fault(400, *words)
    assert demo.get("/servers?name=^bad$")["servers"] == []


@pytest.mark.parametrize(
    "hints",
    [
        {"group": "x"},
        {"group": NOWHERE},
        {"same_host": 5},
        {"build_near_host_ip": "here"},
        {"cidr": "8"},
        "text",
    ],
)
def test_bad_hints(demo: Rest, site: Site, hints: Any) -> None:
    demo.call("POST", "/servers", site.server("bad") | {"os:scheduler_hints": hints}).fault(400)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{", 400),
        (b"", 400),
        (b"null", 400),
        (b"[]", 400),
        (b'"server"', 400),
        (b"{}", 400),
        (b'{"server": {}}', 400),
        (b'{"server": []}', 400),
        (b'{"server": {"name": "\xff\xfe"}}', 400),
        (b'{"server": {"name": "\\ud800"}}', 400),
        (b'{"server": NaN}', 400),
        (b"[" * 100_000, 400),
        (b'{"server": {"name": "' + b"x" * 120_000 + b'"}}', 413),
    ],
)
def test_bodies_that_are_none(demo: Rest, data: bytes, code: int) -> None:
    demo.call("POST", "/servers", data=data).fault(code)


def test_large_bodies_get_their_answer(demo: Rest) -> None:
    for size in (114_689, 200_000, 3_000_000):
        for _ in range(10):
            demo.call("POST", "/servers", data=b"x" * size).fault(413)


def test_media_types(demo: Rest, site: Site) -> None:
    for kind in ("text/xml", "application/x-www-form-urlencoded", "multipart/form-data"):
        demo.call("POST", "/servers", data=b"{}", headers={"Content-Type": kind}).fault(415)
    for kind in ("text/plain", "application/vnd.openstack.compute+json", "application/json; charset=utf-8"):
        demo.call("POST", "/servers", data=b"{}", headers={"Content-Type": kind}).fault(400)
    for kind in ("text/html", "application/xml", "*/*"):
        assert demo.call("GET", "/flavors", headers={"Accept": kind}).json["flavors"]


def test_states(servers: Servers, demo: Rest) -> None:
    server = servers.boot(demo, "moody")["id"]
    act = f"/servers/{server}/action"
    demo.call("POST", act, {"os-start": None}).fault(
        409, f"Cannot 'start' instance {server} while it is in vm_state active"
    )
    assert demo.call("POST", act, {"os-stop": None}).status == 202
    servers.wait(server, "SHUTOFF")
    demo.call("POST", act, {"os-stop": None}).fault(
        409, f"Cannot 'stop' instance {server} while it is in vm_state stopped"
    )
    demo.call("POST", act, {"reboot": {"type": "SOFT"}}).fault(409, "reboot", "stopped")
    assert demo.call("POST", act, {"reboot": {"type": "HARD"}}).status == 202
    servers.wait(server)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ({"os-stop": None, "os-start": None}, 400),
        ({"fly": None}, 400),
        ([], 404),
        (3, 404),
        ({"reboot": None}, 400),
        ({"reboot": {"type": "MEDIUM"}}, 400),
        ({"reboot": {}}, 400),
        ({"os-getConsoleOutput": {"length": "long"}}, 400),
        ({"os-getConsoleOutput": {"length": -2}}, 400),
        ({"lock": {"locked_reason": ""}}, 400),
        ({"lock": {"reason": "x"}}, 400),
    ],
)
def test_bad_actions(demo: Rest, server: str, body: Any, code: int) -> None:
    demo.call("POST", f"/servers/{server}/action", body).fault(code)


@pytest.mark.parametrize(
    ("headers", "path"),
    [
        ({"X-Auth-Token": None}, "/servers"),
        ({"X-Auth-Token": ""}, "/servers"),
        ({"X-Auth-Token": "forged"}, "/servers"),
        ({"X-Auth-Token": "x" * 4000}, "/flavors"),
        ({"X-Auth-Token": None}, "/nothing"),
        ({"X-Auth-Token": None, "X-User-Id": "a", "X-Project-Id": "b", "X-Roles": "admin"}, "/servers"),
    ],
)
def test_no_token(demo: Rest, headers: dict[str, str | None], path: str) -> None:
    answer = demo.call("GET", path, headers=headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_forged_identity_counts_for_nothing(demo: Rest, admin: Rest) -> None:
    forged = {"X-Roles": "admin", "X-Is-Admin": "True", "X-Project-Id": admin.project_id}
    demo.call("GET", "/os-hypervisors", headers=forged).fault(403)


def test_the_project_in_the_path(demo: Rest, other: Rest) -> None:
    assert demo.call("GET", "/servers", prefix=f"/v2.1/{demo.project_id}").status == 200
    demo.call("GET", "/servers", prefix=f"/v2.1/{other.project_id}").fault(400)
    demo.call("GET", "/servers", prefix="/v2.1/not-a-project-id").fault(400, "not-a-project-id")


def test_conflicts(admin: Rest, demo: Rest) -> None:
    flavor = {"flavor": {"id": "small", "name": "c2.small", "ram": 64, "vcpus": 1, "disk": 1}}
    admin.call("POST", "/flavors", flavor).fault(409, "small")
    demo.call("POST", "/os-keypairs", {"keypair": {"name": "twice"}}, version="2.1")
    demo.call("POST", "/os-keypairs", {"keypair": {"name": "twice"}}, version="2.1").fault(409, "twice")
    assert demo.call("DELETE", "/os-keypairs/twice").status == 204
    host = admin.get("/os-services?host=compute-1")["services"][0]
    admin.call("PUT", f"/os-services/{host['id']}", {}).fault(400)
    admin.call("PUT", f"/os-services/{host['id']}", {"disabled_reason": "x"}).fault(400)
    admin.call("GET", "/os-services/1").fault(404)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"name": "f", "ram": 0, "vcpus": 1, "disk": 1}, "ram"),
        ({"name": "f", "ram": 64, "vcpus": "many", "disk": 1}, "vcpus"),
        ({"name": "f", "ram": 64, "vcpus": 1, "disk": -1}, "disk"),
        ({"name": "f", "ram": 2147483648, "vcpus": 1, "disk": 1}, "ram"),
        ({"ram": 64, "vcpus": 1, "disk": 1}, "name"),
        ({"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "a/b"}, "id"),
        ({"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "rxtx_factor": 1}, "rxtx_factor"),
    ],
)
def test_bad_flavors(admin: Rest, body: dict[str, Any], word: str) -> None:
    admin.call("POST", "/flavors", {"flavor": body}).fault(400, word)
