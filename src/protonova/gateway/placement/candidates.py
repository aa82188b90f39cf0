"""Allocation candidates, from 1.10 on: where a request for resources would fit.

History: 1.12 allocations by provider; 1.16 limit; 1.17 required; 1.21 member_of; 1.25 several groups;
1.27 summaries tell every class; 1.29 trees; 1.31 in_tree; 1.33 free suffixes; 1.34 mappings;
1.35 root_required; 1.36 same_subtree and groups without resources. The grammar stands in ``query``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement import query
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER,
    MOST_DIGITS,
    OBJECT,
    STRING,
    UUID,
    UUID_OR_NULL,
    Arr,
    Field,
    Map,
    Obj,
    View,
    one_of,
    text,
)
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window
from protonova.placement.v1 import allocation_pb2 as pb

ALL_CLASSES = Window.parse("1.27-")
NESTED = Window.parse("1.29-")
RESOURCELESS = Window.parse("1.36-")

candidates = Resource("allocation_candidates")

# Parameters of groups have free names and are read by the grammar.
PARAMETERS = Query(
    Field("limit", text(1, MOST_DIGITS, r"^[1-9][0-9]*$"), since="1.16"),
    Field("group_policy", one_of("none", "isolate"), since="1.25"),
    Field("root_required", STRING, since="1.35"),
    Field("same_subtree", STRING, since="1.36"),
    strict="1.0",
)


class CandidateQuery(Query):
    """The parameters declared, and those of groups with whatever suffix."""

    def read(self, version: int, given: dict[str, list[str]]) -> dict[str, list[str]]:
        grouped = {name: values for name, values in given.items() if query.group_key(name, version)}
        rest = {name: values for name, values in given.items() if name not in grouped}
        return {**super().read(version, rest), **grouped}


QUERY = CandidateQuery(*PARAMETERS.fields, strict="1.0")

_POLICIES = {"none": pb.GROUP_POLICY_NONE, "isolate": pb.GROUP_POLICY_ISOLATE}


class _Offer(NamedTuple):
    """A candidate. What many have in common is one object: nobody changes it."""

    allocations: dict[str, dict[str, Any]]
    mappings: dict[str, list[str]]


class _Summary(NamedTuple):
    """A provider that candidates use, or that is in a tree which they use."""

    resources: dict[str, dict[str, int]]
    traits: list[str]
    parent: str | None
    root: str


CANDIDATE = View(
    Field(
        "allocations",
        Arr(OBJECT),
        lambda c, _: [
            {"resource_provider": {"uuid": provider}, **held} for provider, held in c.allocations.items()
        ],
        until="1.11",
        required=True,
    ),
    Field("allocations", OBJECT, lambda c, _: c.allocations, since="1.12", required=True),
    Field("mappings", Map("", Arr(UUID)), lambda c, _: c.mappings, since="1.34", required=True),
)
SUMMARY = View(
    Field(
        "resources",
        Map("", Obj(Field("capacity", INTEGER), Field("used", INTEGER))),
        lambda s, _: s.resources,
        required=True,
    ),
    Field("traits", Arr(STRING), lambda s, _: s.traits, since="1.17", required=True),
    Field("parent_provider_uuid", UUID_OR_NULL, lambda s, _: s.parent, since="1.29", required=True),
    Field("root_provider_uuid", UUID, lambda s, _: s.root, since="1.29", required=True),
)


@candidates.get(
    "/allocation_candidates",
    "list",
    since="1.10",
    policy="placement:allocation_candidates:list",
    query=QUERY,
    answer=Obj(
        Field("allocation_requests", Arr(CANDIDATE), required=True),
        Field("provider_summaries", Map("", SUMMARY), required=True),
    ),
)
def index(request: Request) -> dict[str, Any]:
    """List where a request for resources would fit."""
    wanted = _wanted(request)
    found = request.services.allocations.ListAllocationCandidates(wanted)
    shown = {name for group in wanted.groups for name in group.resources}
    summaries = _summaries(found.summary_table, None if request.version in ALL_CLASSES else shown)
    show_summary = request.shower(SUMMARY)
    return {
        "allocation_requests": request.show_all(CANDIDATE, _offers(found)),
        "provider_summaries": {provider: show_summary(summary, request) for provider, summary in summaries},
    }


def _offers(found: pb.ListAllocationCandidatesResponse) -> Iterator[_Offer]:
    alike = {"resources": dict(found.alone.resources.amounts)}
    suffixes = list(found.alone.suffixes)
    for provider in found.alone.provider_ids:
        yield _Offer({provider: alike}, {suffix: [provider] for suffix in suffixes})
    for candidate in found.candidates:
        yield _Offer(
            {
                provider: {"resources": dict(amounts.amounts)}
                for provider, amounts in candidate.allocations.providers.items()
            },
            {suffix: list(ids.provider_ids) for suffix, ids in candidate.mappings.items()},
        )


def _summaries(table: pb.SummaryTable, classes: set[str] | None) -> Iterator[tuple[str, _Summary]]:
    """By provider; only of some classes unless all are wanted."""
    resources: list[dict[str, dict[str, int]]] = [{} for _ in table.provider_ids]
    for column in table.resources:
        name = column.resource_class
        if classes is None or name in classes:
            for own, capacity, used in zip(resources, column.capacities, column.used, strict=True):
                if capacity >= 0:
                    own[name] = {"capacity": capacity, "used": used}
    traits = [list(each.traits) for each in table.trait_sets]
    for provider, own, place, parent, root in zip(
        table.provider_ids, resources, table.traits, table.parent_ids, table.root_ids, strict=True
    ):
        yield provider, _Summary(own, traits[place], parent or None, root)


def _wanted(request: Request) -> pb.ListAllocationCandidatesRequest:
    groups = query.groups(request.query, request.version)
    subtrees = [value.split(",") for value in request.query.get("same_subtree", [])]
    _check_subtrees(groups, subtrees)
    _check_orphans(groups, subtrees, request.version)
    policy = request.last("group_policy")
    if policy is None and sum(1 for suffix in groups if suffix) > 1:
        raise Fault(400, "group_policy is required with more than one group with a suffix.")
    wanted = pb.ListAllocationCandidatesRequest(
        groups=groups.values(),
        group_policy=_POLICIES.get(policy or "", pb.GROUP_POLICY_UNSPECIFIED),
        same_subtree=[pb.Subtree(suffixes=suffixes) for suffixes in subtrees],
        limit=min(int(request.last("limit") or 0), 2147483647),
        nested=request.version in NESTED,
        tables=True,
    )
    _root_traits(request, wanted)
    return wanted


def _root_traits(request: Request, wanted: pb.ListAllocationCandidatesRequest) -> None:
    given = request.query.get("root_required")
    if given is None:
        return
    if len(given) > 1:
        raise Fault(400, "root_required is given more than once.", reason="QUERY_DUPLICATE_KEY")
    try:
        if given[0].startswith("in:"):
            raise Fault(400, "root_required: 'in:' is not understood here.")
        traits = query.traits(given, request.version, "root_required")
        traits.refuse_conflict("root_required")
    except Fault as fault:
        fault.reason = "QUERY_BAD_VALUE"
        raise
    wanted.root_required_traits.extend(condition.any_of[0] for condition in traits.required)
    wanted.root_forbidden_traits.extend(traits.forbidden)


def _check_subtrees(groups: dict[str, pb.RequestGroup], subtrees: list[list[str]]) -> None:
    for suffixes in subtrees:
        for suffix in suffixes:
            if not suffix:
                raise Fault(400, "same_subtree has an empty suffix.", reason="QUERY_BAD_VALUE")
            if suffix not in groups:
                raise Fault(
                    400, f"same_subtree: no group has the suffix '{suffix}'.", reason="QUERY_BAD_VALUE"
                )


def _check_orphans(groups: dict[str, pb.RequestGroup], subtrees: list[list[str]], version: int) -> None:
    """Refuses groups that ask for no resources, unless a subtree names them."""
    named = {suffix for suffixes in subtrees for suffix in suffixes} if version in RESOURCELESS else set()
    for suffix, group in groups.items():
        if not group.resources and suffix not in named:
            name = f"resources{suffix}"
            raise Fault(400, f"{name} is missing: conditions are given for a group without resources.")
    if not any(group.resources for group in groups.values()):
        reason = "QUERY_MISSING_VALUE" if version in RESOURCELESS else ""
        raise Fault(400, "resources is missing: no group asks for any.", reason=reason)
