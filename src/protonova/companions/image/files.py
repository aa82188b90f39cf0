"""Image data on disk: `<id>` is whole, `<id>.<upload>.part` is an upload under way. Rows say which count."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

CHUNK = 512 * 1024
HASH = "sha512"
_ZEROS = memoryview(bytes(CHUNK))
_QCOW2 = b"QFI\xfb"


@dataclass(frozen=True)
class Written:
    size: int
    checksum: str
    hash_value: str


class Truncated(Exception):
    """The body ended before the length it announced."""


class ImageFiles:
    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, ident: str) -> Path:
        return self._root / ident

    def part(self, ident: str, upload: str) -> Path:
        return self._root / f"{ident}.{upload}.part"

    def receive(self, ident: str, upload: str, source: IO[bytes], length: int | None) -> Written:
        """Stream to the part file; what was written is on the disk when this returns."""
        checksum, digest = hashlib.md5(usedforsecurity=False), hashlib.new(HASH)
        size = 0
        with self.part(ident, upload).open("wb", buffering=0) as file:
            while chunk := source.read(CHUNK):
                if chunk == _ZEROS[: len(chunk)]:
                    file.seek(len(chunk), os.SEEK_CUR)  # a hole: raw disks are mostly that
                else:
                    file.write(chunk)
                checksum.update(chunk)
                digest.update(chunk)
                size += len(chunk)
            if length is not None and size != length:
                raise Truncated(f"{size} of {length} bytes arrived")
            file.truncate(size)
            os.fsync(file.fileno())
        return Written(size, checksum.hexdigest(), digest.hexdigest())

    def keep(self, ident: str, upload: str) -> None:
        self.part(ident, upload).replace(self.path(ident))

    def drop(self, ident: str) -> None:
        self.path(ident).unlink(missing_ok=True)

    def drop_parts(self) -> None:
        """Remove the uploads of an earlier process; none of them can go on."""
        for part in self._root.glob("*.part"):
            part.unlink(missing_ok=True)

    def virtual_size(self, ident: str, upload: str, disk_format: str | None) -> int | None:
        """The size of the disk inside, where the format tells it simply."""
        path = self.part(ident, upload)
        if disk_format in ("raw", "iso", "ami"):
            return path.stat().st_size
        if disk_format != "qcow2":
            return None
        with path.open("rb") as file:
            header = file.read(32)
        return int.from_bytes(header[24:32], "big") if header[:4] == _QCOW2 and len(header) == 32 else None


def chunks(path: Path, start: int, length: int) -> Iterator[bytes]:
    """A part of a file, which is open from now on: it can be removed without harm to the reader."""
    return _chunks(path.open("rb"), start, length)


def _chunks(opened: IO[bytes], start: int, length: int) -> Iterator[bytes]:
    with opened as file:
        file.seek(start)
        while length > 0 and (chunk := file.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk
