"""What a new cloud is filled with so that a first server can be booted: flavors, an image, a network, a key.

Everything is looked up by its name first, so that a second run changes nothing and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protonova.cli import blank_image
from protonova.cli.credentials import write_private
from protonova.cli.layout import StateDirectory
from protonova.cli.rest import Rest

# id, name, vCPUs, MiB of memory, GiB of disk; the ids are the ones people know from other clouds
FLAVORS = [
    ("42", "m1.nano", 1, 128, 1),
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2048, 20),
    ("3", "m1.medium", 2, 4096, 40),
    ("4", "m1.large", 4, 8192, 80),
    ("5", "m1.xlarge", 8, 16384, 160),
]
IMAGE = "tiny"
NETWORK = "private"
CIDR = "10.87.0.0/24"
KEY = "first-key"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Seeds:
    """Ids of what a first server is made from."""

    flavor: str
    image: str
    network: str
    key: str


class Seeder:
    """Fills the cloud as its administrator; the key belongs to the member who will use it."""

    def __init__(self, state: StateDirectory, admin: Rest, member: Rest, say: Say) -> None:
        self.state = state
        self.admin = admin
        self.member = member
        self.say = say

    def seed(self, image: Path | None = None) -> Seeds:
        """``image`` None = an empty disk."""
        flavors = self._flavors()
        return Seeds(flavors["m1.nano"], self._image(image), self._network(), self._key())

    def _flavors(self) -> dict[str, str]:
        there = self.admin.get("compute", "/flavors", is_public="none")["flavors"]
        found = {flavor["name"]: flavor["id"] for flavor in there}
        for flavor_id, name, vcpus, ram, disk in FLAVORS:
            if name not in found:
                body = {"flavor": {"id": flavor_id, "name": name, "vcpus": vcpus, "ram": ram, "disk": disk}}
                found[name] = self.admin.post("compute", "/flavors", body)["flavor"]["id"]
                self.say(f"flavor {name}")
        return found

    def _image(self, source: Path | None) -> str:
        there = self.admin.get("image", "/images", name=IMAGE)["images"]
        for image in there:
            if image["status"] == "active":
                return str(image["id"])
            self.admin.call("DELETE", "image", f"/images/{image['id']}")
        described = {
            "name": IMAGE,
            "disk_format": "qcow2",
            "container_format": "bare",
            "visibility": "public",
            "min_ram": 0,
            "min_disk": 0,
        }
        made = self.admin.post("image", "/images", described)["id"]
        path = f"/images/{made}/file"
        if source is None:
            self.admin.call("PUT", "image", path, blank_image.qcow2())
        else:
            with source.open("rb") as content:
                length = {"Content-Length": str(source.stat().st_size)}
                self.admin.call("PUT", "image", path, content, length)
        self.say(f"image {IMAGE}" + ("" if source else " (an empty disk: guests are simulated)"))
        return str(made)

    def _network(self) -> str:
        there = self.admin.get("network", "/networks", name=NETWORK)["networks"]
        if there:
            network = there[0]
        else:
            body: dict[str, Any] = {"network": {"name": NETWORK, "shared": True}}
            network = self.admin.post("network", "/networks", body)["network"]
            self.say(f"network {NETWORK}")
        if not network["subnets"]:
            body = {"subnet": {"network_id": network["id"], "name": NETWORK, "ip_version": 4, "cidr": CIDR}}
            self.admin.post("network", "/subnets", body)
            self.say(f"subnet {CIDR}")
        return str(network["id"])

    def _key(self) -> str:
        there = self.member.get("compute", "/os-keypairs")["keypairs"]
        if KEY not in [entry["keypair"]["name"] for entry in there]:
            # From 2.92 on the service makes no keys; before, it does, and hands out the private half once.
            version = {"OpenStack-API-Version": "compute 2.91"}
            body = {"keypair": {"name": KEY, "type": "ssh"}}
            made = self.member.call("POST", "compute", "/os-keypairs", body, version)["keypair"]
            write_private(self.state.key, made["private_key"])
            self.say(f"key pair {KEY}, private half in {self.state.key}")
        return KEY
