"""Images on this host: fetched once, checked, and kept as the read-only bases of root disks.

The cache owns its directory. A base is there if and only if its record (`ID.json`) is: the record is written
last, everything before happens under a name of its own. One fetch at a time for an image, also between
processes; who waits for it gets the base the other made.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import Cancelled, ImageFetch, ImageSource, never

from . import qemu_img
from .inspection import Inspection, declared

LOG = logging.getLogger(__name__)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Base:
    """A file root disks stand on."""

    image_id: str
    path: Path
    format: str  # QEMU's name: "qcow2" or "raw"
    virtual_size: int  # bytes


class ImageCache:
    def __init__(
        self, directory: Path, fetch: ImageFetch, *, max_bytes: int = 0, force_raw: bool = False
    ) -> None:
        self._directory = directory
        self._fetch = fetch
        self._max_bytes = max_bytes
        self._force_raw = force_raw

    def has(self, image: ImageSource) -> bool:
        """Whether the base made from an image is here."""
        return bool(_ID.fullmatch(image.id)) and self._known(image) is not None

    def get(
        self,
        image: ImageSource,
        progress: Callable[[float], None] = lambda _share: None,
        cancelled: Cancelled = never,
    ) -> Base:
        """The base made from an image, fetched if this host has none."""
        if not _ID.fullmatch(image.id):
            raise errors.ImageUnacceptable(f"{image.id!r} is not the id of an image")
        source_format = declared(image.disk_format, image.container_format)
        base = self._known(image)
        if base is not None:
            self._used(image.id)
            return base
        self._directory.mkdir(parents=True, exist_ok=True)
        with self._only_one(image.id, cancelled):
            return self._known(image) or self._make(image, source_format, progress, cancelled)

    def bases(self) -> list[Base]:
        """All that are here."""
        found = (self._read(path) for path in sorted(self._directory.glob("*.json")))
        return [base for base, _ in filter(None, found)]

    def forget(self, base: Base, before: float) -> bool:
        """Removes a base, unless it was asked for since `before` (seconds since the epoch); whether it did."""
        record = self._record(base.image_id)
        with self._only_one(base.image_id, never):
            try:
                if record.stat().st_mtime > before:
                    return False
            except FileNotFoundError:
                return False
            # Without its record it is not there, whatever becomes of the rest.
            record.unlink()
            base.path.unlink(missing_ok=True)
            return True

    def _record(self, image_id: str) -> Path:
        return self._directory / f"{image_id}.json"

    def _used(self, image_id: str) -> None:
        """The time of the record is that of the last use."""
        with contextlib.suppress(FileNotFoundError):
            os.utime(self._record(image_id))

    def _read(self, record: Path) -> tuple[Base, dict[str, Any]] | None:
        try:
            facts: dict[str, Any] = json.loads(record.read_text())
            path = self._directory / facts["file"]
            return Base(record.stem, path, facts["format"], facts["virtual_size"]), facts
        except (OSError, ValueError, KeyError):
            return None

    def _known(self, image: ImageSource) -> Base | None:
        found = self._read(self._record(image.id))
        if found is None:
            return None
        base, facts = found
        try:
            same = base.path.stat().st_size == facts["bytes"] and facts["declared"] == image.disk_format
        except (OSError, KeyError):
            return None
        return base if same and facts["checksum"] == image.checksum else None

    def _make(
        self,
        image: ImageSource,
        source_format: str,
        progress: Callable[[float], None],
        cancelled: Cancelled,
    ) -> Base:
        part = self._directory / f"{image.id}.part"
        converted = self._directory / f"{image.id}.converted"
        try:
            virtual_size = self._download(image, part, progress, cancelled)
            target_format = "raw" if self._force_raw else "qcow2"
            # Raw stays raw: it is as good a base, and copying it would gain nothing.
            if source_format in ("raw", target_format):
                ready, target_format = part, source_format
            else:
                qemu_img.convert(part, source_format, converted, target_format)
                ready = converted
            facts = qemu_img.info(ready, target_format)
            if facts.get("backing-filename") or _data_file(facts):
                raise errors.ImageUnacceptable("the image names other files")
            if source_format == target_format == "qcow2" and facts["virtual-size"] != virtual_size:
                raise errors.ImageUnacceptable("the size of the image depends on who reads it")
            return self._keep(image, ready, target_format, facts["virtual-size"])
        finally:
            part.unlink(missing_ok=True)
            converted.unlink(missing_ok=True)

    def _download(
        self, image: ImageSource, part: Path, progress: Callable[[float], None], cancelled: Cancelled
    ) -> int:
        with part.open("wb") as file:
            sink = _Sink(file, image, self._max_bytes, progress, cancelled)
            try:
                self._fetch(image.id, sink)  # type: ignore[arg-type]
            except errors.DriverError:
                raise
            except OSError as error:
                raise errors.ImageUnavailable(f"image {image.id} could not be fetched: {error}") from error
            except Exception as error:
                raise errors.ImageUnavailable(
                    f"image {image.id} could not be fetched: {type(error).__name__}: {error}"
                ) from error
            virtual_size = sink.finish()
            file.flush()
            os.fsync(file.fileno())
        return virtual_size

    def _keep(self, image: ImageSource, ready: Path, base_format: str, virtual_size: int) -> Base:
        path = self._directory / f"{image.id}.{base_format}"
        base = Base(image.id, path, base_format, virtual_size)
        ready.chmod(0o444)  # a base is never written again; guests write to overlays
        ready.replace(base.path)
        facts = {
            "file": base.path.name,
            "format": base.format,
            "virtual_size": base.virtual_size,
            "bytes": base.path.stat().st_size,
            "checksum": image.checksum,
            "declared": image.disk_format,
            "image": {k: v for k, v in asdict(image).items() if k != "properties"},
        }
        record = self._record(image.id)
        draft = record.with_suffix(".json.part")
        draft.write_text(json.dumps(facts, indent=1))
        draft.replace(record)
        LOG.info("Image %s is here: %s, %d bytes", image.id, base.format, virtual_size)
        return base

    @contextlib.contextmanager
    def _only_one(self, image_id: str, cancelled: Cancelled) -> Iterator[None]:
        waiting = threading.Event()
        with (self._directory / f"{image_id}.lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if cancelled():
                        raise errors.Cancelled("taken back while the image was fetched") from None
                    waiting.wait(0.1)
            yield


class _Sink:
    """Takes the bytes of an image: writes, counts, digests and inspects them as they come."""

    def __init__(
        self,
        file: BinaryIO,
        image: ImageSource,
        max_bytes: int,
        progress: Callable[[float], None],
        cancelled: Cancelled,
    ) -> None:
        self._file = file
        self._image = image
        self._limit = image.size or max_bytes or (1 << 62)
        if max_bytes and image.size > max_bytes:
            raise errors.ImageUnacceptable(f"the image has {image.size} bytes, {max_bytes} are allowed")
        self._progress = progress
        self._cancelled = cancelled
        self._inspection = Inspection(image.disk_format)
        self._digests: list[tuple[str, Any, str]] = []
        if image.checksum:
            self._digests.append(("md5", hashlib.md5(usedforsecurity=False), image.checksum))
        if image.hash_value and image.hash_algo in hashlib.algorithms_guaranteed:
            self._digests.append((image.hash_algo, hashlib.new(image.hash_algo), image.hash_value))
        self._count = 0

    def write(self, chunk: bytes) -> int:
        if self._cancelled():
            raise errors.Cancelled("taken back while the image was fetched")
        self._count += len(chunk)
        if self._count > self._limit:
            raise errors.ImageUnacceptable(f"the image is larger than the {self._limit} bytes expected")
        for _name, digest, _expected in self._digests:
            digest.update(chunk)
        self._inspection.feed(bytes(chunk))
        self._file.write(chunk)
        if self._image.size:
            self._progress(self._count / self._image.size)
        return len(chunk)

    def flush(self) -> None:
        self._file.flush()

    def finish(self) -> int:
        if self._image.size and self._count != self._image.size:
            raise errors.ImageUnavailable(f"{self._count} of {self._image.size} bytes of the image came")
        for name, digest, expected in self._digests:
            if digest.hexdigest() != expected.lower():
                raise errors.ImageUnacceptable(f"the {name} digest of the image is not the recorded one")
        return self._inspection.verdict()


def _data_file(facts: dict[str, Any]) -> bool:
    return bool(facts.get("format-specific", {}).get("data", {}).get("data-file"))
