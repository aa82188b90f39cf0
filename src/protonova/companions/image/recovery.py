"""What a start owes the images an earlier process left in the middle of something.

A row in `saving` has an upload whose process is gone: it is queued again, and what the upload wrote is removed.
A row in `deleted` has not had its file removed yet. Both acts can be repeated.
"""

import sqlite3

from protonova.companions import store
from protonova.companions.image.files import ImageFiles


def recover(images: store.Store, files: ImageFiles) -> None:
    saving, deleted = images.read(
        lambda db: tuple(
            [row["id"] for row in store.select(db, "images", store.Where(status=status))]
            for status in ("saving", "deleted")
        )
    )
    files.drop_parts()
    for ident in (*saving, *deleted):
        files.drop(ident)

    def work(db: sqlite3.Connection) -> None:
        for ident in saving:
            store.update(db, "images", {"status": "queued", "upload": None}, id=ident, status="saving")
        for ident in deleted:
            store.delete(db, "images", id=ident, status="deleted")

    images.write(work)
