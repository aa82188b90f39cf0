"""Compares who holds what with the servers there are. Pure: rows and a census in, a plan out.

A consumer is **left over** if and only if it is of the type of servers, has not changed for a grace period, holds
something of a host of this cloud, and all cells have answered and none has a server of its id.

A server **lacks** its allocation if and only if it stands settled on a host and nobody of its id holds anything.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from protonova.services.placement.upkeep.region import Census, Placed

SERVER_TYPE = "INSTANCE"


@dataclass(frozen=True, slots=True)
class Holder:
    """A consumer; `roots` are those of the providers it holds something of, `age` the seconds since it changed."""

    id: str
    generation: int
    type: str
    age: float
    roots: frozenset[str]


@dataclass(slots=True)
class Plan:
    """What is to be looked at once more and then mended; `astray` hold something, but not on their host."""

    left_over: list[Holder] = field(default_factory=list)
    lacking: list[Placed] = field(default_factory=list)
    astray: list[Placed] = field(default_factory=list)


def compare(holders: Iterable[Holder], census: Census, cells: Collection[str], grace: float) -> Plan:
    """For the hosts of these cells."""
    by_id = {holder.id: holder for holder in holders}
    nodes = {node for node, cell in census.nodes.items() if cell in cells}
    plan = Plan()
    if not census.silent:
        plan.left_over = [
            holder
            for holder in by_id.values()
            if holder.type == SERVER_TYPE
            and holder.age >= grace
            and holder.roots & nodes
            and holder.id not in census.servers
        ]
    for placed in census.servers.values():
        if not placed.settled or placed.node_id not in nodes:
            continue
        holder = by_id.get(placed.id)
        if holder is None:
            plan.lacking.append(placed)
        elif placed.node_id not in holder.roots:
            plan.astray.append(placed)
    return plan
