"""Aliases: the names by which flavors ask for devices, as an operator defines them in `[pci] alias`.

One name may be defined several times; each device is then as one of the definitions says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.pci import words

_KEYS = (
    "name",
    "vendor_id",
    "product_id",
    "device_type",
    "numa_policy",
    "resource_class",
    "traits",
    "live_migratable",
)


@dataclass(frozen=True, slots=True)
class Alias:
    """What a request by this name asks for."""

    name: str
    numa_policy: pb.PciNumaPolicy.ValueType
    alternatives: tuple[pb.PciAlternative, ...]


def read(values: Iterable[str]) -> dict[str, Alias]:
    """By name. Raises ValueError naming the field."""
    found: dict[str, Alias] = {}
    for text in values:
        for facts in words.objects(text, _KEYS):
            alias = _alias(facts)
            before = found.get(alias.name)
            if before is not None:
                _check_same(before, alias)
                alternatives = before.alternatives + alias.alternatives
                alias = Alias(alias.name, alias.numa_policy, alternatives)
            found[alias.name] = alias
    return found


def _alias(facts: words.Facts) -> Alias:
    name = facts.text("name")
    if not name:
        raise ValueError("name is missing")
    if ":" in name or "," in name:
        raise ValueError(f"name must be without colons and commas, not {name!r}")
    wanted = pb.PciAlternative(
        vendor_id=facts.hex_id("vendor_id"),
        product_id=facts.hex_id("product_id"),
        device_type=pb.PciDeviceType.ValueType(facts.choice("device_type", words.TYPES)),
        resource_class=facts.resource_class(),
        traits=facts.traits(),
        live_migratable=facts.boolean("live_migratable"),
    )
    if not (wanted.resource_class or (wanted.vendor_id and wanted.product_id)):
        raise ValueError(f"vendor_id and product_id of {name!r} are missing, and so is resource_class")
    policy = pb.PciNumaPolicy.ValueType(facts.choice("numa_policy", words.POLICIES))
    return Alias(name, policy, (wanted,))


def _check_same(one: Alias, other: Alias) -> None:
    if one.numa_policy != other.numa_policy:
        raise ValueError(f"numa_policy of {one.name!r} must be the same in all its definitions")
    if one.alternatives[0].device_type != other.alternatives[0].device_type:
        raise ValueError(f"device_type of {one.name!r} must be the same in all its definitions")
