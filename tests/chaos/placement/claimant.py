"""A client that always knows what it holds.

What was acknowledged counts. A call without an answer is sent again until there is one; where the answer then is a
refusal, the first call may have been the one that did it: the client asks, and must find all as it was before or
all as it wanted it.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.services.runtime import errors
from tests.support.placement import consumer_message

Held = Mapping[str, Mapping[str, int]]
# A consumer's wishes: what it is to hold, by provider and class.
Wish = dict[str, Held]

PATIENCE = threading.Event()


def patiently(ask: Callable[[], Any], counts: Counter[str]) -> Any:
    """The answer, however often it takes to get one."""
    while True:
        try:
            return ask()
        except errors.Unavailable:
            counts["unanswered"] += 1
            PATIENCE.wait(0.05)


class Claimant:
    """`held` is what it knows to hold. `same` says whether two holdings of a consumer are the same thing."""

    def __init__(
        self,
        stub: allocation_pb2_grpc.AllocationServiceStub,
        seed: int,
        same: Callable[[Held, Held], bool] = lambda one, other: dict(one) == dict(other),
    ) -> None:
        self._stub = stub
        self.dice = random.Random(seed)
        self._same = same
        self.held: Wish = {}
        self.counts: Counter[str] = Counter()

    def claim(self, wanted: Held, *, new: bool = False) -> bool:
        return self.replace({self.new_id(): wanted}, check="NEW" if new else "UNSPECIFIED")

    def new_id(self) -> str:
        return str(uuid.UUID(int=self.dice.getrandbits(128), version=4))

    def replace(self, wish: Wish, check: str = "UNSPECIFIED") -> bool:
        """Several consumers, all or none; whether it came to be."""
        messages = [consumer_message(id_, held, check=check) for id_, held in wish.items()]
        request = pb.ReplaceAllocationsRequest(consumers=messages)
        return self._settle(wish, lambda: self._stub.ReplaceAllocations(request))

    def release(self, consumer: str) -> bool:
        request = pb.DeleteAllocationsRequest(consumer_id=consumer)
        return self._settle({consumer: {}}, lambda: self._stub.DeleteAllocations(request))

    def release_all(self) -> None:
        while self.held:
            assert self.release(next(iter(self.held)))

    def _settle(self, wish: Wish, send: Callable[[], object]) -> bool:
        unanswered = self.counts["unanswered"]
        try:
            patiently(send, self.counts)
        except (errors.Aborted, errors.NotFound, errors.FailedPrecondition) as refusal:
            self.counts[refusal.reason] += 1
            # Only room that is not there is certain: of all else our own first call may be the cause.
            certain = refusal.reason == "CAPACITY_EXCEEDED" and unanswered == self.counts["unanswered"]
            done = not certain and self._done(wish)
        else:
            done = True
        if done:
            self.counts["acknowledged"] += 1
            self.held.update(wish)
            for consumer in [id_ for id_, held in wish.items() if not held]:
                self.held.pop(consumer, None)
        return done

    def _done(self, wish: Wish) -> bool:
        """Asks: all of it was done, or nothing."""
        found = {consumer: self.ask(consumer) for consumer in wish}
        if all(self._same(found[consumer], wish[consumer]) for consumer in wish):
            return True
        unchanged = all(self._same(found[consumer], self.held.get(consumer, {})) for consumer in wish)
        assert unchanged, f"half done: {found}, wanted {wish}"
        return False

    def ask(self, consumer: str) -> dict[str, dict[str, int]]:
        request = pb.GetAllocationsRequest(consumer_id=consumer)
        answer = patiently(lambda: self._stub.GetAllocations(request), self.counts)
        providers = answer.consumer.allocations.providers
        return {provider: dict(amounts.amounts) for provider, amounts in providers.items()}
