"""Where the files of one guest are, and what is written down about it there.

A guest of ours has one directory, named by its server id; whatever it holds belongs to the guest and goes
with it. `guest.json` is what the domain definition is built from, so that it can be built anew at any start.
Secrets and metadata are not in it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    FixedIP,
    GuestSpec,
    GuestState,
    ImageSource,
    NicSpec,
    PowerState,
    VolumeDisk,
)

_SECRET = ("documents", "user_data", "admin_password")


@dataclass(frozen=True)
class LocalDisk:
    """A disk that is a file of this host."""

    role: str  # root, ephemeral, swap, config
    file: str  # absolute
    format: str  # QEMU's name
    device: str = "disk"  # or "cdrom"

    @property
    def read_only(self) -> bool:
        return self.device == "cdrom"


@dataclass(frozen=True)
class Layout:
    """A guest as it was set up here."""

    spec: GuestSpec
    disks: tuple[LocalDisk, ...]


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

    @property
    def swap(self) -> Path:
        return self.path / "disk.swap"

    def make(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o711)  # QEMU's user passes through; what is inside it knows by name

    def remove(self) -> None:
        if self.path.exists():
            shutil.rmtree(self.path)

    def save(self, layout: Layout) -> None:
        spec = {k: v for k, v in dataclasses.asdict(layout.spec).items() if k not in _SECRET}
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
        return Layout(_spec(facts["spec"]), tuple(LocalDisk(**disk) for disk in facts["disks"]))

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


def half_made(root: Path, known: set[str]) -> Iterator[GuestState]:
    """The guests that have files below, but are not known to the hypervisor."""
    for path in sorted(root.iterdir()):
        if path.name in known:
            continue
        try:
            yield GuestDirectory(root, path.name).half_made()
        except errors.GuestNotFound:
            continue  # no directory of a guest


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
    return GuestSpec(**facts)


def _address(facts: dict[str, Any]) -> FixedIP:
    return FixedIP(
        **{**facts, "dns": tuple(facts["dns"]), "routes": tuple((a, b) for a, b in facts["routes"])}
    )
