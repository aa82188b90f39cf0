"""The grammar of Placement's queries: resources, traits, aggregates, and the groups they come in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from protonova.gateway.faults import Fault
from protonova.gateway.schema import natural
from protonova.gateway.validation import is_uuid
from protonova.gateway.versions import Window
from protonova.placement.v1 import allocation_pb2, resource_provider_pb2

FORBIDDEN_TRAITS = Window.parse("1.22-")
ANY_TRAITS = Window.parse("1.39-")
REPEATED_TRAITS = Window.parse("1.39-")
REPEATED_AGGREGATES = Window.parse("1.24-")
FORBIDDEN_AGGREGATES = Window.parse("1.32-")


@dataclass
class Traits:
    """Conditions on traits: all of ``required`` (each any of some), none of ``forbidden``."""

    required: list[resource_provider_pb2.TraitCondition] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)

    def refuse_conflict(self, where: str) -> None:
        single = {condition.any_of[0] for condition in self.required if len(condition.any_of) == 1}
        if both := single & set(self.forbidden):
            raise Fault(400, f"{where}: {min(both)} is required and forbidden at once.")


@dataclass
class Aggregates:
    """Conditions on aggregates: a member of any of each of ``member_of``, of none of ``forbidden``."""

    member_of: list[resource_provider_pb2.AggregateCondition] = field(default_factory=list)
    forbidden: list[str] = field(default_factory=list)


def resources(text: str, where: str) -> dict[str, int]:
    """``CLASS:AMOUNT,CLASS:AMOUNT``."""
    amounts = {}
    for part in text.split(","):
        name, colon, amount = part.partition(":")
        wanted = natural(amount)
        if not colon or not name or wanted is None:
            raise Fault(400, f"{where}: '{part}' is not of the form CLASS:AMOUNT.")
        if wanted < 1:
            raise Fault(400, f"{where}: the amount of {name} is less than 1.")
        amounts[name] = wanted
    return amounts


def traits(values: list[str], version: int, where: str) -> Traits:
    """``TRAIT,!TRAIT`` or ``in:TRAIT,TRAIT``; since 1.39 given more than once."""
    wanted = Traits()
    for value in values if version in REPEATED_TRAITS else values[-1:]:
        if value.startswith("in:"):
            if version not in ANY_TRAITS:
                raise Fault(400, f"{where}: 'in:' is not understood at this version.")
            names = _names(value[3:], where)
            if any(name.startswith("!") for name in names):
                raise Fault(400, f"{where}: nothing can be forbidden inside 'in:'.")
            wanted.required.append(resource_provider_pb2.TraitCondition(any_of=names))
            continue
        for name in _names(value, where):
            if not name.startswith("!"):
                wanted.required.append(resource_provider_pb2.TraitCondition(any_of=[name]))
                continue
            if version not in FORBIDDEN_TRAITS:
                raise Fault(400, f"{where}: traits cannot be forbidden at this version.")
            bare = name.lstrip("!")
            if not bare:
                raise Fault(400, f"{where}: '{name}' names no trait.")
            wanted.forbidden.append(bare)
    return wanted


def _names(value: str, where: str) -> list[str]:
    names = [part.strip() for part in value.split(",")]
    if not all(names):
        raise Fault(400, f"{where}: '{value}' has an empty item.")
    return names


def aggregates(values: list[str], version: int, where: str) -> Aggregates:
    """``UUID``, ``in:UUID,UUID``, or one of these behind ``!``; since 1.24 given more than once."""
    if len(values) > 1 and version not in REPEATED_AGGREGATES:
        raise Fault(400, f"{where} is given more than once.")
    wanted = Aggregates()
    for value in values:
        forbidden = value.startswith("!")
        if forbidden and version not in FORBIDDEN_AGGREGATES:
            raise Fault(400, f"{where}: aggregates cannot be forbidden at this version.")
        bare = value.removeprefix("!")
        several = bare.startswith("in:")
        ids = bare[3:].split(",") if several else [bare]
        for each in ids:
            if not is_uuid(each):
                raise Fault(400, f"{where}: '{each}' is not a UUID.")
        ids = [canonical(each) for each in ids]
        if forbidden:
            wanted.forbidden.extend(ids)
        else:
            wanted.member_of.append(resource_provider_pb2.AggregateCondition(any_of=ids))
    return wanted


def canonical(text: str) -> str:
    """A UUID with its hyphens."""
    bare = text.replace("-", "").lower()
    return f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"


def identifiers(given: Iterable[str], what: str) -> list[str]:
    """UUIDs with their hyphens; one that is none, or is there twice, is refused."""
    found: dict[str, None] = {}
    for each in given:
        if not is_uuid(each):
            raise Fault(400, f"'{each}' is not the UUID of a {what}.")
        if canonical(each) in found:
            raise Fault(400, f"{what.capitalize()} {canonical(each)} is named twice.")
        found[canonical(each)] = None
    return list(found)


GROUPED = ("resources", "required", "member_of", "in_tree")
_SUFFIXES = (
    (Window.parse("1.25-1.32"), re.compile(r"[1-9][0-9]*")),
    (Window.parse("1.33-"), re.compile(r"[a-zA-Z0-9_-]{1,64}")),
)
_SINCE = {
    "resources": Window.parse("1.10-"),
    "required": Window.parse("1.17-"),
    "member_of": Window.parse("1.21-"),
    "in_tree": Window.parse("1.31-"),
}


def group_key(name: str, version: int) -> tuple[str, str] | None:
    """The kind and suffix a parameter names; None when it is not one of a group."""
    for kind in GROUPED:
        if not name.startswith(kind) or version not in _SINCE[kind]:
            continue
        suffix = name.removeprefix(kind)
        if not suffix:
            return kind, ""
        for window, pattern in _SUFFIXES:
            if version in window and pattern.fullmatch(suffix):
                return kind, suffix
    return None


def groups(query: dict[str, list[str]], version: int) -> dict[str, allocation_pb2.RequestGroup]:
    """The groups of a candidate query by their suffix."""
    found: dict[str, allocation_pb2.RequestGroup] = {}
    for name, values in query.items():
        key = group_key(name, version)
        if key is None:
            continue
        kind, suffix = key
        group = found.setdefault(suffix, allocation_pb2.RequestGroup(suffix=suffix))
        if kind == "resources":
            for resource_class, amount in resources(values[-1], name).items():
                group.resources[resource_class] = amount
        elif kind == "required":
            wanted = traits(values, version, name)
            wanted.refuse_conflict(name)
            group.required_traits.extend(wanted.required)
            group.forbidden_traits.extend(wanted.forbidden)
        elif kind == "member_of":
            members = aggregates(values, version, name)
            group.member_of.extend(members.member_of)
            group.forbidden_aggregates.extend(members.forbidden)
        else:
            if not is_uuid(values[-1]):
                raise Fault(400, f"{name}: '{values[-1]}' is not a UUID.")
            group.in_tree = canonical(values[-1])
    return found
