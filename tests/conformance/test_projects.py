"""Who sees and may do what: two projects, three roles."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest


@pytest.fixture(scope="module")
def server(kept: Servers, demo: Rest) -> str:
    return kept.boot(demo, "private")["id"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PUT", "", {"server": {"name": "mine"}}),
        ("DELETE", "", None),
        ("POST", "/action", {"os-stop": None}),
        ("POST", "/action", {"reboot": {"type": "HARD"}}),
        ("POST", "/action", {"lock": None}),
        ("POST", "/action", {"os-getConsoleOutput": {}}),
        ("GET", "/metadata", None),
        ("POST", "/metadata", {"metadata": {"a": "b"}}),
        ("GET", "/tags", None),
        ("PUT", "/tags/x", None),
        ("GET", "/ips", None),
        ("GET", "/os-instance-actions", None),
    ],
)
def test_servers_of_others_are_not_there(
    server: str, other: Rest, demo: Rest, method: str, path: str, body: Any
) -> None:
    other.call(method, f"/servers/{server}{path}", body).fault(404)
    shown = demo.get(f"/servers/{server}")["server"]
    assert (shown["status"], shown["name"], shown["tags"]) == ("ACTIVE", "private", [])


LOOKS = [
    ("GET", "/servers", None, 200),
    ("GET", "/servers/detail", None, 200),
    ("GET", "/servers/{server}", None, 200),
    ("GET", "/servers/{server}/metadata", None, 200),
    ("GET", "/servers/{server}/tags", None, 200),
    ("GET", "/servers/{server}/ips", None, 200),
    ("GET", "/servers/{server}/os-instance-actions", None, 200),
    ("GET", "/flavors/detail", None, 200),
    ("GET", "/os-keypairs", None, 200),
    ("GET", "/limits", None, 200),
    ("GET", "/os-availability-zone", None, 200),
]
CHANGES = [
    ("PUT", "/servers/{server}", {"server": {"name": "private"}}, 200),
    ("PUT", "/servers/{server}/metadata", {"metadata": {}}, 200),
    ("PUT", "/servers/{server}/tags", {"tags": []}, 200),
    ("POST", "/servers/{server}/action", {"lock": None}, 202),
    ("POST", "/servers/{server}/action", {"unlock": None}, 202),
    ("POST", "/servers/{server}/action", {"os-getConsoleOutput": {}}, 200),
]
OPERATES = [
    ("GET", "/os-services", None, 200),
    ("GET", "/os-hypervisors", None, 200),
    ("GET", "/os-hypervisors/detail", None, 200),
    ("GET", "/os-availability-zone/detail", None, 200),
    ("GET", "/os-aggregates", None, 200),
    ("GET", "/servers?all_tenants=1", None, 200),
    ("GET", "/flavors/small/os-flavor-access", None, 404),
    ("PUT", "/os-quota-sets/{project}", {"quota_set": {}}, 200),
    ("POST", "/flavors", {"flavor": {"id": "small", "name": "x", "ram": 1, "vcpus": 1, "disk": 0}}, 409),
    ("POST", "/flavors/small/os-extra_specs", {"extra_specs": {}}, 200),
    ("DELETE", "/flavors/none", None, 404),
]


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        ("reader", LOOKS),
        ("demo", LOOKS + CHANGES),
        ("admin", LOOKS + CHANGES + OPERATES),
    ],
)
def test_roles(
    request: pytest.FixtureRequest,
    server: str,
    demo: Rest,
    who: str,
    allowed: list[tuple[str, str, Any, int]],
) -> None:
    caller: Rest = request.getfixturevalue(who)
    for method, path, body, code in LOOKS + CHANGES + OPERATES:
        expected = code if (method, path, body, code) in allowed else 403
        where = path.format(server=server, project=demo.project_id)
        answer = caller.call(method, where, body)
        assert answer.status == expected, (who, method, path, answer.content)
        if expected == 403:
            answer.fault(403, "Policy doesn't allow")


def test_readers_create_nothing(reader: Rest, site: Site) -> None:
    reader.call("POST", "/servers", site.server("no")).fault(403, "os_compute_api:servers:create")


def test_private_flavors(admin: Rest, demo: Rest, other: Rest, site: Site) -> None:
    flavor = {"name": "c1.private", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    made = admin.post("/flavors", {"flavor": flavor})["flavor"]["id"]
    demo.call("GET", f"/flavors/{made}").fault(404)
    demo.call("POST", "/servers", site.server("no", flavorRef=made)).fault(400, made)
    access = {"addTenantAccess": {"tenant": demo.project_id}}
    granted = admin.post(f"/flavors/{made}/action", access)["flavor_access"]
    assert granted == [{"flavor_id": made, "tenant_id": demo.project_id}]
    admin.call("POST", f"/flavors/{made}/action", access).fault(409)
    assert demo.get(f"/flavors/{made}")["flavor"]["name"] == "c1.private"
    assert made in [flavor["id"] for flavor in demo.get("/flavors")["flavors"]]
    assert made not in [flavor["id"] for flavor in other.get("/flavors")["flavors"]]
    admin.post(f"/flavors/{made}/action", {"removeTenantAccess": {"tenant": demo.project_id}})
    demo.call("GET", f"/flavors/{made}").fault(404)
    assert admin.call("DELETE", f"/flavors/{made}").status == 202


def test_key_pairs_are_their_users(demo: Rest, other: Rest, admin: Rest) -> None:
    demo.post("/os-keypairs", {"keypair": {"name": "own"}}, version="2.1")
    other.call("GET", "/os-keypairs/own").fault(404)
    other.call("GET", f"/os-keypairs/own?user_id={demo.user_id}").fault(403)
    assert admin.get(f"/os-keypairs/own?user_id={demo.user_id}")["keypair"]["name"] == "own"
    assert demo.call("DELETE", "/os-keypairs/own").status == 204


def test_images_of_others_cannot_be_booted(demo: Rest, other: Rest, site: Site) -> None:
    image = {"name": "own", "disk_format": "raw", "container_format": "bare"}
    made = demo.post("/images", image, prefix="/image/v2")["id"]
    other.call("POST", "/servers", site.server("no", imageRef=made)).fault(400, made)
    demo.call("POST", "/servers", site.server("no", imageRef=made)).fault(400, made)  # nothing uploaded yet
    assert demo.call("DELETE", f"/images/{made}", prefix="/image/v2").status == 204
