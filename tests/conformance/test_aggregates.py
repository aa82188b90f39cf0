"""Aggregates and zones as an operator types them, and as users meet them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud
from tests.conformance.conftest import Servers, Site
from tests.support.osc import Typed, typed
from tests.support.rest import Rest


@pytest.fixture(scope="module")
def shell(cloud: Cloud) -> Iterator[Typed]:
    with typed(cloud.state / "clouds.yaml", "protonova-admin") as made:
        yield made


@pytest.fixture
def typing(shell: Typed, admin: Rest) -> Iterator[Typed]:
    yield shell
    for aggregate in admin.get("/os-aggregates")["aggregates"]:
        path = f"/os-aggregates/{aggregate['id']}"
        for host in aggregate["hosts"]:
            admin.call("POST", f"{path}/action", {"remove_host": {"host": host}})
        admin.call("DELETE", path)


def zones(typing: Typed) -> set[str]:
    return {zone["Zone Name"] for zone in typing("availability zone list --compute -f json")}


def members(typing: Typed, uuid: str) -> set[str]:
    rows = typing(f"resource provider list --member-of {uuid} -f json")
    return {row["name"] for row in rows}


def test_the_life_of_an_aggregate(typing: Typed, site: Site, servers: Servers, admin: Rest) -> None:
    made = typing("aggregate create --zone east --property ssd=true fast -f json")
    assert (made["name"], made["availability_zone"]) == ("fast", "east")
    assert "east" not in zones(typing)
    shown = typing("aggregate add host fast compute-2 -f json")
    assert shown["hosts"] == ["compute-2"]
    assert {"east", "nova"} <= zones(typing)
    assert "409" in typing("aggregate add host fast compute-2", code=1)
    assert "404" in typing("aggregate add host fast nowhere", code=1)
    uuid = admin.get(f"/os-aggregates/{made['id']}", version="2.41")["aggregate"]["uuid"]
    wait_for(lambda: members(typing, uuid) == {"compute-2"}, seconds=20, what="the mirror")

    services = typing("compute service list -f json")
    assert {row["Host"]: row["Zone"] for row in services}["compute-2"] == "east"
    shown = typing("hypervisor show compute-2 -f json")
    assert shown["aggregates"] == ["fast"]

    booted = typing(
        f"server create --flavor {site.flavor} --image {site.image} --nic none --availability-zone east"
        " --wait typed-east -f json"
    )
    servers.made.append(booted["id"])
    server = admin.get(f"/servers/{booted['id']}", version="2.96")["server"]
    assert server["OS-EXT-SRV-ATTR:host"] == "compute-2"
    assert (server["OS-EXT-AZ:availability_zone"], server["pinned_availability_zone"]) == ("east", "east")
    refused = typing("aggregate remove host fast compute-2", code=1)
    assert "409" in refused
    assert "servers" in refused
    assert "400" in typing("aggregate set --zone west fast", code=1)
    servers.clean()
    servers.made.clear()

    typing("aggregate set --name faster --property gpu=no fast")
    typing("aggregate unset --property ssd faster")
    shown = typing("aggregate show faster -f json")
    assert (shown["properties"], shown["availability_zone"]) == ({"gpu": "no"}, "east")
    typing("aggregate set --zone west faster")
    assert zones(typing) >= {"west", "nova"}
    typing(f"aggregate cache image faster {site.image}")
    assert "400" in typing("aggregate delete faster", code=1)
    typing("aggregate remove host faster compute-2 -f json")
    wait_for(lambda: not members(typing, uuid), seconds=20, what="the mirror")
    (listed,) = typing("aggregate list --long -f json")
    assert (listed["Name"], listed["Availability Zone"]) == ("faster", "west")
    typing("aggregate delete faster")
    assert typing("aggregate list -f json") == []


def test_zones_in_detail(typing: Typed, admin: Rest, demo: Rest) -> None:
    number = admin.post("/os-aggregates", {"aggregate": {"name": "z", "availability_zone": "z"}})[
        "aggregate"
    ]["id"]
    admin.post(f"/os-aggregates/{number}/action", {"add_host": {"host": "compute-3"}})
    detail: list[dict[str, Any]] = admin.get("/os-availability-zone/detail")["availabilityZoneInfo"]
    assert {zone["zoneName"]: sorted(zone["hosts"]) for zone in detail} == {
        "nova": ["compute-1", "compute-2"],
        "z": ["compute-3"],
    }
    listed = demo.get("/os-availability-zone")["availabilityZoneInfo"]
    assert [zone["zoneName"] for zone in listed] == ["nova", "z"]


def test_servers_of_a_zone(typing: Typed, admin: Rest, demo: Rest, site: Site, servers: Servers) -> None:
    path = "/os-aggregates"
    number = admin.post(path, {"aggregate": {"name": "z", "availability_zone": "z"}})["aggregate"]["id"]
    admin.post(f"{path}/{number}/action", {"add_host": {"host": "compute-3"}})
    for name in ("zoned-1", "zoned-2", "zoned-3"):
        shown = servers.boot(demo, name, availability_zone="z")
        assert shown["OS-EXT-SRV-ATTR:host"] == "compute-3"
    shown = servers.boot(demo, "elsewhere", availability_zone="nova")
    assert (shown["OS-EXT-SRV-ATTR:host"] == "compute-3", shown["OS-EXT-AZ:availability_zone"]) == (
        False,
        "nova",
    )
    body = site.server("nowhere", availability_zone="y")
    assert demo.call("POST", "/servers", body, version="2.104").status == 400
    servers.clean()
    servers.made.clear()
