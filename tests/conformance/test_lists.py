"""Lists of servers: what filters, orders and pages hold."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest

NAMES = ["ant", "bee", "cat", "dog"]


@pytest.fixture(scope="module")
def zoo(kept: Servers, demo: Rest, site: Site) -> dict[str, dict[str, Any]]:
    """ant (a port, metadata, key), bee (tags x y, config drive), cat (tag x, stopped), dog (locked)."""
    demo.post("/os-keypairs", {"keypair": {"name": "zoo-key"}}, version="2.1")
    network = [{"uuid": site.network, "fixed_ip": "10.77.8.8"}]
    kept.boot(demo, "ant", networks=network, metadata={"a": "1"}, key_name="zoo-key")
    kept.boot(demo, "bee", tags=["x", "y"], config_drive=True)
    cat = kept.boot(demo, "cat", tags=["x"], hostname="cat-house", description="purrs")
    dog = kept.boot(demo, "dog", availability_zone="nova")
    demo.call("POST", f"/servers/{cat['id']}/action", {"os-stop": None})
    kept.wait(cat["id"], "SHUTOFF")
    demo.call("POST", f"/servers/{dog['id']}/action", {"lock": None})
    demo.call("DELETE", "/os-keypairs/zoo-key")
    return {server["name"]: server for server in demo.get("/servers/detail")["servers"]}


def names(who: Rest, query: str, version: str = "2.104") -> list[str]:
    return [server["name"] for server in who.get(f"/servers?{query}", version=version)["servers"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "ant bee cat dog"),
        ("name=a", "ant cat"),
        ("name=^a", "ant"),
        ("name=%5Ebee%24", "bee"),
        ("status=active", "ant bee dog"),
        ("status=SHUTOFF", "cat"),
        ("status=ACTIVE&status=SHUTOFF", "ant bee cat dog"),
        ("flavor=small", "ant bee cat dog"),
        ("flavor=large", ""),
        ("image={image}", "ant bee cat dog"),
        ("image=5d8a0c3a-3f3b-4d52-9d2c-6ed0f28e6a10", ""),
        ("ip=10.77.8", "ant"),
        ("ip=^10.78", ""),
        ("ip6=::", ""),
        ("tags=x", "bee cat"),
        ("tags=x,y", "bee"),
        ("tags-any=y,z", "bee"),
        ("not-tags=x,y", "ant cat dog"),
        ("not-tags-any=x,y", "ant dog"),
        ("locked=true", "dog"),
        ("locked=false", "ant bee cat"),
        ("key_name=zoo", "ant"),
        ("config_drive=True", "bee"),
        ("hostname=cat-", "cat"),
        ("vm_state=stopped", "cat"),
        ("power_state=4", "cat"),
        ("availability_zone=nova", "ant bee cat dog"),
        ("reservation_id=r-", "ant bee cat dog"),
        ("user_id={user}", "ant bee cat dog"),
        ("name=a&status=ACTIVE", "ant"),
        ("changes-since={before}", "ant bee cat dog"),
        ("changes-since={after}", ""),
        ("changes-before={after}", "ant bee cat dog"),
        ("changes-before={before}", ""),
        # not open to members: passed over
        ("host=nowhere", "ant bee cat dog"),
        ("deleted=true", "ant bee cat dog"),
        ("display_name=ant", "ant bee cat dog"),
        ("tenant_id=nobody", "ant bee cat dog"),
    ],
)
def test_filters(zoo: dict[str, Any], demo: Rest, site: Site, query: str, expected: str) -> None:
    an_hour = timedelta(hours=1)
    now = datetime.now(UTC)
    query = query.format(
        image=site.image,
        user=demo.user_id,
        before=quote((now - an_hour).isoformat()),
        after=quote((now + an_hour).isoformat()),
    )
    found = [name for name in names(demo, f"{query}&sort_key=display_name&sort_dir=asc") if name in zoo]
    assert found == expected.split()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("host={host}", "ant"),
        ("node={host}&name=ant", "ant"),
        ("display_description=purr", "cat"),
        ("uuid={id}", "ant"),
        ("locked_by=owner", "dog"),
        ("project_id={project}", "ant bee cat dog"),
        ("root_device_name=vda&name=bee", "bee"),
        ("launch_index=0&name=bee", "bee"),
    ],
)
def test_filters_of_administrators(
    zoo: dict[str, Any], admin: Rest, demo: Rest, query: str, expected: str
) -> None:
    ant = admin.get(f"/servers/{zoo['ant']['id']}")["server"]
    query = query.format(host=ant["OS-EXT-SRV-ATTR:host"], id=ant["id"], project=demo.project_id)
    found = names(admin, f"{query}&all_tenants=1&sort_key=display_name&sort_dir=asc")
    assert set(expected.split()) <= set(found)
    if "host" not in query:
        assert [name for name in found if name in zoo] == expected.split()


@pytest.mark.parametrize(
    ("query", "version", "word"),
    [
        ("limit=-1", "2.1", "limit"),
        ("limit=many", "2.1", "limit"),
        ("marker=5d8a0c3a-3f3b-4d52-9d2c-6ed0f28e6a10", "2.1", "5d8a0c3a"),
        ("name=*", "2.1", "name"),
        ("status=LOST", "2.38", "LOST"),
        ("changes-since=yesterday", "2.1", "changes-since"),
        ("changes-since=2026-01-02T00:00:00Z&changes-before=2026-01-01T00:00:00Z", "2.66", "changes-since"),
        ("sort_key=mood", "2.1", "sort_key"),
        ("sort_key=uuid&sort_dir=up", "2.1", "sort_dir"),
        ("sort_key=uuid&sort_dir=asc&sort_dir=desc", "2.1", "sort"),
        ("sort_key=vcpus", "2.75", "sort_key"),
        ("colour=blue", "2.75", "colour"),
        ("locked=perhaps", "2.73", "locked"),
        ("metadata=a", "2.1", "metadata"),
    ],
)
def test_bad_queries(demo: Rest, query: str, version: str, word: str) -> None:
    demo.call("GET", f"/servers?{query}", version=version).fault(400, word)


def test_what_older_versions_pass_over(zoo: dict[str, Any], demo: Rest) -> None:
    everything = set(zoo)
    for query, version in (("colour=blue", "2.74"), ("locked=true", "2.72"), ("sort_key=vcpus", "2.74")):
        assert everything <= set(names(demo, query, version))
    assert names(demo, "status=LOST", "2.37") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort_key=display_name&sort_dir=asc", NAMES),
        ("sort_key=display_name", NAMES[::-1]),
        ("sort_key=created_at&sort_dir=asc", NAMES),
        ("sort_key=vm_state&sort_dir=desc&sort_key=display_name&sort_dir=asc", ["cat", "ant", "bee", "dog"]),
        ("", NAMES[::-1]),
    ],
)
def test_order(zoo: dict[str, Any], demo: Rest, query: str, expected: list[str]) -> None:
    assert [name for name in names(demo, query) if name in zoo] == expected


@pytest.mark.parametrize("path", ["/servers", "/servers/detail"])
def test_pages(zoo: dict[str, Any], demo: Rest, path: str) -> None:
    seen: list[str] = []
    query = "limit=3&sort_key=display_name&sort_dir=asc&status=ACTIVE&status=SHUTOFF"
    for _ in range(10):
        page = demo.get(f"{path}?{query}")
        seen += [server["name"] for server in page["servers"]]
        if "servers_links" not in page:
            break
        (following,) = page["servers_links"]
        assert following["rel"] == "next"
        assert urlsplit(following["href"]).path == f"/v2.1{path}"
        query = urlsplit(following["href"]).query
        assert ("limit", "3") in parse_qsl(query)
    assert [name for name in seen if name in zoo] == NAMES
    assert len(seen) == len(set(seen))
    assert demo.get(f"{path}?limit=0")["servers"] == []


def test_projects_are_apart(zoo: dict[str, Any], other: Rest, admin: Rest) -> None:
    assert names(other, "") == []
    assert set(NAMES) <= set(names(admin, "all_tenants=1"))
    assert not set(NAMES) & set(names(admin, ""))
    assert names(admin, f"all_tenants=1&project_id={other.project_id}") == []
    other.call("GET", "/servers?all_tenants=1").fault(403, "os_compute_api:servers:index:get_all_tenants")
    other.call("GET", "/servers?all_tenants=maybe").fault(400, "all_tenants")


def test_what_changed_includes_the_deleted(servers: Servers, demo: Rest, admin: Rest) -> None:
    before = quote(datetime.now(UTC).isoformat())
    server = servers.boot(demo, "mayfly")["id"]
    assert demo.call("DELETE", f"/servers/{server}").status == 204
    servers.gone(server)
    changed = demo.get(f"/servers/detail?changes-since={before}")["servers"]
    (mayfly,) = [entry for entry in changed if entry["id"] == server]
    assert (mayfly["status"], mayfly["OS-EXT-STS:vm_state"]) == ("DELETED", "deleted")
    assert mayfly["OS-SRV-USG:terminated_at"]
    assert server not in [entry["id"] for entry in demo.get("/servers")["servers"]]
    listed = admin.get("/servers?all_tenants=1&deleted=true")["servers"]
    assert server in [entry["id"] for entry in listed]
    demo.call("GET", "/servers?status=DELETED").fault(403)
