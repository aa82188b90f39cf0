"""Finds destinations for servers: asks placement, plans, claims, and does it again for those that lost a race.

The claim is the only thing that binds. A repeat for a server that holds a claim replaces it, so whoever asks may
ask again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from protonova.services.scheduler.demand import candidate_request
from protonova.services.scheduler.planning import Pick, Plan, Planner, Rules
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostView

LOG = logging.getLogger(__name__)

NO_HOST = "No valid host was found."
# What another's claim, or a view that was behind, makes of ours: worth another look.
_LOST = frozenset({"CAPACITY_EXCEEDED", "ALLOCATION_INVALID", "PROVIDER_NOT_FOUND", "CONCURRENT_UPDATE"})
_MOST_CONSUMERS = 200
# How long a host may keep a request waiting that placement knows and its conductor has yet to tell of.
_NEWCOMER_SECONDS = 1.0

Allocations = Mapping[str, Mapping[str, int]]


@dataclass(slots=True)
class Outcome:
    """`picks` are claimed, by server id; `failures` say why there is none."""

    picks: dict[str, Pick]
    failures: dict[str, str]


class Destinations:
    """Answers requests."""

    def __init__(
        self,
        view: HostView,
        placement: allocation_pb2_grpc.AllocationServiceStub,
        rules: Rules,
        *,
        max_results: int,
        attempts: int,
    ) -> None:
        self._view = view
        self._placement = placement
        self._rules = rules
        self._max_results = max_results
        self._attempts = attempts

    def select(
        self, spec: scheduler_pb2.RequestSpec, server_ids: Sequence[str], max_alternates: int
    ) -> Outcome:
        """Raises transient errors of placement."""
        outcome = Outcome({}, {})
        request = Request(spec)
        left = list(dict.fromkeys(server_ids))
        for _ in range(self._attempts):
            try:
                plan = self._plan(request, left, max_alternates)
            except (errors.NotFound, errors.InvalidArgument) as refusal:
                plan = Plan(failures=dict.fromkeys(left, f"{NO_HOST} {refusal.message}"))
            lost = self._claim(spec, plan.picks)
            won = [pick for pick in plan.picks if pick.server_id not in lost]
            outcome.picks.update((pick.server_id, pick) for pick in won)
            outcome.failures.update(plan.failures)
            # Those without a place are looked at again as long as others get one: placement told of some
            # hosts only.
            left = [*lost, *(plan.failures if won else ())]
            if not left:
                break
        for server_id in left:
            outcome.failures.setdefault(server_id, f"{NO_HOST} Others were faster on every host tried.")
        for server_id in outcome.picks:
            outcome.failures.pop(server_id, None)
        return outcome

    def _plan(self, request: Request, server_ids: Sequence[str], max_alternates: int) -> Plan:
        spec = request.spec
        in_tree = ""
        if spec.host:
            in_tree = self._view.node_id(spec.host, spec.node) or ""
            if not in_tree:
                reason = f"{NO_HOST} Host {spec.host} is not known."
                return Plan(failures=dict.fromkeys(server_ids, reason))
        limit = 0 if in_tree else max(self._max_results, len(server_ids))
        candidates = self._candidates(spec, in_tree, limit)
        plan = self._planner(request, candidates).plan(server_ids, max_alternates)
        if not plan.picks and limit and len(candidates) >= limit:
            candidates = self._candidates(spec, in_tree, 0)
            plan = self._planner(request, candidates).plan(server_ids, max_alternates)
        if not plan.picks and self._view.await_newcomer(
            [candidate.root_id for candidate in candidates], _NEWCOMER_SECONDS
        ):
            plan = self._planner(request, candidates).plan(server_ids, max_alternates)
        return plan

    def _candidates(self, spec: scheduler_pb2.RequestSpec, in_tree: str, limit: int) -> list[pb.Candidate]:
        query = candidate_request(spec, in_tree=in_tree, limit=limit)
        if not any(group.resources for group in query.groups):
            raise errors.InvalidArgument("The flavor asks for no resources.", reason="FLAVOR_INVALID")
        return list(self._placement.ListAllocationCandidates(query).candidates)

    def _planner(self, request: Request, candidates: Sequence[pb.Candidate]) -> Planner:
        ways: dict[str, list[Allocations]] = {}
        for candidate in candidates:
            ways.setdefault(candidate.root_id, []).append(_Lazy(candidate))
        hosts, rows = self._view.table(list(ways))
        known = [found for found, row in zip(ways.values(), rows, strict=True) if row >= 0]
        return Planner(self._rules, request, hosts, known, self._view.free)

    def _claim(self, spec: scheduler_pb2.RequestSpec, picks: Sequence[Pick]) -> list[str]:
        """Claims what is picked, many servers in one transaction; answers the servers whose claim was lost."""
        lost: list[str] = []
        for start in range(0, len(picks), _MOST_CONSUMERS):
            some = picks[start : start + _MOST_CONSUMERS]
            if self._claimed(spec, some):
                continue
            if len(some) == 1:
                lost.append(some[0].server_id)
            else:
                lost.extend(pick.server_id for pick in some if not self._claimed(spec, [pick]))
        return lost

    def _claimed(self, spec: scheduler_pb2.RequestSpec, picks: Sequence[Pick]) -> bool:
        for pick in picks:
            self._view.take(pick.place.allocations)
        try:
            self._placement.ReplaceAllocations(
                pb.ReplaceAllocationsRequest(consumers=[_consumer(spec, pick) for pick in picks])
            )
        except errors.Error as refusal:
            for pick in picks:
                self._view.take(pick.place.allocations, -1)
            if refusal.reason not in _LOST:
                raise
            LOG.info("A claim for %d servers was lost: %s", len(picks), refusal)
            return False
        return True


class _Lazy(Mapping[str, Mapping[str, int]]):
    """A candidate's allocations; read from the message when first looked at, as most never are."""

    __slots__ = ("_found", "_message")

    def __init__(self, message: pb.Candidate) -> None:
        self._message = message
        self._found: dict[str, dict[str, int]] | None = None

    def _read(self) -> dict[str, dict[str, int]]:
        if self._found is None:
            providers = self._message.allocations.providers
            self._found = {provider: dict(resources.amounts) for provider, resources in providers.items()}
        return self._found

    def __getitem__(self, provider: str) -> Mapping[str, int]:
        return self._read()[provider]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())


def _consumer(spec: scheduler_pb2.RequestSpec, pick: Pick) -> pb.ConsumerAllocations:
    message = pb.ConsumerAllocations(
        consumer_id=pick.server_id,
        project_id=spec.project_id,
        user_id=spec.user_id,
        consumer_type="INSTANCE",
    )
    for provider, amounts in pick.place.allocations.items():
        message.allocations.providers[provider].amounts.update(amounts)
    return message
