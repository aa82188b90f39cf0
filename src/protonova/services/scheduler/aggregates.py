"""Aggregates as the scheduler sees them: which a host is in, and what their metadata says.

The index is never changed: a feed event makes a new one. So a decision works on one state from its beginning to its
end, without a lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ZONE_KEY = "availability_zone"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`aggregate_id` is also the id of its mirror in placement."""

    aggregate_id: str
    name: str
    hosts: frozenset[str]
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AggregateIndex:
    """All aggregates at one moment."""

    by_id: Mapping[str, Aggregate] = field(default_factory=lambda: MappingProxyType({}))
    by_host: Mapping[str, tuple[Aggregate, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def __iter__(self) -> Iterator[Aggregate]:
        return iter(self.by_id.values())

    def of_host(self, host: str) -> tuple[Aggregate, ...]:
        """By id, so that equal sets are equal tuples."""
        return self.by_host.get(host, ())

    def values(self, host: str, key: str) -> list[str]:
        """What the aggregates of a host say under a key; empty when none says anything."""
        return [one.metadata[key] for one in self.of_host(host) if key in one.metadata]

    def zone(self, host: str) -> str:
        """Empty when no aggregate of the host is a zone."""
        return next(iter(self.values(host, ZONE_KEY)), "")


class Aggregates:
    """Keeps the index current. What a feed tells is put in; decisions take `current`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.current = AggregateIndex()

    def put(self, aggregate: Aggregate) -> None:
        with self._lock:
            self._show({**self.current.by_id, aggregate.aggregate_id: aggregate})

    def drop(self, aggregate_id: str) -> None:
        with self._lock:
            self._show({key: one for key, one in self.current.by_id.items() if key != aggregate_id})

    def replace(self, aggregates: Iterable[Aggregate]) -> None:
        """A snapshot: these are all there are."""
        with self._lock:
            self._show({one.aggregate_id: one for one in aggregates})

    def _show(self, by_id: Mapping[str, Aggregate]) -> None:
        by_host: dict[str, tuple[Aggregate, ...]] = {}
        for key in sorted(by_id):
            for host in by_id[key].hosts:
                by_host[host] = (*by_host.get(host, ()), by_id[key])
        self.current = AggregateIndex(MappingProxyType(dict(by_id)), MappingProxyType(by_host))
