"""One request as filters and weighers see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from protonova.scheduler.v1 import scheduler_pb2


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

    @cached_property
    def extra_specs(self) -> Mapping[str, str]:
        return dict(self.spec.flavor.extra_specs)

    @cached_property
    def image_properties(self) -> Mapping[str, str]:
        return dict(self.spec.image.properties)

    def placed(self, host: str) -> None:
        """Another server of this request goes there."""
        if self.group is not None:
            self.group.members_by_host[host] += 1
