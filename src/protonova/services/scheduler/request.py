"""One request as filters and weighers see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from google.protobuf.struct_pb2 import Value

from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.scheduler.devices import Wanted


@dataclass(slots=True)
class Group:
    """A server group: where its members are. The planner adds those it places."""

    policy: str
    members_by_host: Counter[str] = field(default_factory=Counter)
    max_per_host: int = 1


@dataclass
class Request:
    """What is asked for; the contract's message with what is derived from it."""

    spec: scheduler_pb2.RequestSpec
    group: Group | None = None
    # One of so many best hosts is chosen by chance, whatever the operator's taste.
    width: int = 1
    # Servers of this request that were placed already, by host.
    earlier: Counter[str] = field(default_factory=Counter)
    # By PCI request, the suffixes of the groups by which placement is asked for its devices; empty: it is not.
    device_groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def wanted(self) -> Wanted:
        """Of a host's NUMA cells and PCI devices."""
        return Wanted.of(self.spec)

    @cached_property
    def extra_specs(self) -> Mapping[str, str]:
        return dict(self.spec.flavor.extra_specs)

    @cached_property
    def image_properties(self) -> Mapping[str, str]:
        return dict(self.spec.image.properties)

    @cached_property
    def hints(self) -> Mapping[str, Any]:
        """Scheduler hints as they were given; numbers are floating point."""
        return {name: _plain(value) for name, value in self.spec.scheduler_hints.fields.items()}

    def hint_texts(self, name: str) -> list[str]:
        """A hint that is a text or a list of texts."""
        value = self.hints.get(name)
        if value is None or value == "":
            return []
        return [str(each) for each in value] if isinstance(value, list) else [str(value)]

    def placed(self, host: str) -> None:
        """Another server of this request goes there."""
        self.earlier[host] += 1
        if self.group is not None:
            self.group.members_by_host[host] += 1

    def displaced(self, host: str) -> None:
        """One that was placed there does not go there after all."""
        self.earlier[host] -= 1
        if self.group is not None:
            self.group.members_by_host[host] -= 1


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(each) for name, each in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(each) for each in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)
