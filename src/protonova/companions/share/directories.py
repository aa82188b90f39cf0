"""Shares on disk: a directory each, which whoever is let in mounts."""

import shutil
from pathlib import Path


class ShareDirectories:
    def __init__(self, root: Path) -> None:
        self._root = root
        # Guests write there as they like, also what would have rights if a user of this machine ran it.
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, ident: str) -> Path:
        return (self._root / f"share-{ident}").resolve()

    def make(self, ident: str) -> None:
        self.path(ident).mkdir(exist_ok=True)

    def drop(self, ident: str) -> None:
        if self.path(ident).exists():
            shutil.rmtree(self.path(ident))
