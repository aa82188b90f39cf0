"""The stores and the settings of a running app, as request handlers reach them."""

from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from flask import current_app

from protonova.companions.settings import Settings
from protonova.companions.store import Store

if TYPE_CHECKING:
    from protonova.companions.image.files import ImageFiles
    from protonova.companions.share.directories import ShareDirectories
    from protonova.companions.volume.files import VolumeFiles
    from protonova.companions.volume.worker import Worker

EXTENSION = "protonova.companions"


@dataclass
class Cloud:
    settings: Settings
    identity: Store
    image: Store
    network: Store
    volume: Store
    share: Store
    image_files: "ImageFiles"
    volume_files: "VolumeFiles"
    volume_worker: "Worker"
    share_directories: "ShareDirectories"
    lock: IO[str]  # held while this process has the state directory

    def close(self) -> None:
        self.volume_worker.stop()
        for store in (self.identity, self.image, self.network, self.volume, self.share):
            store.close()
        self.lock.close()


def cloud() -> Cloud:
    here: Cloud = current_app.extensions[EXTENSION]
    return here
