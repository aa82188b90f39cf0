"""A whole cloud with libvirt under it, and the life of one real guest as its user sees it.

One test of many stages, because an emulated boot takes seconds: each stage hands the guest on to the next.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud, running
from tests.support.guest_image import guest_image
from tests.support.rest import Rest

pytestmark = [pytest.mark.libvirt, pytest.mark.timeout(280)]
URI = os.environ.get("PROTONOVA_TEST_LIBVIRT_URI", "qemu:///system")

_PASSING = ("BUILD", "ACTIVE", "SHUTOFF", "REBOOT", "HARD_REBOOT", "SHELVED", "SHELVED_OFFLOADED")


@dataclass
class Scene:
    cloud: Cloud
    admin: Rest
    user: Rest
    image: str
    network: str
    server: str = ""

    def shown(self) -> dict[str, Any]:
        return self.admin.get(f"/servers/{self.server}")["server"]

    def act(self, action: str, value: Any = None) -> None:
        answer = self.user.call("POST", f"/servers/{self.server}/action", {action: value})
        assert answer.status == 202, answer.content

    def wait(self, status: str) -> dict[str, Any]:
        def there() -> Any:
            server = self.shown()
            assert server["status"] in (status, *_PASSING), server
            return server if server["status"] == status and not server["OS-EXT-STS:task_state"] else None

        return wait_for(there, seconds=60, every=0.1, what=f"server {status}")

    def console(self) -> str:
        body = {"os-getConsoleOutput": {}}
        return self.user.post(f"/servers/{self.server}/action", body)["output"]

    def heard(self, pattern: str) -> re.Match[str]:
        """Waits for a line on the console."""
        return wait_for(
            lambda: re.search(pattern, self.console()),
            seconds=90,
            every=0.25,
            what=f"{pattern} on the console",
        )

    def domain_state(self) -> str:
        virsh = ["virsh", "-q", "-c", URI, "domstate", self.server]
        done = subprocess.run(virsh, text=True, capture_output=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def virsh(self, command: str, *options: str) -> None:
        """As somebody does it who has not heard of us."""
        virsh = ["virsh", "-q", "-c", URI, command, self.server, *options]
        subprocess.run(virsh, check=True, capture_output=True)

    def files(self) -> list[Path]:
        return [path for path in self.cloud.state.rglob("*") if self.server in path.name]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    if os.geteuid() != 0:
        pytest.skip("bridges and consoles need root")
    image_file = guest_image()
    # Guests of another cloud may be on the same hypervisor, with the names that clouds give by default.
    names = f"[DEFAULT]\ninstance_name_template = real-{secrets.token_hex(3)}-%08x\n"
    keep = bool(os.environ.get("CONFORMANCE_KEEP"))
    with running("sqlite", driver="libvirt", config=names, keep=keep) as cloud:
        admin, user = (Rest.of(cloud.state, name) for name in ("protonova-admin", "protonova"))
        image = {"name": "tiny", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
        image_id = admin.post("/images", image, prefix="/image/v2")["id"]
        stream = {"Content-Type": "application/octet-stream"}
        path = f"/images/{image_id}/file"
        answer = admin.call("PUT", path, prefix="/image/v2", data=image_file.read_bytes(), headers=stream)
        assert answer.status == 204
        flavor = {"id": "tiny", "name": "m1.tiny", "ram": 192, "vcpus": 1, "disk": 1}
        admin.post("/flavors", {"flavor": flavor})
        network = user.post("/networks", {"network": {"name": "lane"}}, prefix="/network/v2.0")["network"][
            "id"
        ]
        subnet = {"network_id": network, "ip_version": 4, "cidr": "10.211.7.0/24"}
        user.post("/subnets", {"subnet": subnet}, prefix="/network/v2.0")
        found = Scene(cloud, admin, user, image_id, network)
        try:
            yield found
        finally:
            if found.server:
                admin.call("DELETE", f"/servers/{found.server}")
                wait_for(lambda: not found.domain_state(), seconds=60, what="guest gone")


def boot(scene: Scene) -> None:
    key = scene.user.post("/os-keypairs", {"keypair": {"name": "guest-key"}}, version="2.1")["keypair"]
    assert "PRIVATE KEY" in key["private_key"]
    body = {
        "name": "real-guest",
        "flavorRef": "tiny",
        "imageRef": scene.image,
        "networks": [{"uuid": scene.network}],
        "key_name": "guest-key",
        "config_drive": True,
        "user_data": base64.b64encode(b"#!/bin/sh\necho words of the user\n").decode(),
    }
    scene.server = scene.user.post("/servers", {"server": body})["server"]["id"]
    server = scene.wait("ACTIVE")
    assert server["OS-EXT-STS:power_state"] == 1
    assert server["OS-EXT-SRV-ATTR:root_device_name"] == "/dev/vda"
    assert scene.domain_state() == "running"


def it_speaks(scene: Scene) -> None:
    scene.heard(r"tiny-init: finished after")
    console = scene.console()
    assert re.search(r"tiny-init: boot 1 .* cpus 1 ", console)
    assert re.search(r"tiny-init: hostname real-guest\S* keys 1", console)
    assert "words of the user" in console
    last = scene.user.post(f"/servers/{scene.server}/action", {"os-getConsoleOutput": {"length": 3}})[
        "output"
    ]
    assert len(last.splitlines()) == 3


def it_has_its_address(scene: Scene) -> None:
    (address,) = scene.shown()["addresses"]["lane"]
    told = scene.heard(r"tiny-init: \S+ (\S+) dhcp ([\d.]+)/24")
    assert told.groups() == (address["OS-EXT-IPS-MAC:mac_addr"], address["addr"])
    (port,) = scene.admin.get(f"/ports?device_id={scene.server}", prefix="/network/v2.0")["ports"]
    assert port["status"] == "ACTIVE"


def an_image_of_it_boots(scene: Scene) -> None:
    """Made while the guest runs, of what it has written by then."""
    body = {"createImage": {"name": "copy", "metadata": {"colour": "red"}}}
    image = scene.user.post(f"/servers/{scene.server}/action", body, version="2.45")["image_id"]
    made = wait_for(
        lambda: _if(scene.user.get(f"/images/{image}", prefix="/image/v2"), status="active"),
        seconds=60,
        every=0.1,
        what="the image",
    )
    assert (made["colour"], made["instance_uuid"], made["disk_format"]) == ("red", scene.server, "qcow2")
    assert made["size"] > 1 << 20
    scene.wait("ACTIVE")
    body = {"name": "copied", "flavorRef": "tiny", "imageRef": image, "networks": "none"}
    copied = replace(
        scene, server=scene.user.post("/servers", {"server": body}, version="2.37")["server"]["id"]
    )
    copied.wait("ACTIVE")
    # The count of boots is on the disk.
    copied.heard(r"tiny-init: boot 2 ")
    assert scene.user.call("DELETE", f"/servers/{copied.server}").status == 204
    wait_for(lambda: not copied.domain_state(), seconds=60, what="guest gone")
    path = f"/servers/{copied.server}"
    wait_for(lambda: scene.user.call("GET", path).status == 404, seconds=60, what="server gone")
    assert scene.user.call("DELETE", f"/images/{image}", prefix="/image/v2").status == 204


def _if(found: dict[str, Any], **wanted: Any) -> dict[str, Any] | None:
    return found if wanted.items() <= found.items() else None


def it_is_counted(scene: Scene) -> None:
    (host,) = scene.admin.get("/os-hypervisors/detail", version="2.87")["hypervisors"]
    assert (host["hypervisor_type"], host["running_vms"], host["memory_mb_used"]) == ("QEMU", 1, 192)
    assert host["vcpus"] == os.cpu_count()
    shown = scene.admin.get(f"/os-hypervisors/{host['id']}", version="2.88")["hypervisor"]
    assert " up " in shown["uptime"]


def stop_and_start(scene: Scene) -> None:
    scene.act("os-stop")
    server = scene.wait("SHUTOFF")
    assert server["OS-EXT-STS:power_state"] == 4
    assert scene.domain_state() == "shut off"
    scene.act("os-start")
    scene.wait("ACTIVE")
    scene.heard(r"tiny-init: boot 2 ")
    scene.heard(r"tiny-init: finished after")


def reboot(scene: Scene) -> None:
    scene.act("reboot", {"type": "SOFT"})
    scene.wait("ACTIVE")
    scene.heard(r"tiny-init: boot 3 ")
    scene.act("reboot", {"type": "HARD"})
    scene.wait("ACTIVE")
    scene.heard(r"tiny-init: boot \d ")


def shelve_and_unshelve(scene: Scene) -> None:
    """Nothing of it is on the host in between, but its address stays its own."""
    (address,) = scene.shown()["addresses"]["lane"]
    scene.act("shelve")
    shelved = scene.wait("SHELVED_OFFLOADED")
    assert shelved["OS-EXT-SRV-ATTR:host"] is None
    assert scene.domain_state() == ""
    assert scene.files() == []
    scene.act("unshelve")
    assert scene.wait("ACTIVE")["addresses"]["lane"] == [address]
    # The count of boots is on the disk it was kept as.
    scene.heard(r"tiny-init: boot [4-9] ")
    scene.heard(r"tiny-init: finished after")
    images = scene.user.get(f"/images?instance_uuid={scene.server}", prefix="/image/v2")["images"]
    assert images == []


def what_happens_beside_us_is_seen(scene: Scene) -> None:
    """What was cut off is stopped, and what is stopped is kept off."""
    scene.virsh("destroy")
    scene.wait("SHUTOFF")
    # A guest that stands still is not asked to shut down, and so not waited for.
    scene.virsh("start", "--paused")
    wait_for(lambda: scene.domain_state() == "shut off", seconds=60, what="a stopped server's guest off")
    scene.wait("SHUTOFF")
    actions = scene.user.get(f"/servers/{scene.server}/os-instance-actions")["instanceActions"]
    done = [
        "stop",
        "stop",
        "unshelve",
        "shelve",
        "reboot",
        "reboot",
        "start",
        "stop",
        "createImage",
        "create",
    ]
    assert [entry["action"] for entry in actions][-10:] == done


def delete(scene: Scene) -> None:
    assert scene.files()
    assert scene.user.call("DELETE", f"/servers/{scene.server}").status == 204
    wait_for(
        lambda: scene.admin.call("GET", f"/servers/{scene.server}").status == 404,
        seconds=60,
        what="server gone",
    )
    assert scene.domain_state() == ""
    assert scene.files() == []
    assert scene.admin.get(f"/ports?device_id={scene.server}", prefix="/network/v2.0")["ports"] == []
    version = {"OpenStack-API-Version": "placement 1.39"}
    left = scene.admin.get(f"/allocations/{scene.server}", prefix="/placement", headers=version)
    assert left["allocations"] == {}


STAGES = (
    boot,
    it_speaks,
    it_has_its_address,
    an_image_of_it_boots,
    it_is_counted,
    stop_and_start,
    reboot,
    shelve_and_unshelve,
    what_happens_beside_us_is_seen,
    delete,
)


def test_a_real_guest(scene: Scene) -> None:
    for stage in STAGES:
        started = time.monotonic()
        stage(scene)
        print(f"{stage.__name__}: {time.monotonic() - started:.1f} s")
