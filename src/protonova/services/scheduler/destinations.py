"""Finds destinations for servers: asks placement, plans, claims, and does it again for those that lost a race.

The claim is the only thing that binds. A repeat for a server that holds a claim replaces it, so whoever asks may
ask again (see `claims`). Members of a server group are given their places in it before they are claimed there (see
`groups`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.scheduler import claims, measures
from protonova.services.scheduler.demand import candidate_request, device_groups
from protonova.services.scheduler.explaining import Explainer, Explanation
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.groups import Groups
from protonova.services.scheduler.offer import Offer, Ways
from protonova.services.scheduler.planning import Pick, Place, Plan, Planner, Rules
from protonova.services.scheduler.request import Group, Request
from protonova.services.scheduler.request_filters import Query, narrow
from protonova.services.scheduler.view import HostView

LOG = logging.getLogger(__name__)

NO_HOST = "No valid host was found."
# How long a host may keep a request waiting that placement knows and its conductor has yet to tell of.
_NEWCOMER_SECONDS = 1.0
# How long a request waits for news of NUMA cells and PCI devices, when placement has room for it and what is known
# of these has none.
_TOPOLOGY_SECONDS = 0.5


@dataclass(slots=True)
class Outcome:
    """`picks` are claimed, by server id; `failures` say why there is none, and `explanation` how that came about
    for those for whom no host was left."""

    picks: dict[str, Pick]
    failures: dict[str, str]
    explanation: Explanation | None = None


class Destinations:
    """Answers requests."""

    def __init__(
        self,
        view: HostView,
        placement: allocation_pb2_grpc.AllocationServiceStub,
        rules: Rules,
        groups: Groups,
        conf: Conf,
    ) -> None:
        self._view = view
        self._placement = placement
        self._rules = rules
        self._groups = groups
        self._conf = conf
        self._max_results = int(conf.scheduler.max_placement_results)
        self._attempts = int(conf.scheduler.claim_attempts)
        self._pci_in_placement = bool(conf.filter_scheduler.pci_in_placement)

    def select(
        self,
        spec: scheduler_pb2.RequestSpec,
        server_ids: Sequence[str],
        max_alternates: int,
        heard: Callable[[], bool],
        move: scheduler_pb2.Move | None = None,
    ) -> Outcome:
        """`heard`: whether the caller still listens.

        Raises transient errors of placement and api, and GROUP_BUSY."""
        with measures.decision(len(server_ids)) as decision:
            outcome = self._select(spec, server_ids, max_alternates, heard, move)
            decision.ended(placed=len(outcome.picks), refused=len(outcome.failures))
        return outcome

    def _select(
        self,
        spec: scheduler_pb2.RequestSpec,
        server_ids: Sequence[str],
        max_alternates: int,
        heard: Callable[[], bool],
        move: scheduler_pb2.Move | None,
    ) -> Outcome:
        outcome = Outcome({}, {})
        request = self._request(spec)
        left = list(dict.fromkeys(server_ids))
        seats = self._groups.seats(spec.server_group_ids, left, move)
        attempts = self._attempts
        while left and attempts:
            request.group = seats.look(left)
            request.width = seats.width
            try:
                plan = self._plan(request, left, max_alternates)
            except (errors.NotFound, errors.InvalidArgument, errors.FailedPrecondition) as refusal:
                plan = Plan(failures=dict.fromkeys(left, f"{NO_HOST} {refusal.message}"))
            if not seats.take(plan.picks, left):
                _displace(request, plan.picks)
                seats.rest()
                continue
            attempts -= 1
            # A member's claim and its place are to be of one call.
            claim = claims.Claim(
                self._placement,
                self._view,
                spec,
                first=request.group is not None,
                heard=heard,
                consumer_type="INSTANCE" if move is None else "MIGRATION",
            )
            lost = claim.made(plan.picks)
            measures.CLAIMS_LOST.inc(len(lost))
            won = [pick for pick in plan.picks if pick.server_id not in lost]
            _displace(request, [pick for pick in plan.picks if pick.server_id in lost])
            outcome.picks.update((pick.server_id, pick) for pick in won)
            outcome.failures.update(plan.failures)
            # Those without a place are looked at again as long as others get one: placement told of some
            # hosts only.
            left = [*lost, *(plan.failures if won else ())]
            if plan.failures and not won and seats.unsettled():
                left = [*lost, *plan.failures]
                attempts += 1
                seats.rest()
            elif plan.failures and not won and self._gave_up(plan.failures):
                left = [*lost, *plan.failures]
        if left:
            self._gave_up(left)
        seats.give_back(left)
        for server_id in left:
            outcome.failures.setdefault(server_id, f"{NO_HOST} Others were faster on every host tried.")
        for server_id in outcome.picks:
            outcome.failures.pop(server_id, None)
        self._explain_failures(request, outcome)
        return outcome

    def explain(
        self, spec: scheduler_pb2.RequestSpec, count: int, most_verdicts: int
    ) -> tuple[Explanation, list[Place]]:
        """What `select` would decide for so many servers, up to the first that gets no host, and why for the last
        of them. Books nothing. Raises errors of placement and api, and what filters raise."""
        seats = self._groups.seats(spec.server_group_ids, ())
        offer = self._whole_offer(spec)
        names = [str(number) for number in range(count)]
        plan = self._planner(self._request(spec, seats.look(())), offer).plan(names, 0)
        places = [pick.place for pick in plan.picks]
        before = places if plan.failures else places[:-1]
        request = self._request(spec, seats.look(()))
        for place in before:
            request.placed(place.host.host)
        return self._explainer(request, offer, before).explain(most_verdicts), places

    def refuses_rebuild(self, spec: scheduler_pb2.RequestSpec) -> Filter | None:
        """The filter that does not let the server be made anew of this image on its host; None when it may be."""
        node_id = self._view.node_id(spec.host, spec.node)
        hosts, _ = self._view.table([node_id] if node_id else [])
        if not len(hosts):
            return self._rules.place
        request = self._request(spec)
        for each in self._rules.filters:
            if each.rebuild and not each.passing(hosts, request).all():
                return each
        return None

    def _request(self, spec: scheduler_pb2.RequestSpec, group: Group | None = None) -> Request:
        return Request(spec, group, device_groups=device_groups(spec) if self._pci_in_placement else {})

    def _explain_failures(self, request: Request, outcome: Outcome) -> None:
        unexplained = [server_id for server_id, reason in outcome.failures.items() if not reason]
        if not unexplained:
            return
        reason = NO_HOST
        try:
            explainer = self._explainer(request, self._whole_offer(request.spec))
            outcome.explanation = explainer.explain(self._conf.scheduler.explained_hosts)
            reason = f"{NO_HOST} {outcome.explanation.words()}"
        except errors.Error as error:
            # That there is no host is known all the same.
            LOG.info("Why no host was left cannot be told: %s", error)
        outcome.failures.update(dict.fromkeys(unexplained, reason))

    def _explainer(self, request: Request, offer: Offer, taken: Sequence[Place] = ()) -> Explainer:
        amounts: Counter[str] = Counter()
        for group in self._query(request.spec).groups:
            amounts.update(group.resources)
        return Explainer(self._view, self._rules, request, offer.root_ids(), amounts, taken)

    def _whole_offer(self, spec: scheduler_pb2.RequestSpec) -> Offer:
        """Of all hosts; where the request names one, of that."""
        return self._offer(spec, self._view.node_id(spec.host, spec.node) or "" if spec.host else "", 0)

    def _gave_up(self, server_ids: Collection[str]) -> bool:
        """Whether any of these servers, for which there is no host, held something: an earlier call claimed it and
        was not heard. It must neither make their own host look full nor be left over."""
        if not any(claims.holds(self._placement, server_id) for server_id in server_ids):
            return False
        claims.give_up(self._placement, server_ids)
        return True

    def _plan(self, request: Request, server_ids: Sequence[str], max_alternates: int) -> Plan:
        spec = request.spec
        in_tree = ""
        if spec.host:
            in_tree = self._view.node_id(spec.host, spec.node) or ""
            if not in_tree:
                reason = f"{NO_HOST} Host {spec.host} is not known."
                return Plan(failures=dict.fromkeys(server_ids, reason))
        mark = self._view.topology_news()
        limit = 0 if in_tree else max(self._max_results, len(server_ids))
        offer = self._offer(spec, in_tree, limit)
        plan = self._planner(request, offer).plan(server_ids, max_alternates)
        if not plan.picks and limit and len(offer) >= limit:
            offer = self._offer(spec, in_tree, 0)
            plan = self._planner(request, offer).plan(server_ids, max_alternates)
        if not plan.picks and self._view.await_newcomer(offer.root_ids(), _NEWCOMER_SECONDS):
            plan = self._planner(request, offer).plan(server_ids, max_alternates)
        if not plan.picks and len(offer) and (spec.HasField("numa_topology") or spec.pci_requests):
            plan = self._plan_by_news(request, offer, server_ids, max_alternates, mark) or plan
        return plan

    def _plan_by_news(
        self, request: Request, offer: Offer, server_ids: Sequence[str], max_alternates: int, mark: int
    ) -> Plan | None:
        """Plans again whenever a host tells of its cells or devices anew, until one has room or time is over."""
        ends = time.monotonic() + _TOPOLOGY_SECONDS
        plan = None
        while self._view.await_topology(offer.root_ids(), mark, max(0.0, ends - time.monotonic())):
            mark = self._view.topology_news()
            plan = self._planner(request, offer).plan(server_ids, max_alternates)
            if plan.picks:
                break
        return plan

    def _offer(self, spec: scheduler_pb2.RequestSpec, in_tree: str, limit: int) -> Offer:
        query = self._query(spec, in_tree, limit)
        if not any(group.resources for group in query.groups):
            raise errors.InvalidArgument("The flavor asks for no resources.", reason="FLAVOR_INVALID")
        return Offer.of(self._placement.ListAllocationCandidates(query))

    def _query(
        self, spec: scheduler_pb2.RequestSpec, in_tree: str = "", limit: int = 0
    ) -> pb.ListAllocationCandidatesRequest:
        query = candidate_request(spec, in_tree=in_tree, limit=limit, devices=self._pci_in_placement)
        self._narrowed(spec).add_to(query)
        return query

    def _narrowed(self, spec: scheduler_pb2.RequestSpec) -> Query:
        zone = spec.availability_zone
        by_aggregates = bool(zone) and self._view.zone_by_aggregates(zone)
        return narrow(Query(spec, self._conf, self._view.aggregates.current, by_aggregates))

    def _planner(self, request: Request, offer: Offer) -> Planner:
        rules = replace(self._rules, subset_size=max(self._rules.subset_size, request.width))
        return planner(self._view, rules, request, offer)


def _displace(request: Request, picks: Iterable[Pick]) -> None:
    for pick in picks:
        request.displaced(pick.place.host.host)


def planner(
    view: HostView,
    rules: Rules,
    request: Request,
    offer: Offer,
) -> Planner:
    """Of a request for which placement made an offer."""
    hosts, rows = view.table(offer.alone, offer.tree_ids)
    return Planner(rules, request, hosts, Ways(offer, rows, len(hosts)), view.free)
