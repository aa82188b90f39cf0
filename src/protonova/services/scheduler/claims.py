"""What servers hold in placement: the claims of this call, and those of earlier ones whose answer nobody heard."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import errors
from protonova.services.scheduler.devices import Wanted
from protonova.services.scheduler.planning import Pick
from protonova.services.scheduler.view import HostView

LOG = logging.getLogger(__name__)

_MOST_CONSUMERS = 200
# What another's claim, or a view that was behind, makes of ours: worth another look.
_LOST = frozenset({"CAPACITY_EXCEEDED", "ALLOCATION_INVALID", "PROVIDER_NOT_FOUND", "CONCURRENT_UPDATE"})
# The server holds something else than was seen.
_OVERTAKEN = "CONCURRENT_UPDATE"
# How often a claim is sent that is overtaken.
_TRIES = 4


class Claim:
    """How one call claims. What a server holds of an earlier call is replaced, as long as this call is `heard`: a
    claim that was still on its way when its caller gave up, and asked again elsewhere, comes too late.

    `first` = no server may hold anything yet: another call for the same one is under way, whose places count.
    """

    def __init__(
        self,
        placement: allocation_pb2_grpc.AllocationServiceStub,
        view: HostView,
        spec: scheduler_pb2.RequestSpec,
        *,
        first: bool,
        heard: Callable[[], bool],
        consumer_type: str,
    ) -> None:
        self._placement = placement
        self._consumer_type = consumer_type
        self._view = view
        self._spec = spec
        self._wanted = Wanted.of(spec)
        self._first = first
        self._heard = heard

    def made(self, picks: Sequence[Pick]) -> list[str]:
        """Claims what is picked, many servers in one transaction; answers the servers whose claim was lost."""
        lost: list[str] = []
        waiting = deque(
            picks[start : start + _MOST_CONSUMERS] for start in range(0, len(picks), _MOST_CONSUMERS)
        )
        while waiting:
            some = waiting.popleft()
            if self._together(some):
                continue
            if len(some) == 1:
                lost.append(some[0].server_id)
            else:
                # Most often one host was filled by somebody else: halves find whose it is in a few steps.
                half = len(some) // 2
                waiting.extendleft((some[half:], some[:half]))
        return lost

    def _together(self, picks: Sequence[Pick]) -> bool:
        for pick in picks:
            self._view.take(pick.place.allocations)
            self._take_devices(pick)
        try:
            self._replace(picks)
        except errors.Error as refusal:
            for pick in picks:
                self._view.take(pick.place.allocations, -1)
                self._view.give_devices_back(pick.place.host.node_id, pick.server_id)
            if refusal.reason not in _LOST or (refusal.reason == _OVERTAKEN and self._is_over()):
                raise
            LOG.info("A claim for %d servers was lost: %s", len(picks), refusal)
            return False
        return True

    def _take_devices(self, pick: Pick) -> None:
        if self._wanted.devices:
            place = pick.place
            own = self._wanted.of_providers(place.pci_providers.values())
            self._view.take_devices(place.host.node_id, pick.server_id, own)

    def _replace(self, picks: Sequence[Pick]) -> None:
        held: Mapping[str, int] = {}
        for tries_left in reversed(range(_TRIES)):
            consumers = [
                _consumer(self._spec, pick, self._consumer_type, held.get(pick.server_id)) for pick in picks
            ]
            try:
                self._placement.ReplaceAllocations(pb.ReplaceAllocationsRequest(consumers=consumers))
            except errors.Error as refusal:
                if refusal.reason != _OVERTAKEN or not tries_left or self._is_over():
                    raise
                held = _held(self._placement, (pick.server_id for pick in picks))
            else:
                return

    def _is_over(self) -> bool:
        """Whether a call that was overtaken must not go on."""
        return self._first or not self._heard()


def holds(placement: allocation_pb2_grpc.AllocationServiceStub, server_id: str) -> bool:
    return bool(_held(placement, [server_id]))


def give_up(placement: allocation_pb2_grpc.AllocationServiceStub, server_ids: Iterable[str]) -> None:
    """Whatever these servers hold, if anything. What somebody claims meanwhile is theirs: CONCURRENT_UPDATE."""
    seen = iter(sorted(_held(placement, server_ids).items()))
    while some := list(islice(seen, _MOST_CONSUMERS)):
        request = pb.ReplaceAllocationsRequest()
        for server_id, generation in some:
            request.consumers.add(
                consumer_id=server_id, generation_check=pb.GENERATION_CHECK_EXACT, generation=generation
            ).allocations.SetInParent()
        placement.ReplaceAllocations(request)


def _held(placement: allocation_pb2_grpc.AllocationServiceStub, server_ids: Iterable[str]) -> dict[str, int]:
    """Generations of what these servers hold; those that hold nothing are left out."""
    found = {}
    for server_id in server_ids:
        consumer = placement.GetAllocations(pb.GetAllocationsRequest(consumer_id=server_id)).consumer
        if consumer.allocations.providers:
            found[server_id] = consumer.generation
    return found


def _consumer(
    spec: scheduler_pb2.RequestSpec, pick: Pick, consumer_type: str, held: int | None
) -> pb.ConsumerAllocations:
    """`held`: the generation of what is to be replaced; None = the server holds nothing."""
    message = pb.ConsumerAllocations(
        consumer_id=pick.server_id,
        project_id=spec.project_id,
        user_id=spec.user_id,
        consumer_type=consumer_type,
        generation_check=pb.GENERATION_CHECK_NEW if held is None else pb.GENERATION_CHECK_EXACT,
        generation=held or 0,
    )
    for provider, amounts in pick.place.allocations.items():
        message.allocations.providers[provider].amounts.update(amounts)
    return message
