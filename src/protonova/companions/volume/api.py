"""All of Volume put together: importing this module registers every handler at the blueprint."""

from protonova.companions.cloud import Cloud
from protonova.companions.volume import (
    actions,
    attachments,
    discovery,
    metadata,
    quotas,
    snapshots,
    types,
    volumes,
    worker,
)
from protonova.companions.volume.files import VolumeFiles
from protonova.companions.volume.routes import blueprint
from protonova.companions.volume.schema import SCHEMA
from protonova.companions.volume.worker import Worker


def start(here: Cloud) -> None:
    """Bring about what a start owes the volumes, and begin what was left."""
    here.volume.write(types.seed)
    worker.resume(here)


__all__ = [
    "SCHEMA",
    "VolumeFiles",
    "Worker",
    "actions",
    "attachments",
    "blueprint",
    "discovery",
    "metadata",
    "quotas",
    "snapshots",
    "start",
    "types",
    "volumes",
    "worker",
]
