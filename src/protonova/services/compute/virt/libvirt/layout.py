"""Where the files of one guest are, and what is written down about it there.

A guest of ours has one directory, named by its server id; whatever it holds belongs to the guest and goes
with it. `guest.json` is what the domain definition is built from, so that it can be built anew at any start.
Secrets and metadata are not in it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from protonova.common.v1.numa_pb2 import GuestTopology
from protonova.common.v1.pci_pb2 import GuestDevices, PciDevice
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    FixedIP,
    GuestSpec,
    GuestState,
    ImageSource,
    NicSpec,
    PowerState,
    ShareMount,
    VolumeDisk,
)

_LABEL = re.compile(r"[A-Za-z0-9-]{1,64}")
_SECRET = ("documents", "user_data", "admin_password")
_APART = ("numa", "devices")  # have files of their own, which are there before the others


@dataclass(frozen=True)
class LocalDisk:
    """A disk that is a file of this host."""

    role: str  # root, ephemeral, swap, config, rescue
    file: str  # absolute
    format: str  # QEMU's name
    device: str = "disk"  # or "cdrom"
    bus: str = ""  # empty: as the image or the machine says
    last: bool = False  # named after all other disks, so that these keep their names

    @property
    def read_only(self) -> bool:
        return self.device == "cdrom"


@dataclass(frozen=True)
class Layout:
    """A guest as it was set up here."""

    spec: GuestSpec
    disks: tuple[LocalDisk, ...]


_TOPOLOGY = "topology.json"
_OWNER = "host"
_ASIDE = "aside"
_PAUSED = "came-paused"
_REBUILT = "rebuilt-for"
_DEVICES = "devices.json"


class GuestDirectory:
    def __init__(self, root: Path, server_id: str) -> None:
        try:
            canonical = str(uuid.UUID(server_id))
        except ValueError:
            raise errors.GuestNotFound(f"{server_id!r} is no server id", server_id=server_id) from None
        self.path = root / canonical

    @property
    def console(self) -> Path:
        return self.path / "console.log"

    @property
    def config_drive(self) -> Path:
        return self.path / "disk.config"

    @property
    def root_disk(self) -> Path:
        return self.path / "disk"

    @property
    def ephemeral(self) -> Path:
        return self.path / "disk.eph0"

    def snapshot(self, snapshot_id: str) -> Path:
        """A copy of the root disk."""
        return self.path / f"snapshot.{uuid.UUID(snapshot_id)}"

    @property
    def swap(self) -> Path:
        return self.path / "disk.swap"

    @property
    def rescue_disk(self) -> Path:
        return self.path / "disk.rescue"

    @property
    def rescue_config(self) -> Path:
        return self.path / "disk.config.rescue"

    def forget_rescue(self) -> None:
        for file in (self.rescue_disk, self.rescue_config):
            file.unlink(missing_ok=True)

    def wipe(self, *, keep_ephemeral: bool) -> None:
        """Removes the disks, to be made anew."""
        self.forget_rescue()
        files = [self.root_disk, self.swap, self.config_drive]
        for file in files if keep_ephemeral else [*files, self.ephemeral]:
            file.unlink(missing_ok=True)

    def rebuilt_for(self) -> str:
        """For whom the disks were wiped last; empty = they never were."""
        try:
            return (self.path / _REBUILT).read_text()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def note_rebuilt_for(self, token: str) -> None:
        draft = self.path / f"{_REBUILT}.part"
        draft.write_text(token)
        draft.replace(self.path / _REBUILT)

    def make(self, owner: str = "") -> None:
        """With the name of the host whose guest it is: hosts may share the directory above."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)  # QEMU's user passes through; what is inside it knows by name
        if owner and self.owner() != owner:
            draft = self.path / f"{_OWNER}.part"
            draft.write_text(owner)
            draft.replace(self.path / _OWNER)

    def owner(self) -> str:
        """Empty where nobody is named."""
        try:
            return (self.path / _OWNER).read_text()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def mark(self) -> str:
        """By which another host recognises the directory as the same; empty when there is no guest in it."""
        try:
            return hashlib.sha256((self.path / "guest.json").read_bytes()).hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return ""

    def keep_paused(self, paused: bool) -> None:
        """Whether the guest that is about to come was paused where it comes from."""
        file = self.path / _PAUSED
        if paused:
            file.touch()
        else:
            file.unlink(missing_ok=True)

    def is_paused(self) -> bool:
        return (self.path / _PAUSED).exists()

    def local_disks(self) -> list[Path]:
        """The files that a guest writes to."""
        return [path for path in (self.root_disk, self.ephemeral, self.swap) if path.exists()]

    def remove(self) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)

    def save(self, layout: Layout) -> None:
        spec = {k: v for k, v in dataclasses.asdict(layout.spec).items() if k not in _SECRET + _APART}
        facts = {"spec": spec, "disks": [dataclasses.asdict(disk) for disk in layout.disks]}
        draft = self.path / "guest.json.part"
        draft.write_text(json.dumps(facts, indent=1))
        draft.chmod(0o600)
        draft.replace(self.path / "guest.json")

    def load(self) -> Layout | None:
        try:
            facts = json.loads((self.path / "guest.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        spec = dataclasses.replace(_spec(facts["spec"]), numa=self.topology(), devices=self.devices())
        return Layout(spec, tuple(LocalDisk(**disk) for disk in facts["disks"]))

    def keep_topology(self, topology: GuestTopology | None) -> None:
        """What the guest was given of the host's CPUs and pages."""
        file = self.path / _TOPOLOGY
        if topology is None:
            file.unlink(missing_ok=True)
            return
        draft = self.path / f"{_TOPOLOGY}.part"
        draft.write_text(json_format.MessageToJson(topology, indent=1))
        draft.replace(file)

    def topology(self) -> GuestTopology | None:
        try:
            return json_format.Parse((self.path / _TOPOLOGY).read_text(), GuestTopology())
        except (FileNotFoundError, NotADirectoryError):
            return None

    def keep_devices(self, devices: Sequence[PciDevice]) -> None:
        """What the guest was given of the host's PCI devices."""
        file = self.path / _DEVICES
        if not devices:
            file.unlink(missing_ok=True)
            return
        draft = self.path / f"{_DEVICES}.part"
        draft.write_text(json_format.MessageToJson(GuestDevices(devices=devices), indent=1))
        draft.replace(file)

    def devices(self) -> tuple[PciDevice, ...]:
        try:
            return tuple(json_format.Parse((self.path / _DEVICES).read_text(), GuestDevices()).devices)
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def half_made(self) -> GuestState:
        """The guest as far as files tell, for one the hypervisor does not know."""
        layout = self.load()
        if layout is None:
            return GuestState(self.path.name, "", PowerState.NOSTATE)
        spec = layout.spec
        return GuestState(spec.server_id, spec.name, PowerState.NOSTATE, spec.vcpus, spec.memory_mb)

    def console_logs(self) -> Iterator[Path]:
        """The console's log and what was rotated away, newest first."""
        yield self.console
        number = 0
        while (rotated := self.path / f"console.log.{number}").exists():
            yield rotated
            number += 1


class Aside(GuestDirectory):
    """What a guest had on a host that it has left, or is about to: its directory under another name."""

    def __init__(self, root: Path, server_id: str, label: str) -> None:
        super().__init__(root, server_id)
        if not _LABEL.fullmatch(label):
            raise errors.GuestNotFound(f"{label!r} is no label", server_id=server_id)
        self.server_id = server_id
        self.label = label
        self.path = root / _ASIDE / f"{self.path.name}.{label}"

    @classmethod
    def all(cls, root: Path) -> list[Aside]:
        found = []
        for path in sorted((root / _ASIDE).glob("*")):
            server_id, _, label = path.name.partition(".")
            found.append(cls(root, server_id, label))
        return found

    def take(self, directory: GuestDirectory) -> None:
        self.path.parent.mkdir(exist_ok=True)
        self.path.parent.chmod(0o711)
        directory.path.rename(self.path)

    def give_back(self, directory: GuestDirectory) -> None:
        self.path.rename(directory.path)


def topologies(root: Path) -> dict[str, GuestTopology]:
    """By server id, of the guests below that have one; what is set aside counts, under a name of its own."""
    found = {}
    for path in sorted(root.glob(f"*/{_TOPOLOGY}")):
        topology = GuestDirectory(root, path.parent.name).topology()
        if topology is not None:
            found[path.parent.name] = topology
    for aside in Aside.all(root):
        if (topology := aside.topology()) is not None:
            found[aside.path.name] = topology
    return found


def devices_held(root: Path) -> dict[str, tuple[PciDevice, ...]]:
    """By server id, of the guests below that have any; what is set aside counts, under a name of its own."""
    found = {
        path.parent.name: GuestDirectory(root, path.parent.name).devices()
        for path in sorted(root.glob(f"*/{_DEVICES}"))
    }
    found.update({aside.path.name: aside.devices() for aside in Aside.all(root)})
    return {server_id: devices for server_id, devices in found.items() if devices}


def half_made(root: Path, known: set[str], host: str) -> Iterator[GuestState]:
    """The guests of a host that have files below, but are not known to the hypervisor."""
    for path in sorted(root.iterdir()):
        if path.name in known:
            continue
        try:
            directory = GuestDirectory(root, path.name)
        except errors.GuestNotFound:
            continue  # no directory of a guest
        if directory.owner() in ("", host):
            yield directory.half_made()


def _spec(facts: dict[str, Any]) -> GuestSpec:
    known = {field.name for field in dataclasses.fields(GuestSpec)}
    facts = {k: v for k, v in facts.items() if k in known}
    if facts.get("image"):
        facts["image"] = ImageSource(**facts["image"])
    facts["nics"] = tuple(
        NicSpec(**{**nic, "fixed_ips": tuple(_address(ip) for ip in nic["fixed_ips"])})
        for nic in facts.get("nics", ())
    )
    facts["disks"] = tuple(VolumeDisk(**disk) for disk in facts.get("disks", ()))
    facts["shares"] = tuple(ShareMount(**share) for share in facts.get("shares", ()))
    return GuestSpec(**facts)


def _address(facts: dict[str, Any]) -> FixedIP:
    return FixedIP(
        **{**facts, "dns": tuple(facts["dns"]), "routes": tuple((a, b) for a, b in facts["routes"])}
    )
