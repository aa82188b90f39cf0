"""What a caller asks of a host, or of a tree of providers, put into one checked and immutable form.

`CandidateQuery.of` is the only way from the contract's message to a query: whatever passes it can be answered,
so that the search itself never has to refuse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2
from protonova.services.placement.records import ProviderRecord
from protonova.services.runtime import errors

AnyOf = frozenset[str]

# More than anybody places at once, and what a walk can hold on its way.
MOST_PARTS = 128


@dataclass(frozen=True, slots=True)
class Conditions:
    """On the traits and aggregates of providers. Each set of `required` and of `member_of` asks for one of it."""

    required: tuple[AnyOf, ...] = ()
    forbidden: frozenset[str] = frozenset()
    member_of: tuple[AnyOf, ...] = ()
    forbidden_aggregates: frozenset[str] = frozenset()

    def traits_allow(self, traits: frozenset[str]) -> bool:
        return not (self.forbidden & traits) and all(choice & traits for choice in self.required)

    def aggregates_allow(self, aggregates: frozenset[str]) -> bool:
        return not (self.forbidden_aggregates & aggregates) and all(
            choice & aggregates for choice in self.member_of
        )

    def allow(self, provider: ProviderRecord) -> bool:
        return self.traits_allow(provider.traits) and self.aggregates_allow(provider.aggregates)


@dataclass(frozen=True, slots=True)
class Group:
    """Resources that are looked for together: of one provider, or with an empty suffix of several."""

    suffix: str
    resources: Mapping[str, int] = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)
    in_tree: str = ""


@dataclass(frozen=True, slots=True)
class CandidateQuery:
    """`groups` are in a fixed order, the one with the empty suffix first."""

    groups: tuple[Group, ...]
    isolate: bool = False
    root: Conditions = field(default_factory=Conditions)
    same_subtree: tuple[frozenset[str], ...] = ()
    limit: int = 0
    nested: bool = True

    @property
    def plain_group(self) -> Group | None:
        """The group with the empty suffix, when it asks for anything."""
        first = self.groups[0]
        return first if not first.suffix else None

    @property
    def suffixed_groups(self) -> tuple[Group, ...]:
        return tuple(group for group in self.groups if group.suffix)

    @property
    def classes(self) -> frozenset[str]:
        return frozenset(name for group in self.groups for name in group.resources)

    @property
    def trait_names(self) -> frozenset[str]:
        found = set(self.root.forbidden).union(*self.root.required)
        for group in self.groups:
            found |= group.conditions.forbidden.union(*group.conditions.required)
        return frozenset(found)

    @classmethod
    def of(cls, request: pb.ListAllocationCandidatesRequest) -> CandidateQuery:
        """Raises QUERY_INVALID."""
        groups = [_group(message) for message in request.groups]
        suffixes = [group.suffix for group in groups]
        if len(set(suffixes)) != len(suffixes):
            raise invalid("groups", "Each group needs a suffix of its own.")
        subtrees = tuple(frozenset(subtree.suffixes) for subtree in request.same_subtree)
        _check_subtrees(subtrees, set(suffixes))
        _check_orphans(groups, subtrees)
        if sum(1 if group.suffix else len(group.resources) for group in groups) > MOST_PARTS:
            raise invalid("resources", f"At most {MOST_PARTS} groups and classes may be asked for at once.")
        if sum(bool(suffix) for suffix in suffixes) > 1 and not request.group_policy:
            raise invalid("group_policy", "More than one group with a suffix needs group_policy.")
        if request.limit < 0:
            raise invalid("limit", "limit must not be negative.")
        root = Conditions(
            required=tuple(frozenset({name}) for name in request.root_required_traits),
            forbidden=frozenset(request.root_forbidden_traits),
        )
        _check_traits("root_required", root)
        return cls(
            groups=tuple(sorted(groups, key=lambda group: group.suffix)),
            isolate=request.group_policy == pb.GROUP_POLICY_ISOLATE,
            root=root,
            same_subtree=subtrees if request.nested else (),
            limit=request.limit,
            nested=request.nested,
        )


def conditions(
    required: Iterable[resource_provider_pb2.TraitCondition],
    forbidden: Iterable[str],
    member_of: Iterable[resource_provider_pb2.AggregateCondition],
    forbidden_aggregates: Iterable[str],
) -> Conditions:
    """From the contract's messages."""
    return Conditions(
        required=tuple(frozenset(choice.any_of) for choice in required if choice.any_of),
        forbidden=frozenset(forbidden),
        member_of=tuple(frozenset(choice.any_of) for choice in member_of if choice.any_of),
        forbidden_aggregates=frozenset(forbidden_aggregates),
    )


def check_amounts(parameter: str, resources: Mapping[str, int]) -> None:
    """Raises QUERY_INVALID."""
    for name, amount in resources.items():
        if amount < 1:
            raise invalid(parameter, f"The amount of {name} must be at least 1, not {amount}.")


def invalid(parameter: str, message: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(message, reason="QUERY_INVALID", parameter=parameter)


def _group(message: pb.RequestGroup) -> Group:
    resources = dict(message.resources)
    check_amounts(f"resources{message.suffix}", resources)
    wanted = conditions(
        message.required_traits, message.forbidden_traits, message.member_of, message.forbidden_aggregates
    )
    _check_traits(f"required{message.suffix}", wanted)
    return Group(message.suffix, resources, wanted, message.in_tree)


def _check_traits(parameter: str, wanted: Conditions) -> None:
    for choice in wanted.required:
        if len(choice) == 1 and choice <= wanted.forbidden:
            raise invalid(parameter, f"Trait {next(iter(choice))} is both required and forbidden.")


def _check_subtrees(subtrees: Iterable[frozenset[str]], suffixes: set[str]) -> None:
    for subtree in subtrees:
        for suffix in sorted(subtree):
            if not suffix:
                raise invalid("same_subtree", "The group without a suffix cannot be named.")
            if suffix not in suffixes:
                raise invalid("same_subtree", f"No group has the suffix {suffix}.")


def _check_orphans(groups: Iterable[Group], subtrees: Iterable[frozenset[str]]) -> None:
    named = frozenset().union(*subtrees)
    groups = list(groups)
    if not any(group.resources for group in groups):
        raise invalid("resources", "At least one group must ask for resources.")
    for group in groups:
        if not group.resources and group.suffix not in named:
            raise invalid(
                f"resources{group.suffix}",
                f"Group '{group.suffix}' asks for no resources and is in no same_subtree.",
            )
