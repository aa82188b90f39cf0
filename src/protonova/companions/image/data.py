"""Upload and download of image data.

An upload owns its row by a random id: only that upload may turn `saving` into `active`, or back into `queued` when
it fails. The file takes its final name before the row says `active`, so an active image always has all its data.
"""

import secrets
import sqlite3
from typing import IO, Any

from flask import Response, request

from protonova.companions import clock, store, web
from protonova.companions.caller import caller
from protonova.companions.cloud import cloud
from protonova.companions.fault import Fault, bad, conflict, forbidden, missing
from protonova.companions.image import files
from protonova.companions.image.routes import blueprint, changeable, read, visible, write


def begin(db: sqlite3.Connection, ident: str, row: store.Row) -> str:
    """Take the image for one upload; gives the upload's id."""
    upload = secrets.token_hex(8)
    taken = {"status": "saving", "upload": upload, "updated_at": clock.now()}
    if not store.update(db, "images", taken, id=ident, status="queued"):
        raise conflict(
            f"Image {ident} is in status {row['status']}; data is uploaded to a queued image only."
        )
    return upload


def finish(images: store.Store, ident: str, upload: str, facts: dict[str, Any]) -> bool:
    ready = {**facts, "status": "active", "upload": None, "updated_at": clock.now()}
    changed: int = images.write(
        lambda db: store.update(db, "images", ready, id=ident, status="saving", upload=upload)
    )
    return changed == 1


def abandon(images: store.Store, image_files: files.ImageFiles, ident: str, upload: str) -> None:
    image_files.part(ident, upload).unlink(missing_ok=True)
    again = {"status": "queued", "upload": None, "updated_at": clock.now()}
    if not images.write(
        lambda db: store.update(db, "images", again, id=ident, status="saving", upload=upload)
    ):
        discard(images, image_files, ident)


def discard(images: store.Store, image_files: files.ImageFiles, ident: str) -> None:
    """Finish a deletion: an image marked as deleted loses its file, then its row."""
    if images.read(lambda db: store.find(db, "images", id=ident, status="deleted")):
        image_files.drop(ident)
        images.write(lambda db: store.delete(db, "images", id=ident, status="deleted"))


def take_in(
    images: store.Store,
    image_files: files.ImageFiles,
    row: store.Row,
    upload: str,
    source: IO[bytes],
    length: int | None,
) -> None:
    """Receive the data of an image that `begin` has taken, and make it active."""
    ident = row["id"]
    try:
        written = image_files.receive(ident, upload, source, length)
        facts = {
            "size": written.size,
            "virtual_size": image_files.virtual_size(ident, upload, row["disk_format"]),
            "checksum": written.checksum,
            "os_hash_algo": files.HASH,
            "os_hash_value": written.hash_value,
        }
        image_files.keep(ident, upload)
    except BaseException:
        abandon(images, image_files, ident, upload)
        raise
    if not finish(images, ident, upload, facts):
        discard(images, image_files, ident)
        raise Fault(410, f"Image {ident} was deleted during the upload.")


@blueprint.put("/v2/images/<ident>/file")
def upload_data(ident: str) -> Response:
    caller()
    if request.mimetype != "application/octet-stream":
        raise Fault(415, "Image data is sent as application/octet-stream.")

    def work(db: sqlite3.Connection) -> tuple[store.Row, str]:
        row = changeable(db, ident)
        if not row["disk_format"] or not row["container_format"]:
            raise bad("The image needs a disk_format and a container_format before its data.")
        return row, begin(db, ident, row)

    row, upload = write(work)
    here = cloud()
    try:
        take_in(here.image, here.image_files, row, upload, request.stream, request.content_length)
    except (files.Truncated, ValueError, ConnectionError, TimeoutError) as error:
        raise bad(f"The upload broke off: {error}") from error
    except OSError as error:
        raise Fault(413 if error.errno == 28 else 500, "The data cannot be stored.") from error
    return web.empty()


@blueprint.get("/v2/images/<ident>/file")
def download_data(ident: str) -> Response:
    caller()
    row = read(lambda db: visible(db, ident))
    if row["status"] == "deactivated" and not caller().is_privileged:
        raise forbidden(f"Image {ident} is deactivated.")
    if row["status"] not in ("active", "deactivated"):
        return web.empty(204)
    size = row["size"]
    start, length, status = _range(size)
    headers = {"Content-Length": str(length), "Accept-Ranges": "bytes", "Content-MD5": row["checksum"]}
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{size}"
        del headers["Content-MD5"]
    try:
        body = files.chunks(cloud().image_files.path(ident), start, length)
    except FileNotFoundError as error:
        raise missing("Image", ident) from error  # deleted since we looked
    return Response(body, status, headers=headers, mimetype="application/octet-stream")


def _range(size: int) -> tuple[int, int, int]:
    """Where to start, how much, and with which status; a single range is honoured."""
    wanted = request.range
    if wanted is None or wanted.units != "bytes" or len(wanted.ranges) != 1:
        return 0, size, 200
    bounds = wanted.range_for_length(size)
    if bounds is None:
        raise Fault(
            416, f"The range lies outside of the {size} bytes.", headers={"Content-Range": f"bytes */{size}"}
        )
    return bounds[0], bounds[1] - bounds[0], 206
