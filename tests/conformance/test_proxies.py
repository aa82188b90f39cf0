"""What clients of 2.35 and before ask of the Compute API and is other services'."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.client import wait_for
from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest

NOWHERE = "00000000-0000-0000-0000-000000000000"
VERSION = {"version": "2.35"}


def test_networks(demo: Rest, site: Site) -> None:
    for path, cidr in (("/os-networks", None), ("/os-tenant-networks", "None")):
        listed = demo.get(path, **VERSION)["networks"]
        (shared,) = [one for one in listed if one["id"] == site.network]
        assert (shared["label"], shared["cidr"]) == ("shared-net", cidr)
        assert demo.get(f"{path}/{site.network}", **VERSION)["network"] == shared
        demo.call("GET", f"{path}/{NOWHERE}", **VERSION).fault(404)
        demo.call("GET", path, version="2.36").fault(404)


@pytest.fixture(scope="module")
def pool(admin: Rest) -> str:
    network = {"name": "typed-pool", "router:external": True}
    made = admin.post("/networks", {"network": network}, prefix="/network/v2.0")["network"]["id"]
    subnet = {"network_id": made, "ip_version": 4, "cidr": "198.51.100.0/24"}
    admin.post("/subnets", {"subnet": subnet}, prefix="/network/v2.0")
    return "typed-pool"


def test_floating_addresses(demo: Rest, other: Rest, pool: str) -> None:
    assert {"name": pool} in demo.get("/os-floating-ip-pools", **VERSION)["floating_ip_pools"]
    made = demo.post("/os-floating-ips", {"pool": pool}, **VERSION)["floating_ip"]
    assert made["ip"].startswith("198.51.100.")
    assert (made["pool"], made["instance_id"], made["fixed_ip"]) == (pool, None, None)
    assert made in demo.get("/os-floating-ips", **VERSION)["floating_ips"]
    path = f"/os-floating-ips/{made['id']}"
    assert demo.get(path, **VERSION)["floating_ip"] == made
    other.call("GET", path, **VERSION).fault(404)
    demo.call("POST", "/os-floating-ips", {"pool": "none"}, **VERSION).fault(404)
    assert demo.call("DELETE", path, **VERSION).status == 202
    demo.call("DELETE", path, **VERSION).fault(404)


def test_security_groups(demo: Rest, other: Rest) -> None:
    wanted = {"name": "proxied", "description": "by the old way"}
    made = demo.post("/os-security-groups", {"security_group": wanted}, **VERSION)["security_group"]
    assert (made["name"], made["tenant_id"], made["rules"]) == ("proxied", demo.project_id, [])
    path = f"/os-security-groups/{made['id']}"
    rule: dict[str, Any] = {
        "parent_group_id": made["id"],
        "ip_protocol": "tcp",
        "from_port": "22",
        "to_port": 22,
    }
    let_in = demo.post("/os-security-group-rules", {"security_group_rule": rule}, **VERSION)
    let_in = let_in["security_group_rule"]
    assert (let_in["from_port"], let_in["ip_range"], let_in["group"]) == (22, {"cidr": "0.0.0.0/0"}, {})
    assert demo.get(path, **VERSION)["security_group"]["rules"] == [let_in]
    members = {**rule, "ip_protocol": "icmp", "from_port": -1, "to_port": -1, "group_id": made["id"]}
    from_members = demo.post("/os-security-group-rules", {"security_group_rule": members}, **VERSION)
    shown = from_members["security_group_rule"]
    assert (shown["group"]["name"], shown["from_port"], shown["ip_range"]) == ("proxied", -1, {})
    for broken in ({"ip_protocol": "sctp"}, {"from_port": 23}, {"to_port": 70000}, {"from_port": "x"}):
        body = {"security_group_rule": {**rule, **broken}}
        demo.call("POST", "/os-security-group-rules", body, **VERSION).fault(400)
    demo.call("POST", "/os-security-group-rules", {"security_group_rule": rule}, **VERSION).fault(400)
    assert demo.call("DELETE", f"/os-security-group-rules/{let_in['id']}", **VERSION).status == 202
    demo.call("DELETE", f"/os-security-group-rules/{let_in['id']}", **VERSION).fault(404)
    for blank in ("", "  "):
        body = {"security_group": {"name": blank, "description": ""}}
        demo.call("PUT", path, body, **VERSION).fault(400)
    spaced = {"security_group": {"name": " to and fro ", "description": " "}}
    shown = demo.call("PUT", path, spaced, **VERSION).json["security_group"]
    assert (shown["name"], shown["description"]) == (" to and fro ", " ")
    renamed = {"name": "again", "description": ""}
    assert (
        demo.call("PUT", path, {"security_group": renamed}, **VERSION).json["security_group"]["name"]
        == "again"
    )
    listed = demo.get("/os-security-groups", **VERSION)["security_groups"]
    assert {"default", "again"} <= {group["name"] for group in listed}
    assert demo.get("/os-security-groups?limit=1&offset=1", **VERSION)["security_groups"] == listed[1:2]
    other.call("GET", path, **VERSION).fault(404)
    assert demo.call("DELETE", path, **VERSION).status == 202
    demo.call("DELETE", path, **VERSION).fault(404)


def test_volumes_and_snapshots(demo: Rest, other: Rest, reader: Rest, servers: Servers) -> None:
    body = {"size": "1", "display_name": "proxied", "metadata": {"k": "v"}}
    answer = demo.call("POST", "/os-volumes", {"volume": body}, **VERSION)
    made = answer.json["volume"]
    assert answer.headers["Location"].endswith(f"/os-volumes/{made['id']}")
    path = f"/os-volumes/{made['id']}"

    def status(wanted: str, where: str = path, kind: str = "volume") -> None:
        wait_for(
            lambda: demo.get(where, **VERSION)[kind]["status"] == wanted, seconds=30, every=0.05, what=wanted
        )

    status("available")
    shown = demo.get(path, **VERSION)["volume"]
    assert (shown["displayName"], shown["size"], shown["metadata"]) == ("proxied", 1, {"k": "v"})
    assert shown["attachments"] == [{}]
    assert shown in demo.get("/os-volumes/detail", **VERSION)["volumes"]
    server = servers.boot(demo, "proxied")["id"]
    attach = {"volumeAttachment": {"volumeId": made["id"]}}
    demo.post(f"/servers/{server}/os-volume_attachments", attach, **VERSION)
    status("in-use")
    (attached,) = demo.get(path, **VERSION)["volume"]["attachments"]
    assert (attached["serverId"], attached["volumeId"]) == (server, made["id"])
    demo.call("DELETE", path, **VERSION).fault(400)

    wanted = {"volume_id": made["id"], "display_name": "shot", "force": True}
    snapshot = demo.post("/os-snapshots", {"snapshot": wanted}, **VERSION)["snapshot"]
    its_path = f"/os-snapshots/{snapshot['id']}"
    status("available", its_path, "snapshot")
    assert snapshot["id"] in {one["id"] for one in demo.get("/os-snapshots", **VERSION)["snapshots"]}
    assert demo.call("DELETE", its_path, **VERSION).status == 202
    wait_for(
        lambda: demo.call("GET", its_path, **VERSION).status == 404,
        seconds=30,
        every=0.05,
        what="snapshot gone",
    )
    demo.call("DELETE", f"/servers/{server}/os-volume_attachments/{made['id']}", **VERSION)
    status("available")
    other.call("GET", path, **VERSION).fault(404)
    reader.call("POST", "/os-volumes", {"volume": body}, **VERSION).fault(403)
    assert demo.call("DELETE", path, **VERSION).status == 202


def test_images(demo: Rest, other: Rest, site: Site) -> None:
    made = demo.post("/images", {"name": "proxied", "os_distro": "none"}, prefix="/image/v2")["id"]
    path = f"/images/{made}"
    shown = demo.get(path, **VERSION)["image"]
    assert (shown["name"], shown["status"], shown["progress"]) == ("proxied", "SAVING", 25)
    assert shown["metadata"] == {"os_distro": "none"}
    assert [link["rel"] for link in shown["links"]] == ["self", "bookmark", "alternate"]
    other.call("GET", path, **VERSION).fault(404)
    listed = demo.get("/images", **VERSION)["images"]
    assert {site.image, made} <= {image["id"] for image in listed}
    (first,) = demo.get("/images/detail?limit=1", **VERSION)["images"]
    assert first["id"] == listed[0]["id"]
    paged = demo.get(f"/images?limit=1&marker={listed[0]['id']}", **VERSION)
    assert [image["id"] for image in paged["images"]] == [listed[1]["id"]]
    assert "marker=" in paged["images_links"][0]["href"]
    assert [one["id"] for one in demo.get("/images?name=proxied", **VERSION)["images"]] == [made]
    assert made not in {one["id"] for one in demo.get("/images?status=ACTIVE", **VERSION)["images"]}
    demo.call("GET", "/images?minRam=x", **VERSION).fault(400)
    demo.call("GET", "/images", version="2.36").fault(404)

    items = f"{path}/metadata"
    added = demo.call("POST", items, {"metadata": {"k": "v"}}, version="2.38").json["metadata"]
    assert added == {"os_distro": "none", "k": "v"}
    assert demo.call("PUT", f"{items}/k", {"meta": {"k": "w"}}, version="2.38").json == {"meta": {"k": "w"}}
    assert demo.get(f"{items}/k", version="2.38") == {"meta": {"k": "w"}}
    demo.call("PUT", f"{items}/k", {"meta": {"j": "w"}}, version="2.38").fault(400)
    demo.call("POST", items, {"metadata": {"status": "active"}}, version="2.38").fault(400)
    replaced = demo.call("PUT", items, {"metadata": {"a": "b"}}, version="2.38").json
    assert replaced == {"metadata": {"a": "b"}} == demo.get(items, version="2.38")
    assert demo.call("DELETE", f"{items}/a", version="2.38").status == 204
    demo.call("DELETE", f"{items}/a", version="2.38").fault(404)
    demo.call("GET", items, version="2.39").fault(404)
    assert demo.call("DELETE", path, **VERSION).status == 204
    demo.call("GET", path, **VERSION).fault(404)
