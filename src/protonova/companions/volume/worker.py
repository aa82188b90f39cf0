"""What takes longer than a request may: filling volumes, copying snapshots, making images of volumes.

The rows say what is to be done (status creating, downloading, uploading, deleting); a queue only says when.
A start queues again what an earlier process did not finish: a copy begins anew, a deletion goes on.
"""

import logging
import queue
import sqlite3
import threading
from collections.abc import Callable

import orjson

from protonova.companions import clock, store
from protonova.companions.cloud import Cloud
from protonova.companions.fault import Fault
from protonova.companions.image import data as image_data
from protonova.companions.volume.files import NotMade

_LOG = logging.getLogger(__name__)
THREADS = 2
FILLING = ("creating", "downloading")


class Worker:
    def __init__(self) -> None:
        self._stopping = False
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"volumes-{number}", daemon=True)
            for number in range(THREADS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """After the jobs under way. What is still queued is begun again by the next start."""
        self._stopping = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join(timeout=5)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._stopping:
            try:
                job()
            except (OSError, sqlite3.Error, Fault) as error:
                _LOG.exception("A job of volumes failed", exc_info=error)


def resume(here: Cloud) -> None:
    here.volume_files.drop_parts()

    def left(db: sqlite3.Connection) -> tuple[list[store.Row], ...]:
        filling = store.select(db, "volumes", store.Where().among("status", FILLING))
        uploading = store.select(db, "volumes", store.Where(status="uploading"))
        deleting = store.select(db, "volumes", store.Where(status="deleting"))
        copying = store.select(db, "snapshots", store.Where(status="creating"))
        dropping = store.select(db, "snapshots", store.Where(status="deleting"))
        return filling, uploading, deleting, copying, dropping

    filling, uploading, deleting, copying, dropping = here.volume.read(left)
    for row in uploading:
        restored = {"status": row["previous_status"] or "available", "updated_at": clock.now()}
        _move(here, "volumes", row["id"], "uploading", restored)
    for row in dropping:
        drop_snapshot(here, row["id"])
    for row in deleting:
        drop_volume(here, row["id"])
    for row in filling:
        here.volume_worker.put(lambda ident=row["id"]: fill(here, ident))  # type: ignore[misc]
    for row in copying:
        here.volume_worker.put(lambda ident=row["id"]: take_snapshot(here, ident))  # type: ignore[misc]


def _move(here: Cloud, table: str, ident: str, before: str, changes: store.Row) -> bool:
    return here.volume.write(lambda db: store.update(db, table, changes, id=ident, status=before)) == 1


def fill(here: Cloud, ident: str) -> None:
    """Make the data of a new volume from its source, and the volume available."""
    row = here.volume.read(lambda db: store.find(db, "volumes", id=ident))
    if row is None or row["status"] not in FILLING:
        return
    files = here.volume_files
    try:
        if row["snapshot_id"]:
            files.copy(files.snapshot(row["snapshot_id"]), files.path(ident), row["size"])
        elif row["source_volid"]:
            files.copy(files.path(row["source_volid"]), files.path(ident), row["size"])
        elif row["image_id"]:
            _fill_from_image(here, row)
        else:
            files.blank(ident, row["size"])
        # One that is filled anew is reserved for a server.
        status = row["previous_status"] or "available"
    except (NotMade, OSError, TimeoutError) as error:
        _LOG.warning("Volume %s cannot be made: %s", ident, error)
        status = "error"
    changes = {"status": status, "updated_at": clock.now()}
    if not any(_move(here, "volumes", ident, before, changes) for before in FILLING):
        files.drop(files.path(ident))  # deleted by force meanwhile


def _fill_from_image(here: Cloud, row: store.Row) -> None:
    image = here.image.read(lambda db: store.find(db, "images", id=row["image_id"]))
    if image is None or image["status"] != "active":
        raise NotMade("the image has gone")
    source = here.image_files.path(image["id"])
    here.volume_files.from_image(row["id"], source, image["disk_format"], row["size"])


def take_snapshot(here: Cloud, ident: str) -> None:
    row = here.volume.read(lambda db: store.find(db, "snapshots", id=ident))
    if row is None or row["status"] != "creating":
        return
    files = here.volume_files
    try:
        files.copy(files.path(row["volume_id"]), files.snapshot(ident), row["size"])
        status = "available"
    except (NotMade, OSError) as error:
        _LOG.warning("Snapshot %s cannot be made: %s", ident, error)
        status = "error"
    if not _move(here, "snapshots", ident, "creating", {"status": status, "updated_at": clock.now()}):
        files.drop(files.snapshot(ident))


def drop_volume(here: Cloud, ident: str) -> None:
    here.volume_files.drop(here.volume_files.path(ident))
    here.volume.write(lambda db: store.delete(db, "volumes", id=ident, status="deleting"))


def drop_snapshot(here: Cloud, ident: str) -> None:
    here.volume_files.drop(here.volume_files.snapshot(ident))
    here.volume.write(lambda db: store.delete(db, "snapshots", id=ident, status="deleting"))


def upload(here: Cloud, ident: str, image: store.Row, upload_id: str) -> None:
    """Write a volume into the image that was taken for it."""
    files, copy = here.volume_files, None
    try:
        if image["disk_format"] == "qcow2":
            copy = files.as_qcow2(ident)
        with (copy or files.path(ident)).open("rb") as source:
            image_data.take_in(here.image, here.image_files, image, upload_id, source, None)
    except NotMade as error:
        _LOG.warning("Volume %s cannot be uploaded: %s", ident, error)
        image_data.abandon(here.image, here.image_files, image["id"], upload_id)
    finally:
        if copy:
            copy.unlink(missing_ok=True)
        row = here.volume.read(lambda db: store.find(db, "volumes", id=ident))
        if row:
            restored = {"status": row["previous_status"] or "available", "updated_at": clock.now()}
            _move(here, "volumes", ident, "uploading", restored)


def image_facts(image: store.Row) -> str:
    """What a volume remembers of the image it was made from."""
    facts = {
        **{key: value for key, value in orjson.loads(image["properties"]).items() if value is not None},
        "image_id": image["id"],
        "image_name": image["name"] or "",
        "checksum": image["checksum"] or "",
        "container_format": image["container_format"] or "",
        "disk_format": image["disk_format"] or "",
        "min_disk": str(image["min_disk"]),
        "min_ram": str(image["min_ram"]),
        "size": str(image["size"] or 0),
    }
    return orjson.dumps(facts).decode()
