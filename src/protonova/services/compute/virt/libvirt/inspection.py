"""Whether the bytes of an image are what its record says, and harmless, before QEMU ever opens them.

Formats that can name other files (backing files, data files, extents) would let an image read or write files
of the host. So the format is found from the content alone, must be the declared one and no other, and must
pass the checks of that format. QEMU is always told the format and never guesses.
"""

from __future__ import annotations

from typing import BinaryIO

from oslo_utils.imageutils import format_inspector

from protonova.services.compute.virt import errors

QEMU_FORMATS = {
    "raw": "raw",
    "iso": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
"""Disk formats we run, and QEMU's name for each."""

_PLAIN = {"raw", "gpt", "iso"}  # bytes that are the disk itself: nothing in them is interpreted

MAX_VIRTUAL_SIZE = 64 << 40
"""No disk of ours is larger; a header that claims so is meant to hurt."""

_CHUNK = 1 << 20


def declared(disk_format: str, container_format: str) -> str:
    """QEMU's name of a declared format, or `ImageUnacceptable`."""
    if container_format not in ("", "bare"):
        raise errors.ImageUnacceptable(f"images in a container ({container_format}) are not run here")
    if disk_format not in QEMU_FORMATS:
        raise errors.ImageUnacceptable(f"images of format {disk_format or '(none)'} are not run here")
    return QEMU_FORMATS[disk_format]


class Inspection:
    """Is fed the image from its first byte to its last, and then judges."""

    def __init__(self, disk_format: str) -> None:
        self.disk_format = disk_format
        self._inspectors = [kind() for kind in format_inspector.ALL_FORMATS.values()]
        self._broken: set[format_inspector.FileInspector] = set()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        self._size += len(chunk)
        for inspector in self._inspectors:
            if inspector in self._broken:
                continue
            try:
                inspector.eat_chunk(chunk)
            except Exception as error:
                self._broken.add(inspector)
                if self.disk_format == inspector.NAME:
                    raise errors.ImageUnacceptable(
                        f"the image is not valid {self.disk_format}: {error}"
                    ) from error

    def verdict(self) -> int:
        """The virtual size in bytes of an image that may be used, else `ImageUnacceptable`."""
        for inspector in self._inspectors:
            if inspector not in self._broken:
                inspector.finish()
        found = {i.NAME: i for i in self._inspectors if i not in self._broken and _matches(i)}
        found.pop("raw", None)
        if self.disk_format == "raw":
            wrong, size = set(found) - _PLAIN, self._size
        elif self.disk_format == "iso":
            wrong, size = set(found) - _PLAIN, self._size
            if "iso" not in found:
                raise errors.ImageUnacceptable("the image is declared as iso, its content is not")
        else:
            wrong = set(found) - {self.disk_format}
            if self.disk_format not in found:
                raise errors.ImageUnacceptable(
                    f"the image is declared as {self.disk_format}, its content is "
                    f"{' and '.join(sorted(found)) or 'raw'}"
                )
            size = self._safe_size(found[self.disk_format])
        if wrong:
            raise errors.ImageUnacceptable(
                f"the image is declared as {self.disk_format}, its content is {' and '.join(sorted(wrong))}"
            )
        if not 0 < size <= MAX_VIRTUAL_SIZE:
            raise errors.ImageUnacceptable(f"the image claims a disk of {size} bytes")
        return size

    @staticmethod
    def _safe_size(inspector: format_inspector.FileInspector) -> int:
        try:
            inspector.safety_check()
            return int(inspector.virtual_size)
        except format_inspector.SafetyCheckFailed as error:
            reasons = "; ".join(str(failure) for failure in error.failures.values())
            raise errors.ImageUnacceptable(f"the {inspector.NAME} image is not safe: {reasons}") from error
        except Exception as error:
            raise errors.ImageUnacceptable(f"the {inspector.NAME} image cannot be judged: {error}") from error


def _matches(inspector: format_inspector.FileInspector) -> bool:
    try:
        return bool(inspector.format_match)
    except Exception:  # noqa: BLE001 - what cannot be parsed is not of that format
        return False


def inspect(file: BinaryIO, disk_format: str) -> int:
    """Judge a whole file; its virtual size."""
    inspection = Inspection(disk_format)
    while chunk := file.read(_CHUNK):
        inspection.feed(chunk)
    return inspection.verdict()
