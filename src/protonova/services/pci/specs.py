"""Which devices of a host guests may have, as an operator says in `[pci] device_spec`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from protonova.services.pci import words
from protonova.services.pci.devices import Device

_KEYS = (
    "vendor_id",
    "product_id",
    "address",
    "devname",
    "physical_network",
    "trusted",
    "remote_managed",
    "managed",
    "live_migratable",
    "resource_class",
    "traits",
)
_ADDRESS = re.compile(r"([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])")
# The parts of an address: name, most digits.
_PARTS = (("domain", 4), ("bus", 2), ("slot", 2), ("function", 1))


@dataclass(frozen=True)
class AddressPattern:
    """One regular expression for each part of an address. `exact`: it means one device."""

    parts: tuple[re.Pattern[str], ...]
    exact: bool = False

    def matches(self, address: str) -> bool:
        found = _ADDRESS.fullmatch(address)
        return found is not None and all(
            pattern.fullmatch(part) for pattern, part in zip(self.parts, found.groups(), strict=True)
        )


@dataclass(frozen=True)
class DeviceSpec:
    """Devices that match all that is not empty, and what is said of them. One that names a physical function by its
    whole address or its interface means its virtual functions, too."""

    vendor_id: str = ""
    product_id: str = ""
    address: AddressPattern | None = None
    devname: str = ""
    managed: bool = True
    resource_class: str = ""
    traits: tuple[str, ...] = ()
    tags: Mapping[str, str] | None = None

    def matches(self, device: Device, devnames: Mapping[str, str]) -> bool:
        """`devnames`: the network interfaces of all devices of the host, by address."""
        return (
            self.vendor_id in ("", device.vendor_id)
            and self.product_id in ("", device.product_id)
            and self._is_there(device)
            and (not self.devname or self.devname in (device.devname, devnames.get(device.parent)))
        )

    def _is_there(self, device: Device) -> bool:
        pattern = self.address
        if pattern is None or pattern.matches(device.address):
            return True
        return pattern.exact and bool(device.parent) and pattern.matches(device.parent)


def read(values: Iterable[str]) -> list[DeviceSpec]:
    """In their order. Raises ValueError naming the field."""
    return [_spec(facts) for text in values for facts in words.objects(text, _KEYS)]


def offered(found: Iterable[Device], specs: Iterable[DeviceSpec]) -> list[Device]:
    """The devices guests may have, each as the first spec that it matches says; by address."""
    everything, specs = list(found), list(specs)
    devnames = {device.address: device.devname for device in everything}
    chosen = []
    for device in sorted(everything, key=lambda device: device.address):
        spec = next((spec for spec in specs if spec.matches(device, devnames)), None)
        if spec is not None:
            chosen.append(
                replace(
                    device,
                    managed=spec.managed,
                    resource_class=spec.resource_class,
                    traits=spec.traits,
                    tags=dict(spec.tags or {}),
                )
            )
    return chosen


def _spec(facts: words.Facts) -> DeviceSpec:
    if facts.has("address") and facts.has("devname"):
        raise ValueError("address and devname cannot both be given")
    managed = facts.boolean("managed")
    return DeviceSpec(
        vendor_id=facts.hex_id("vendor_id", any_word="*"),
        product_id=facts.hex_id("product_id", any_word="*"),
        address=_address(facts.found["address"]) if facts.has("address") else None,
        devname=facts.text("devname"),
        managed=managed is not False,
        resource_class=facts.resource_class(),
        traits=tuple(facts.traits()),
        tags=_tags(facts),
    )


def _tags(facts: words.Facts) -> dict[str, str]:
    tags = {}
    for key in ("trusted", "remote_managed", "live_migratable"):
        if (value := facts.boolean(key)) is not None:
            tags[key] = "true" if value else "false"
    if facts.has("physical_network"):
        # A network that is no physical one is written as null.
        told = facts.found["physical_network"] is not None
        tags["physical_network"] = facts.text("physical_network") if told else ""
    return tags


def _address(value: Any) -> AddressPattern:
    if isinstance(value, Mapping):
        return _address_by_part(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"address must be a text or an object, not {value!r}")
    front, _, function = value.strip().lower().partition(".")
    front_parts = front.split(":")
    if len(front_parts) > 3:
        raise ValueError(f"address has too many parts: {value!r}")
    parts = [*[""] * (3 - len(front_parts)), *front_parts, function]
    patterns = tuple(
        _part(name, part.strip(), digits, value) for (name, digits), part in zip(_PARTS, parts, strict=True)
    )
    return AddressPattern(patterns, exact=all(part.strip() not in ("", "*") for part in parts))


def _part(name: str, text: str, digits: int, whole: str) -> re.Pattern[str]:
    """A part that is left out is any."""
    if text in ("", "*"):
        return re.compile(".*")
    if not re.fullmatch(rf"[0-9a-f]{{1,{digits}}}", text) or (name == "function" and text > "7"):
        raise ValueError(f"address {whole!r} has {text!r} as its {name}")
    return re.compile(text.zfill(digits))


def _address_by_part(value: Mapping[str, Any]) -> AddressPattern:
    names = [name for name, _ in _PARTS]
    for key in value:
        if key not in names:
            raise ValueError(f"address has no part {key!r}; known are {', '.join(names)}")
    patterns = []
    for name in names:
        text = value.get(name, ".*")
        try:
            patterns.append(re.compile(text, re.IGNORECASE))
        except (re.error, TypeError) as error:
            raise ValueError(f"address has no regular expression as its {name}: {text!r}") from error
    return AddressPattern(tuple(patterns))
