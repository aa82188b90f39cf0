"""Volumes and snapshots on disk: sparse raw files. `<id>` is whole, `<id>.part` is being made. A volume whose
content was moved has a link to the file that has it now: guests know that file by its own name."""

import os
import shutil
import subprocess
from pathlib import Path

GIB = 1024**3
_PIECE = 16 * 1024 * 1024
_PLAIN = ("raw", "iso", "ami", "ari", "aki")
_CONVERSION_SECONDS = 3600


class NotMade(Exception):
    """Why a volume could not be made; shown to nobody but the log."""


class VolumeFiles:
    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def path(self, ident: str) -> Path:
        return self._root / f"volume-{ident}"

    def snapshot(self, ident: str) -> Path:
        return self._root / f"snapshot-{ident}"

    def drop_parts(self) -> None:
        """Remove what an earlier process was making; it is made again from its beginning."""
        for part in self._root.glob("*.part"):
            part.unlink(missing_ok=True)

    def blank(self, ident: str, size: int) -> None:
        with self._part(self.path(ident)).open("wb") as file:
            file.truncate(size * GIB)
        self._keep(self.path(ident))

    def copy(self, source: Path, target: Path, size: int) -> None:
        part = self._part(target)
        copy_sparse(source, part)
        self._grow(part, size)
        self._keep(target)

    def from_image(self, ident: str, image: Path, disk_format: str, size: int) -> None:
        part = self._part(self.path(ident))
        if disk_format in _PLAIN:
            copy_sparse(image, part)
        elif disk_format == "qcow2":
            _convert(image, part)
        else:
            raise NotMade(f"an image in format {disk_format} cannot be written to a volume")
        self._grow(part, size)
        self._keep(self.path(ident))

    def as_qcow2(self, ident: str) -> Path:
        """A copy to be uploaded, in a file of its own that the caller removes."""
        target = self._part(self._root / f"upload-{ident}")
        _qemu_img("-f", "raw", "-O", "qcow2", str(self.path(ident)), str(target))
        return target

    def extend(self, ident: str, size: int) -> None:
        os.truncate(self.path(ident), size * GIB)

    def take_over(self, ident: str, other: str) -> None:
        """The volume has from now on what the other one had."""
        path, content = self.path(ident), self.path(other).resolve()
        former = path.resolve() if path.is_symlink() else None
        link = self._part(path)
        link.unlink(missing_ok=True)
        link.symlink_to(content.name)
        link.replace(path)
        if former is not None and former != content:
            former.unlink(missing_ok=True)

    def drop(self, path: Path) -> None:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    @staticmethod
    def _part(path: Path) -> Path:
        return path.with_name(f"{path.name}.part")

    def _keep(self, path: Path) -> None:
        self._part(path).replace(path.resolve())

    @staticmethod
    def _grow(path: Path, size: int) -> None:
        if path.stat().st_size > size * GIB:
            raise NotMade(f"the source has more than {size} GiB")
        os.truncate(path, size * GIB)


def copy_sparse(source: Path, target: Path) -> None:
    """Copy the data and leave the holes; the kernel shares blocks where the file system can."""
    with source.open("rb") as reader, target.open("wb") as writer:
        end = os.fstat(reader.fileno()).st_size
        at = 0
        while at < end:
            try:
                at = os.lseek(reader.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # only holes are left
            hole = os.lseek(reader.fileno(), at, os.SEEK_HOLE)
            while at < hole:
                copied = os.copy_file_range(reader.fileno(), writer.fileno(), min(hole - at, _PIECE), at, at)
                if not copied:
                    break
                at += copied
        writer.truncate(end)


def _convert(image: Path, target: Path) -> None:
    """qcow2 to raw, by qemu-img. An image that leads to other files is refused: it was made by a user."""
    with image.open("rb") as file:
        header = file.read(80)
    if header[:4] != b"QFI\xfb" or len(header) < 72:
        raise NotMade("the image is not qcow2, as it says")
    version = int.from_bytes(header[4:8], "big")
    backing = int.from_bytes(header[8:16], "big")
    features = int.from_bytes(header[72:80], "big") if version >= 3 else 0
    if backing or features & 4:
        raise NotMade("the image leads to another file")
    _qemu_img("-f", "qcow2", "-O", "raw", str(image), str(target))


def converts() -> bool:
    """Whether other formats than raw can be read and written here."""
    return shutil.which("qemu-img") is not None


def _qemu_img(*arguments: str) -> None:
    program = shutil.which("qemu-img")
    if program is None:
        raise NotMade("qemu-img is not installed, so nothing can be converted")
    command = [program, "convert", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_CONVERSION_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise NotMade("qemu-img took too long") from error
    if done.returncode:
        raise NotMade(f"qemu-img ended with {done.returncode}")
