"""What request filters work on: a request, what it is judged by, and what is added to placement's query."""

from __future__ import annotations

from dataclasses import dataclass, field

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime.config import Conf
from protonova.services.scheduler.aggregates import AggregateIndex

_TRUE = frozenset(("1", "t", "true", "on", "y", "yes"))


@dataclass(slots=True)
class Query:
    """`zone_by_aggregates`: whether all hosts of the requested zone are in it by an aggregate. `member_of` holds
    conditions that are all to be met: a host is in any aggregate of each."""

    spec: scheduler_pb2.RequestSpec
    conf: Conf
    aggregates: AggregateIndex = field(default_factory=AggregateIndex)
    zone_by_aggregates: bool = False
    member_of: list[list[str]] = field(default_factory=list)
    forbidden_aggregates: set[str] = field(default_factory=set)
    root_traits: set[str] = field(default_factory=set)

    def extra_spec(self, key: str) -> str:
        """Of the flavor, or where it does not say of the image, whose property has `_` for `:`."""
        found = self.spec.flavor.extra_specs.get(key)
        return self.spec.image.properties.get(key.replace(":", "_", 1), "") if found is None else found

    def is_true(self, key: str) -> bool:
        return self.extra_spec(key).strip().lower() in _TRUE

    def asks_trait(self, name: str) -> bool:
        """Whether flavor or image require a trait of whatever serves them."""
        return any(
            key.startswith("trait") and key.partition(":")[2] == name and value == "required"
            for source in (self.spec.flavor.extra_specs, self.spec.image.properties)
            for key, value in source.items()
        )

    def add_to(self, request: pb.ListAllocationCandidatesRequest) -> None:
        """Aggregates are asked of the group without a suffix, which the root provider serves."""
        request.root_required_traits.extend(sorted(self.root_traits))
        if not self.member_of and not self.forbidden_aggregates:
            return
        group = next((group for group in request.groups if not group.suffix), None)
        if group is None:
            group = pb.RequestGroup()
            request.groups.insert(0, group)
            group = request.groups[0]
        for choice in self.member_of:
            group.member_of.add(any_of=choice)
        group.forbidden_aggregates.extend(sorted(self.forbidden_aggregates))
