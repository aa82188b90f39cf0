"""How operators write of devices: JSON objects with known keys, and the names in them."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import os_resource_classes
import os_traits

from protonova.common.v1 import pci_pb2 as pb

TYPES: Mapping[str, pb.PciDeviceType.ValueType] = {
    "type-PCI": pb.PCI_DEVICE_TYPE_PCI,
    "type-PF": pb.PCI_DEVICE_TYPE_PF,
    "type-VF": pb.PCI_DEVICE_TYPE_VF,
    "type-VDPA": pb.PCI_DEVICE_TYPE_VDPA,
}
POLICIES: Mapping[str, pb.PciNumaPolicy.ValueType] = {
    "legacy": pb.PCI_NUMA_POLICY_LEGACY,
    "preferred": pb.PCI_NUMA_POLICY_PREFERRED,
    "required": pb.PCI_NUMA_POLICY_REQUIRED,
    "socket": pb.PCI_NUMA_POLICY_SOCKET,
}
_ID = re.compile(r"[0-9a-f]{4}")
_TRUE = frozenset(("1", "t", "true", "on", "y", "yes"))
_FALSE = frozenset(("0", "f", "false", "off", "n", "no"))
_STANDARD_TRAITS = frozenset(os_traits.get_traits())
_LONGEST = 255


class Facts:
    """One JSON object. All that reads it raises ValueError naming the field."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self.found = found

    def has(self, key: str) -> bool:
        return key in self.found

    def text(self, key: str) -> str:
        """Empty when it is not there."""
        value = self.found.get(key, "")
        if not isinstance(value, str) or (key in self.found and not value.strip()):
            raise ValueError(f"{key} must be a text that is not empty, not {value!r}")
        return value.strip()

    def hex_id(self, key: str, *, any_word: str = "") -> str:
        """Of a vendor or a product. `any_word` stands for all of them."""
        text = self.text(key).lower()
        if text == any_word:
            return ""
        if text and not _ID.fullmatch(text):
            raise ValueError(f"{key} must be four hexadecimal digits, not {text!r}")
        return text

    def boolean(self, key: str) -> bool | None:
        """None when it is not there."""
        if key not in self.found:
            return None
        text = str(self.found[key]).strip().lower()
        if text not in _TRUE | _FALSE:
            raise ValueError(f"{key} must be true or false, not {self.found[key]!r}")
        return text in _TRUE

    def choice(self, key: str, known: Mapping[str, int]) -> int:
        """The value a word stands for; 0 for none."""
        text = self.text(key)
        if text and text not in known:
            raise ValueError(f"{key} must be one of {', '.join(known)}, not {text!r}")
        return known.get(text, 0)

    def resource_class(self) -> str:
        text = self.text("resource_class")
        return resource_class(text) if text else ""

    def traits(self) -> list[str]:
        """Sorted."""
        text = self.text("traits")
        return sorted({trait(part.strip()) for part in text.split(",") if part.strip()})


def objects(text: str, keys: Collection[str]) -> Iterator[Facts]:
    """Of one value of an option: an object or a list of them. Raises ValueError naming what is wrong."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    for each in found if isinstance(found, list) else [found]:
        if not isinstance(each, dict):
            raise ValueError(f"{each!r} is not a JSON object")
        for key in each:
            if key not in keys:
                raise ValueError(f"there is no field {key!r}; known are {', '.join(sorted(keys))}")
        yield Facts(each)


def resource_class(text: str) -> str:
    """A standard one as it is, anything else as a custom one."""
    name = _normal(text)
    if name in os_resource_classes.STANDARDS or name.startswith("CUSTOM_"):
        return name
    return f"CUSTOM_{name}"[:_LONGEST]


def trait(text: str) -> str:
    name = _normal(text)
    if name in _STANDARD_TRAITS or name.startswith("CUSTOM_"):
        return name
    return f"CUSTOM_{name}"[:_LONGEST]


def default_class(vendor_id: str, product_id: str) -> str:
    return f"CUSTOM_PCI_{vendor_id}_{product_id}".upper()


def _normal(text: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", text.upper())
