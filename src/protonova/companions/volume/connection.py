"""How a host reaches a volume: it is a raw file of this machine."""

from typing import Any

from protonova.companions import store
from protonova.companions.cloud import cloud


def data(volume: store.Row, mode: str = "rw") -> dict[str, Any]:
    path = str(cloud().volume_files.path(volume["id"]).resolve())
    return {
        "volume_id": volume["id"],
        "path": path,
        "device_path": path,
        "format": "raw",
        "access_mode": "ro" if volume["readonly"] or mode == "ro" else "rw",
        "qos_specs": None,
        "encrypted": False,
        "cacheable": False,
        "enforce_multipath": False,
        "discard": True,
    }


def nested(volume: store.Row) -> dict[str, Any]:
    """As an action on a volume answers it."""
    return {"driver_volume_type": cloud().settings.volume_driver, "data": data(volume)}


def flat(volume: store.Row, attachment: store.Row) -> dict[str, Any]:
    """As an attachment shows it."""
    return {
        "driver_volume_type": cloud().settings.volume_driver,
        **data(volume, attachment["mode"]),
        "attachment_id": attachment["id"],
    }
