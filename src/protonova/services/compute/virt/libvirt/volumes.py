"""Volumes as disks of a domain, by the kind of connection the volume service gave.

QEMU itself speaks to the network kinds; local kinds are files or devices this host has already.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import VolumeDisk


def volume_element(volume: VolumeDisk, target: str, bus: str) -> ET.Element:
    kind = str(volume.connection.get("driver_volume_type", ""))
    data: Mapping[str, Any] = volume.connection.get("data") or {}
    source = _SOURCES.get(kind)
    if source is None:
        raise errors.VolumeUnacceptable(f"volumes of type {kind or '(none)'} cannot be attached here")
    try:
        disk_type, element = source(data)
    except (KeyError, ValueError, IndexError) as error:
        raise errors.VolumeUnacceptable(
            f"the connection of volume {volume.volume_id} lacks {error}"
        ) from error
    disk = ET.Element("disk", type=disk_type, device=volume.device_type)
    image_format = str(data.get("format") or "raw")
    if image_format not in ("raw", "qcow2"):
        raise errors.VolumeUnacceptable(f"volumes of format {image_format} cannot be attached here")
    ET.SubElement(disk, "driver", name="qemu", type=image_format, cache="none", discard="unmap")
    disk.append(element)
    ET.SubElement(disk, "target", dev=target, bus=bus)
    if volume.read_only or data.get("access_mode") == "ro":
        ET.SubElement(disk, "readonly")
    ET.SubElement(disk, "serial").text = volume.volume_id
    return disk


def _local(data: Mapping[str, Any]) -> tuple[str, ET.Element]:
    path = str(data["device_path"])
    if Path(path).is_block_device():
        return "block", ET.Element("source", dev=path)
    return "file", ET.Element("source", file=path)


def _network(protocol: str, name: str, hosts: list[tuple[str, str]]) -> tuple[str, ET.Element]:
    source = ET.Element("source", protocol=protocol, name=name)
    for host, port in hosts:
        ET.SubElement(source, "host", name=host, port=port)
    return "network", source


def _nbd(data: Mapping[str, Any]) -> tuple[str, ET.Element]:
    host, _, port = str(data["target_portal"]).rpartition(":")
    return _network("nbd", str(data.get("export_name") or data["name"]), [(host, port)])


def _iscsi(data: Mapping[str, Any]) -> tuple[str, ET.Element]:
    host, _, port = str(data["target_portal"]).rpartition(":")
    if not host or data.get("auth_method"):
        # a password would have to be a secret of libvirt's; no such secret is made here
        raise errors.VolumeUnacceptable("iSCSI targets that want a password cannot be attached here")
    return _network("iscsi", f"{data['target_iqn']}/{data.get('target_lun', 0)}", [(host.strip("[]"), port)])


def _rbd(data: Mapping[str, Any]) -> tuple[str, ET.Element]:
    if data.get("auth_enabled"):
        raise errors.VolumeUnacceptable("RBD with authentication cannot be attached here")
    hosts = list(zip(map(str, data["hosts"]), map(str, data["ports"]), strict=True))
    return _network("rbd", str(data["name"]), hosts)


_SOURCES: dict[str, Callable[[Mapping[str, Any]], tuple[str, ET.Element]]] = {
    "file": _local,
    "local": _local,
    "nbd": _nbd,
    "iscsi": _iscsi,
    "rbd": _rbd,
}
