"""The files of a guest that goes to another host: read there where they are, written here as they come.

Holes stay holes. The guest's own files come first; the image its root disk stands on comes last, for destinations
that cannot fetch it any more (it was deleted), and is read by those only.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from protonova.services.compute.virt.driver import FilePiece

from . import qemu_img
from .layout import GuestDirectory

BASE = "disk.base"
_PIECE = 1 << 20
# Everything else belongs to the host, or is written anew.
_TRAVELS = ("disk", "disk.eph0", "disk.swap", "disk.config", "disk.base")


def outgoing(directory: GuestDirectory) -> Iterator[FilePiece]:
    for name in _TRAVELS:
        path = directory.path / name
        if path.is_file() and name != BASE:
            yield from _pieces(path, name)
    if base := backing_file(directory.root_disk):
        yield from _pieces(base, BASE)


def incoming(directory: GuestDirectory, pieces: Iterable[FilePiece], *, with_base: bool) -> None:
    """Writes files; each gets its name when it is whole."""
    writer: _Writer | None = None
    with contextlib.ExitStack() as stack:
        for piece in pieces:
            if piece.name not in _TRAVELS or (piece.name == BASE and not with_base):
                break
            if writer is None or writer.name != piece.name:
                if writer is not None:
                    writer.finish()
                writer = stack.enter_context(_Writer(directory.path, piece.name, piece.size))
            writer.write(piece)
        if writer is not None:
            writer.finish()


def backing_file(disk: Path) -> Path | None:
    """What an overlay stands on."""
    if not disk.is_file():
        return None
    found = qemu_img.info(disk, "qcow2").get("full-backing-filename")
    return Path(found) if found else None


class _Writer:
    def __init__(self, directory: Path, name: str, size: int) -> None:
        self.name = name
        self._path = directory / name
        self._part = directory / f"{name}.part"
        self._file = self._part.open("wb")
        self._part.chmod(0o600)
        self._file.truncate(size)

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, piece: FilePiece) -> None:
        self._file.seek(piece.offset)
        self._file.write(piece.data)

    def finish(self) -> None:
        self._file.close()
        self._part.replace(self._path)


def _pieces(path: Path, name: str) -> Iterator[FilePiece]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        # Told even of a file that is nothing but a hole.
        yield FilePiece(name, size, 0, b"")
        for start, end in _data(file.fileno(), size):
            offset = start
            while offset < end:
                data = os.pread(file.fileno(), min(_PIECE, end - offset), offset)
                if not data:
                    break
                yield FilePiece(name, size, offset, data)
                offset += len(data)


def _data(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data; all of it where the file system cannot tell."""
    position = 0
    while position < size:
        try:
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            yield position, size
            return
        yield start, end
        position = end
