"""What a caller wants a consumer to hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.placement import refusals
from protonova.services.runtime import errors


class Check(Enum):
    """What is asked of the consumer's generation."""

    NONE = auto()
    NEW = auto()
    EXACT = auto()


@dataclass(frozen=True, slots=True)
class ConsumerChange:
    """`wanted` replaces everything the consumer holds: amounts by (provider id, class name)."""

    consumer_id: str
    wanted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    project_id: str = ""
    user_id: str = ""
    type: str = ""
    check: Check = Check.NONE
    generation: int = 0
    # A removal of what must be there; it does not raise the generation of providers.
    delete: bool = False


# All of it or nothing.
Claim = tuple[ConsumerChange, ...]

_CHECKS = {
    pb.GENERATION_CHECK_UNSPECIFIED: Check.NONE,
    pb.GENERATION_CHECK_NEW: Check.NEW,
    pb.GENERATION_CHECK_EXACT: Check.EXACT,
}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who a consumer belongs to."""

    project_id: str
    user_id: str


def claim_of(consumers: Iterable[pb.ConsumerAllocations], nobody: Holder) -> Claim:
    """`nobody` stands for a project or user that is not named. Raises ALLOCATION_INVALID for amounts that are none,
    and for a consumer named twice."""
    claim = tuple(_change(message, nobody) for message in consumers)
    if len({change.consumer_id for change in claim}) < len(claim):
        raise errors.InvalidArgument("A consumer is named twice.", reason="ALLOCATION_INVALID")
    return claim


def _change(message: pb.ConsumerAllocations, nobody: Holder) -> ConsumerChange:
    wanted: dict[tuple[str, str], int] = {}
    for provider, resources in message.allocations.providers.items():
        for name, amount in resources.amounts.items():
            if amount < 1:
                raise refusals.allocation_invalid(provider, name, "an amount is at least 1")
            wanted[provider, name] = amount
    return ConsumerChange(
        consumer_id=message.consumer_id,
        wanted=wanted,
        project_id=message.project_id or nobody.project_id,
        user_id=message.user_id or nobody.user_id,
        type=message.consumer_type,
        check=_CHECKS[message.generation_check],
        generation=message.generation,
    )
