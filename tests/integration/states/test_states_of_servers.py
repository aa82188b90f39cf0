"""Everything that is done to servers where they are, on a whole cloud of simulated guests, as users see it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud, running
from tests.support.rest import Rest

pytestmark = pytest.mark.timeout(180)

CONFIG = """
[DEFAULT]
reclaim_instance_interval = 3600
"""


class Scene:
    def __init__(self, cloud: Cloud) -> None:
        self.admin = Rest.of(cloud.state, "protonova-admin")
        self.user = Rest.of(cloud.state, "protonova")
        self.image, self.other = self.make_image("first"), self.make_image("second")
        stable = {"hw_rescue_bus": "virtio", "hw_rescue_device": "disk"}
        self.rescue_image = self.make_image("rescue", **stable)
        made = {"name": "f", "ram": 512, "vcpus": 1, "disk": 1}
        self.flavor = self.admin.post("/flavors", {"flavor": made})["flavor"]["id"]

    def make_image(self, name: str, **properties: str) -> str:
        image = {"name": name, "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        made: str = self.admin.post("/images", {**image, **properties}, prefix="/image/v2")["id"]
        sent = self.admin.call(
            "PUT",
            f"/images/{made}/file",
            prefix="/image/v2",
            data=b"\0" * 4096,
            headers={"Content-Type": "application/octet-stream"},
        )
        assert sent.status == 204
        return made

    def boot(self, *, on_volume: bool = False) -> str:
        server: dict[str, Any] = {"name": "s", "flavorRef": self.flavor, "networks": "none"}
        if on_volume:
            device = {"source_type": "image", "uuid": self.image, "destination_type": "volume"}
            server["block_device_mapping_v2"] = [{**device, "volume_size": 1, "boot_index": 0}]
        else:
            server["imageRef"] = self.image
        made: str = self.user.post("/servers", {"server": server})["server"]["id"]
        self.wait(made, "ACTIVE")
        return made

    def act(self, server: str, action: str, value: Any = None, *, expect: int = 202, **rest: Any) -> Any:
        answer = self.user.call("POST", f"/servers/{server}/action", {action: value}, **rest)
        assert answer.status == expect, answer.content
        return answer.json

    def wait(self, server: str, status: str) -> dict[str, Any]:
        def there() -> Any:
            shown = self.admin.get(f"/servers/{server}")["server"]
            idle = shown["OS-EXT-STS:task_state"] is None
            return shown if idle and shown["status"] == status else None

        return wait_for(there, seconds=30, every=0.05, what=f"server {server} {status}")

    def console(self, server: str) -> str:
        return str(self.act(server, "os-getConsoleOutput", {}, expect=200)["output"])

    def used(self) -> int:
        return int(self.user.get("/limits")["limits"]["absolute"]["totalInstancesUsed"])

    def actions(self, server: str) -> list[str]:
        listed = self.user.get(f"/servers/{server}/os-instance-actions")["instanceActions"]
        assert all(action["message"] is None for action in listed), listed
        return [action["action"] for action in listed]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with running("sqlite", computes=1, config=CONFIG) as cloud:
        yield Scene(cloud)


def test_a_server_goes_through_its_states(scene: Scene) -> None:
    server = scene.boot()
    for there, status, back in (("pause", "PAUSED", "unpause"), ("suspend", "SUSPENDED", "resume")):
        scene.act(server, there)
        scene.wait(server, status)
        scene.act(server, there, expect=409)
        scene.act(server, back)
        scene.wait(server, "ACTIVE")
    told = scene.admin.get(f"/servers/{server}/diagnostics")
    assert (told["state"], told["num_cpus"]) == ("running", 1)
    scene.act(server, "trigger_crash_dump")
    scene.act(server, "changePassword", {"adminPass": "secret"})
    assert scene.user.get(f"/servers/{server}/os-server-password") == {"password": ""}
    assert scene.user.call("DELETE", f"/servers/{server}/os-server-password").status == 204

    assert scene.act(server, "rescue", {"adminPass": "p"}, expect=200) == {"adminPass": "p"}
    scene.wait(server, "RESCUE")
    assert f"rescue from image {scene.image}" in scene.console(server)
    scene.act(server, "unrescue")
    scene.wait(server, "ACTIVE")

    script = base64.b64encode(b"x").decode()
    body = {"imageRef": scene.other, "name": "anew", "user_data": script, "description": "d"}
    told = scene.act(server, "rebuild", body)["server"]
    assert (told["status"], told["image"]["id"], len(told["adminPass"])) == ("REBUILD", scene.other, 12)
    shown = scene.wait(server, "ACTIVE")
    assert (shown["name"], shown["description"], shown["image"]["id"]) == ("anew", "d", scene.other)
    assert f"root disk of image {scene.other}" in scene.console(server)

    scene.act(server, "lock")
    for action in ("pause", "suspend", "rescue", "trigger_crash_dump"):
        scene.act(server, action, expect=409)
    scene.act(server, "unlock")

    reset = {"os-resetState": {"state": "error"}}
    assert scene.admin.call("POST", f"/servers/{server}/action", reset).status == 202
    assert scene.admin.get(f"/servers/{server}")["server"]["status"] == "ERROR"
    scene.act(server, "rebuild", {"imageRef": scene.image})
    scene.wait(server, "ACTIVE")
    assert set(scene.actions(server)) >= {
        "pause",
        "unpause",
        "suspend",
        "resume",
        "rescue",
        "unrescue",
        "rebuild",
        "changePassword",
        "trigger_crash_dump",
        "resetState",
    }


def test_a_stopped_server_is_rebuilt_and_stays_stopped(scene: Scene) -> None:
    server = scene.boot()
    scene.act(server, "os-stop")
    scene.wait(server, "SHUTOFF")
    scene.act(server, "rebuild", {"imageRef": scene.image})
    assert scene.wait(server, "SHUTOFF")["OS-EXT-STS:power_state"] == 4


def test_a_server_on_a_volume(scene: Scene) -> None:
    server = scene.boot(on_volume=True)
    scene.act(server, "rescue", expect=400, version="2.86")
    scene.act(server, "rescue", {"rescue_image_ref": scene.other}, expect=400)
    scene.act(server, "rescue", {"rescue_image_ref": scene.rescue_image}, expect=200)
    scene.wait(server, "RESCUE")
    scene.act(server, "unrescue")
    volume = scene.wait(server, "ACTIVE")["os-extended-volumes:volumes_attached"][0]["id"]

    scene.act(server, "rebuild", {"imageRef": scene.other}, expect=400, version="2.92")
    scene.act(server, "rebuild", {"imageRef": scene.image}, version="2.92")
    scene.wait(server, "ACTIVE")
    scene.act(server, "rebuild", {"imageRef": scene.other})
    shown = scene.wait(server, "ACTIVE")
    assert shown["image"] == ""
    assert shown["os-extended-volumes:volumes_attached"][0]["id"] == volume
    prefix = f"/volume/v3/{scene.admin.project_id}"
    kept = scene.admin.get(f"/volumes/{volume}", prefix=prefix)["volume"]
    assert (kept["status"], kept["volume_image_metadata"]["image_id"]) == ("in-use", scene.other)
    assert [one["server_id"] for one in kept["attachments"]] == [server]


def test_a_deletion_with_a_way_back(scene: Scene) -> None:
    server = scene.boot()
    before = scene.used()
    assert scene.user.call("DELETE", f"/servers/{server}").status == 204
    scene.wait(server, "SOFT_DELETED")
    assert scene.used() == before - 1
    assert server not in {one["id"] for one in scene.user.get("/servers")["servers"]}
    scene.act(server, "restore")
    scene.wait(server, "ACTIVE")
    assert scene.used() == before
    assert scene.user.call("DELETE", f"/servers/{server}").status == 204
    scene.wait(server, "SOFT_DELETED")
    scene.act(server, "forceDelete")
    wait_for(
        lambda: scene.admin.call("GET", f"/servers/{server}").status == 404,
        seconds=30,
        every=0.05,
        what="the end of a server",
    )
    assert scene.used() == before - 1
