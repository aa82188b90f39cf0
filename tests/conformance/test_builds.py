"""What can become of a request for servers, besides servers."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from benchmarks.client import wait_for
from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest


def allocations(admin: Rest, server_id: str) -> dict[str, Any]:
    return admin.get(
        f"/allocations/{server_id}",
        prefix="/placement",
        headers={"OpenStack-API-Version": "placement 1.39"},
    )["allocations"]


def ports(admin: Rest, server_id: str) -> list[Any]:
    return admin.get(f"/ports?device_id={server_id}", prefix="/network/v2.0")["ports"]


def test_a_server_takes_what_its_flavor_says(servers: Servers, demo: Rest, admin: Rest) -> None:
    server = servers.boot(demo, "measured")
    ((provider, taken),) = allocations(admin, server["id"]).items()
    assert taken["resources"] == {"VCPU": 1, "MEMORY_MB": 64, "DISK_GB": 1}
    (host,) = admin.get(f"/os-hypervisors?hypervisor_hostname_pattern={server['OS-EXT-SRV-ATTR:host']}")[
        "hypervisors"
    ]
    assert provider == host["id"]
    assert demo.call("DELETE", f"/servers/{server['id']}").status == 204
    servers.gone(server["id"])
    assert allocations(admin, server["id"]) == {}


def test_deleted_while_it_is_built(servers: Servers, demo: Rest, admin: Rest, site: Site) -> None:
    server = servers.create(demo, "slow-one", networks=[{"uuid": site.network}])
    wait_for(
        lambda: demo.get(f"/servers/{server}")["server"]["OS-EXT-STS:task_state"] == "spawning",
        seconds=20,
        what="spawning",
    )
    assert demo.get(f"/servers/{server}")["server"]["status"] == "BUILD"
    for action, word in (({"os-stop": None}, "building"), ({"reboot": {"type": "HARD"}}, "reboot")):
        demo.call("POST", f"/servers/{server}/action", action).fault(409, word)
    assert demo.call("DELETE", f"/servers/{server}").status == 204
    assert demo.call("DELETE", f"/servers/{server}").status in (204, 404)
    servers.gone(server)
    assert allocations(admin, server) == {}
    assert ports(admin, server) == []


def test_a_host_that_refuses_gives_way(servers: Servers, demo: Rest, admin: Rest, site: Site) -> None:
    server = servers.boot(demo, "rescued-one", networks=[{"uuid": site.network}])
    assert server["OS-EXT-SRV-ATTR:host"] == "compute-3"
    assert len(allocations(admin, server["id"])) == 1
    assert len(ports(admin, server["id"])) == 1


def test_no_host_takes_it(servers: Servers, demo: Rest, admin: Rest, site: Site) -> None:
    server = servers.create(demo, "unlucky-one", networks=[{"uuid": site.network}])
    failed = servers.wait(server, "ERROR")
    assert failed["fault"]["message"].startswith("No valid host was found.")
    assert failed["OS-EXT-STS:vm_state"] == "error"
    assert failed["OS-EXT-SRV-ATTR:host"] is None
    assert failed["hostId"] == ""
    assert allocations(admin, server) == {}
    assert ports(admin, server) == []
    action = demo.get(f"/servers/{server}/os-instance-actions")["instanceActions"][-1]
    assert (action["action"], action["message"]) == ("create", "Error")
    assert demo.call("DELETE", f"/servers/{server}").status == 204
    servers.gone(server)


def test_no_host_is_large_enough(servers: Servers, demo: Rest, admin: Rest) -> None:
    flavor = {"name": "c1.huge", "ram": 64, "vcpus": 1, "disk": 9_000_000}
    huge = admin.post("/flavors", {"flavor": flavor})["flavor"]["id"]
    server = servers.create(demo, "too-large", flavorRef=huge, networks="none")
    failed = servers.wait(server, "ERROR")
    assert failed["fault"]["message"].startswith("No valid host was found.")
    assert failed["fault"]["code"] == 500
    assert "details" not in demo.get(f"/servers/{server}")["server"]["fault"]
    assert admin.call("DELETE", f"/flavors/{huge}").status == 202
    assert demo.get(f"/servers/{server}")["server"]["flavor"]["original_name"] == "c1.huge"


def test_asked_for_by_host(servers: Servers, demo: Rest, admin: Rest, site: Site) -> None:
    for name, value in (
        ("availability_zone", "nova:compute-2"),
        ("host", "compute-2"),
        ("hypervisor_hostname", "compute-2"),
    ):
        wanted = {name: value}
        assert servers.boot(admin, "placed", **wanted)["OS-EXT-SRV-ATTR:host"] == "compute-2"
        demo.call("POST", "/servers", site.server("placed", **wanted)).fault(403)
    admin.call("POST", "/servers", site.server("placed", host="nowhere")).fault(400, "nowhere")


def test_a_disabled_host_gets_nothing(servers: Servers, demo: Rest, admin: Rest) -> None:
    services = admin.get("/os-services?binary=nova-compute")["services"]
    left = [service for service in services if service["host"] != "compute-1"]
    try:
        for service in left:
            body = {"status": "disabled", "disabled_reason": "maintenance"}
            assert admin.call("PUT", f"/os-services/{service['id']}", body).status == 200

        def booted() -> str:
            host: str = servers.boot(demo, "crowded")["OS-EXT-SRV-ATTR:host"]
            return host

        # The news may be a second on their way to the scheduler, or as long as a busy machine takes.
        wait_for(lambda: booted() == "compute-1", seconds=30, what="the scheduler to know")
        assert [booted() for _ in range(3)] == ["compute-1"] * 3
    finally:
        for service in left:
            admin.call("PUT", f"/os-services/{service['id']}", {"status": "enabled"})


def test_asked_twice_done_once(servers: Servers, demo: Rest, site: Site) -> None:
    key = {"Idempotency-Key": str(uuid.uuid4())}
    body = site.server("once")
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: demo.call("POST", "/servers", body, headers=key), range(4)))
    assert {answer.status for answer in answers} <= {202, 409}
    made = {answer.json["server"]["id"] for answer in answers if answer.status == 202}
    assert len(made) == 1
    servers.made += made
    again = demo.call("POST", "/servers", body, headers=key)
    assert again.status == 202
    assert again.json["server"]["id"] in made
    assert len(demo.get("/servers?name=^once$")["servers"]) == 1
    changed = demo.call("POST", "/servers", site.server("twice"), headers=key)
    changed.fault(changed.status)
    assert changed.status in (400, 409, 422)


def test_quota(servers: Servers, other: Rest, admin: Rest, site: Site) -> None:
    path = f"/os-quota-sets/{other.project_id}"
    tiny = {"quota_set": {"instances": 2, "cores": 5, "ram": 1000}}
    assert admin.call("PUT", path, tiny).status == 200
    fault = other.call("POST", "/servers", site.server("much", min_count=3)).fault(403, "instances")
    assert "2" in fault
    first = servers.boot(other, "one")["id"]
    several = other.post(
        "/servers", site.server("rest", min_count=1, max_count=5, return_reservation_id=True)
    )
    found = other.get(f"/servers?reservation_id={several['reservation_id']}")["servers"]
    assert len(found) == 1  # as many as the quota lets
    servers.made.append(found[0]["id"])
    other.call("POST", "/servers", site.server("more")).fault(403, "instances")
    limits = other.get("/limits")["limits"]["absolute"]
    assert (limits["totalInstancesUsed"], limits["totalCoresUsed"], limits["totalRAMUsed"]) == (2, 2, 128)
    servers.wait(found[0]["id"])
    assert other.call("DELETE", f"/servers/{first}").status == 204
    servers.gone(first)
    servers.boot(other, "again")
    used = admin.get(f"{path}/detail")["quota_set"]["instances"]
    assert (used["in_use"], used["limit"]) == (2, 2)
    admin.call("PUT", path, {"quota_set": {"instances": 1}}).fault(400, "instances")
    assert admin.call("PUT", path, {"quota_set": {"instances": 1, "force": True}}).status == 200
    assert admin.call("DELETE", path).status == 202
    assert admin.get(path)["quota_set"]["instances"] == 40


def test_metadata_quota(servers: Servers, other: Rest, admin: Rest, site: Site) -> None:
    path = f"/os-quota-sets/{other.project_id}"
    assert admin.call("PUT", path, {"quota_set": {"metadata_items": 1}}).status == 200
    two = {"a": "1", "b": "2"}
    other.call("POST", "/servers", site.server("wordy", metadata=two)).fault(403)
    server = servers.boot(other, "terse", metadata={"a": "1"})["id"]
    other.call("POST", f"/servers/{server}/metadata", {"metadata": {"b": "2"}}).fault(403)
    assert other.call("PUT", f"/servers/{server}/metadata", {"metadata": {"c": "3"}}).status == 200
    assert admin.call("DELETE", path).status == 202


@pytest.mark.parametrize("kind", ["HARD", "SOFT"])
def test_reboot_says_what_goes_on(servers: Servers, demo: Rest, kind: str) -> None:
    server = servers.boot(demo, "restless")["id"]
    answer = demo.call("POST", f"/servers/{server}/action", {"reboot": {"type": kind}})
    assert (answer.status, answer.content) == (202, b"")
    shown = servers.wait(server)
    assert shown["status"] == "ACTIVE"


def test_what_is_made_for_a_user_is_the_users(servers: Servers, demo: Rest, site: Site) -> None:
    """Volumes and snapshots, also those that another server is then made of; nobody has to be an administrator."""
    root = {
        "source_type": "image",
        "uuid": site.image,
        "destination_type": "volume",
        "volume_size": 1,
        "boot_index": 0,
        "delete_on_termination": True,
    }
    first = servers.boot(demo, "on-a-volume", imageRef="", block_device_mapping_v2=[root])
    (volume,) = (device["id"] for device in first["os-extended-volumes:volumes_attached"])
    mine = demo.get("/volumes", prefix="/volume/v3")["volumes"]
    assert volume in {one["id"] for one in mine}

    asked = {"createImage": {"name": "of-a-volume"}}
    image = demo.post(f"/servers/{first['id']}/action", asked)["image_id"]

    def is_there() -> Any:
        return demo.get(f"/images/{image}", prefix="/image/v2")["status"] == "active"

    wait_for(is_there, seconds=20, what="the image")
    (snapshot,) = demo.get(f"/snapshots?volume_id={volume}", prefix="/volume/v3")["snapshots"]
    second = servers.boot(demo, "of-a-snapshot", imageRef=image)
    (copy,) = (device["id"] for device in second["os-extended-volumes:volumes_attached"])
    shown = demo.get(f"/volumes/{copy}", prefix="/volume/v3")["volume"]
    assert shown["snapshot_id"] == snapshot["id"]

    assert demo.call("DELETE", f"/servers/{first['id']}").status == 204
    servers.gone(first["id"])
    # A volume of which there is a snapshot cannot be deleted: it stays, and its server does not stay for it.
    assert demo.get(f"/volumes/{volume}", prefix="/volume/v3")["volume"]["status"] == "available"
