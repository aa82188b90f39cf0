"""Shares of guests: each is mounted on this host, in a directory of its own for each guest, and handed to the guest
by virtiofs.

The kernel's table of mounts is the truth about what is mounted. The directories lie apart from those of the guests,
and nothing below them is ever removed but empty directories: whatever is in them belongs to a share.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import ShareMount

LOG = logging.getLogger(__name__)

# A share is what others write, too: nothing in it gets rights on this host.
_OPTIONS = "nosuid,nodev"
# Where QEMU tells of the daemons that serve its devices (interop/vhost-user.json of QEMU).
_DAEMONS = ("/etc/qemu/vhost-user", "/usr/share/qemu/vhost-user")
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mounts:
    def __init__(self, root: Path, timeout: float) -> None:
        self._root = root
        # Seconds for one mount.
        self._timeout = timeout

    def path(self, server_id: str, share_id: str) -> Path:
        return self._root / _plain(server_id) / _plain(share_id)

    def mount(self, server_id: str, shares: Iterable[ShareMount]) -> None:
        """All of them; those that are mounted stay so. Raises `ShareUnavailable`."""
        shares = tuple(shares)
        mounted = _mounted() if shares else set()
        for share in shares:
            path = self.path(server_id, share.share_id)
            if path in mounted:
                continue
            try:
                # What guests write there is no affair of this host's users.
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
                path.mkdir(parents=True, exist_ok=True)
                self._run(command(share, path))
            except (OSError, subprocess.SubprocessError) as error:
                raise errors.ShareUnavailable(
                    f"share {share.share_id} at {share.export_location} cannot be mounted: {_said(error)}",
                    share_id=share.share_id,
                ) from error

    def unmount(self, server_id: str, share_id: str = "") -> None:
        """One share of a guest, or all. Those that are not mounted are fine; one whose server does not answer any
        more is let go of, and is gone once nothing uses it."""
        directory = self._root / _plain(server_id)
        if not directory.exists():
            return
        paths = [self.path(server_id, share_id)] if share_id else sorted(directory.iterdir())
        mounted = _mounted()
        for path in paths:
            if path in mounted:
                try:
                    self._run(["umount", str(path)])
                except (OSError, subprocess.SubprocessError) as error:
                    LOG.warning("%s is let go of, for it cannot be unmounted: %s", path, _said(error))
                    self._lazily(path)
            _remove_empty(path)
        _remove_empty(directory)

    def _lazily(self, path: Path) -> None:
        try:
            self._run(["umount", "--lazy", str(path)])
        except (OSError, subprocess.SubprocessError) as error:
            raise errors.DriverError(f"{path} cannot be unmounted: {_said(error)}") from error

    def _run(self, words: list[str]) -> None:
        subprocess.run(
            words, check=True, capture_output=True, timeout=self._timeout, stdin=subprocess.DEVNULL
        )


def command(share: ShareMount, path: Path) -> list[str]:
    """How a share is mounted. `LOCAL` is a directory of this very machine. Raises `ShareUnavailable`."""
    if share.protocol == "NFS":
        return ["mount", "-t", "nfs", "-o", _OPTIONS, "--", share.export_location, str(path)]
    if share.protocol == "LOCAL" and share.export_location.startswith("/"):
        return ["mount", "-o", f"bind,{_OPTIONS}", "--", share.export_location, str(path)]
    raise errors.ShareUnavailable(
        f"share {share.share_id} at {share.export_location} of protocol {share.protocol} cannot be mounted here",
        share_id=share.share_id,
    )


def element(share: ShareMount, path: Path) -> ET.Element:
    """The file system as a guest's definition has it."""
    found = ET.Element("filesystem", type="mount", accessmode="passthrough")
    ET.SubElement(found, "driver", type="virtiofs")
    ET.SubElement(found, "source", dir=str(path))
    ET.SubElement(found, "target", dir=share.tag)
    return found


def share_memory(root: ET.Element) -> None:
    """The daemon that serves a file system reads and writes the guest's memory itself."""
    backing = root.find("memoryBacking")
    if backing is None:
        backing = ET.SubElement(root, "memoryBacking")
    ET.SubElement(backing, "source", type="memfd")
    ET.SubElement(backing, "access", mode="shared")


def is_virtiofs_offered(capabilities: ET.Element) -> bool:
    """Whether the host's hypervisor gives guests file systems and the memory they need, and a daemon is there to
    serve them."""
    drivers = {
        value.text for value in capabilities.findall("devices/filesystem/enum[@name='driverType']/value")
    }
    return "virtiofs" in drivers and is_memory_shared(capabilities) and any(_daemons())


def is_memory_shared(capabilities: ET.Element) -> bool:
    sources = {value.text for value in capabilities.findall("memoryBacking/enum[@name='sourceType']/value")}
    return "memfd" in sources


def protocols() -> tuple[str, ...]:
    """What can be mounted here, by us."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return ()
    return ("LOCAL", "NFS") if shutil.which("mount.nfs") else ("LOCAL",)


def _daemons() -> Iterator[str]:
    for directory in map(Path, _DAEMONS):
        for file in sorted(directory.glob("*.json")):
            try:
                told = json.loads(file.read_text())
            except (OSError, ValueError):
                continue
            if told.get("type") == "fs" and os.access(told.get("binary", ""), os.X_OK):
                yield told["binary"]


def _mounted() -> set[Path]:
    """Everything that something is mounted on."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return {Path(_ESCAPED.sub(lambda m: chr(int(m[1], 8)), line.split(" ")[4])) for line in lines}


def _plain(id_: str) -> str:
    """Ids name directories, and lead to no others."""
    try:
        return str(uuid.UUID(id_))
    except ValueError:
        raise errors.GuestNotFound(f"{id_!r} is no id") from None


def _remove_empty(path: Path) -> None:
    try:
        path.rmdir()
    except OSError:
        return  # it is gone, or holds something


def _said(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        return error.stderr.decode(errors="replace").strip() or f"status {error.returncode}"
    return str(error)
