"""Virtual GPUs in libvirt's words: mediated devices as the host tells of them, and as a guest has them.

Each has an id that follows from its guest, so that nobody has to remember it.
"""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A type that a device of the host offers: how many of it exist, how many more could."""

    parent: str
    name: str
    existing: int
    available: int


def wanted(extra_specs: Mapping[str, str]) -> int:
    """How many a flavor asks for, in all groups of resources."""
    return sum(
        int(value)
        for key, value in extra_specs.items()
        if re.fullmatch(r"resources[\w-]*:VGPU", key) and value.isdecimal()
    )


def ids(server_id: str, count: int) -> list[str]:
    return [str(uuid.uuid5(uuid.UUID(server_id), f"vgpu {number}")) for number in range(count)]


def hostdev(device_id: str) -> ET.Element:
    element = ET.Element("hostdev", mode="subsystem", type="mdev", model="vfio-pci")
    ET.SubElement(ET.SubElement(element, "source"), "address", uuid=device_id)
    return element


def definition(kind: Kind, device_id: str) -> str:
    """What makes a device."""
    root = ET.Element("device")
    ET.SubElement(root, "parent").text = kind.parent
    capability = ET.SubElement(root, "capability", type="mdev")
    ET.SubElement(capability, "type", id=kind.name)
    ET.SubElement(capability, "uuid").text = device_id
    return ET.tostring(root, encoding="unicode")


def read(parents: Iterable[str], existing: Iterable[str], enabled: Collection[str]) -> list[Kind]:
    """Of the XML of node devices that offer types, and of those that are mediated devices."""
    made: dict[tuple[str, str], int] = {}
    for document in existing:
        root = ET.fromstring(document)  # noqa: S314 - the daemon is trusted
        kind = root.find("capability[@type='mdev']/type")
        key = root.findtext("parent", ""), "" if kind is None else kind.get("id", "")
        made[key] = made.get(key, 0) + 1
    return [
        Kind(name, kind, made.get((name, kind), 0), available)
        for name, kind, available in _types(parents)
        if kind in enabled
    ]


def capacity(kinds: Iterable[Kind]) -> int:
    """How many guests may have together. A device is divided in one way at a time: of its types the most counts."""
    by_parent: dict[str, int] = {}
    for kind in kinds:
        total = kind.existing + kind.available
        by_parent[kind.parent] = max(by_parent.get(kind.parent, 0), total)
    return sum(by_parent.values())


def id_of(document: str) -> str:
    """Of the XML of a mediated device."""
    root = ET.fromstring(document)  # noqa: S314 - the daemon is trusted
    return root.findtext("capability[@type='mdev']/uuid", "")


def _types(parents: Iterable[str]) -> Iterator[tuple[str, str, int]]:
    """Device, type, how many more could be made."""
    for document in parents:
        root = ET.fromstring(document)  # noqa: S314 - the daemon is trusted
        for kind in root.iterfind(".//capability[@type='mdev_types']/type"):
            available = int(kind.findtext("availableInstances", "0"))
            yield root.findtext("name", ""), kind.get("id", ""), available
