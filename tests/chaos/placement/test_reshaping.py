"""Trees change their shape while others claim of them, on replicas that are killed: no row is orphaned, nothing is
given out twice.

`CHAOS_CLAIMS` is how many times each worker acts.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import allocation_pb2_grpc, resource_provider_pb2_grpc
from protonova.placement.v1 import resource_provider_pb2 as provider_pb
from protonova.services.runtime import errors
from tests.chaos.placement.claimant import Claimant, Held, patiently
from tests.chaos.placement.providers import make_provider, totals
from tests.chaos.placement.storm import storm
from tests.chaos.storm import SEED

CLAIMS = int(os.environ.get("CHAOS_CLAIMS", "12"))
KILLS = max(2, CLAIMS // 100)
CLIENTS, SHAPERS, KEEPERS, MAKERS = 6, 3, 2, 3
WORKERS = CLIENTS + SHAPERS + KEEPERS + MAKERS
MOVING, COMING = "VGPU", "SRIOV_NET_VF"
ROOM = 6

pytestmark = pytest.mark.timeout(300 + CLAIMS * 3)

# What any of them may be told while the others do what they do.
_REFUSALS = {
    "CONCURRENT_UPDATE", "CAPACITY_EXCEEDED", "ALLOCATION_INVALID", "ALLOCATION_NOT_FOUND", "INVENTORY_IN_USE",
    "INVENTORY_EXISTS", "INVENTORY_NOT_FOUND", "PROVIDER_NOT_FOUND", "PROVIDER_IN_USE", "DUPLICATE_NAME",
}  # fmt: skip


class Tree:
    """A root, and a child: one class of inventory moves between them, another comes and goes at the root."""

    def __init__(self, stub: resource_provider_pb2_grpc.ResourceProviderServiceStub) -> None:
        self.root = make_provider(stub, inventories={"VCPU": 8, MOVING: ROOM})
        self.child = make_provider(stub, parent=self.root, inventories={"MEMORY_MB": 64})


class Worker:
    """Calls that may be refused, and are counted."""

    def __init__(self, channel: grpc.Channel, seed: int) -> None:
        self.providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(channel)
        self.allocations = allocation_pb2_grpc.AllocationServiceStub(channel)
        self.dice = random.Random(seed)
        self.counts: Counter[str] = Counter()

    def tries(self, what: str, call: Callable[[], object]) -> bool:
        try:
            patiently(call, self.counts)
        except errors.Error as refusal:
            self.counts[refusal.reason] += 1
            return False
        self.counts[what] += 1
        return True

    def reshape(self, tree: Tree) -> bool:
        """Moves the inventory to the other provider, with all that is allocated of it."""
        shapes = {}
        for provider in (tree.root, tree.child):
            answer = patiently(
                lambda id_=provider: self.providers.GetInventories(provider_pb.GetInventoriesRequest(id=id_)),
                self.counts,
            )
            shapes[provider] = pb.ReshapeInventory(
                provider_id=provider, generation=answer.generation, inventories=answer.inventories
            )
        source = next((id_ for id_, shape in shapes.items() if MOVING in shape.inventories), None)
        if source is None:  # somebody moved it between the two looks
            return False
        target = tree.child if source == tree.root else tree.root
        shapes[target].inventories[MOVING].CopyFrom(shapes[source].inventories.pop(MOVING))
        request = pb.ReshapeRequest(inventories=shapes.values(), consumers=self._moved(source, target))
        return self.tries("reshaped", lambda: self.allocations.Reshape(request))

    def _moved(self, source: str, target: str) -> list[pb.ConsumerAllocations]:
        listing = pb.ListProviderAllocationsRequest(provider_id=source)
        held = patiently(lambda: self.allocations.ListProviderAllocations(listing), self.counts)
        found = []
        for entry in held.allocations:
            if MOVING not in entry.resources.amounts:
                continue
            asked = pb.GetAllocationsRequest(consumer_id=entry.consumer_id)
            consumer = patiently(
                lambda asked=asked: self.allocations.GetAllocations(asked), self.counts
            ).consumer
            providers = consumer.allocations.providers
            if MOVING not in providers[source].amounts:
                continue
            providers[target].amounts[MOVING] = providers[source].amounts.pop(MOVING)
            if not providers[source].amounts:
                del providers[source]
            consumer.generation_check = pb.GENERATION_CHECK_EXACT
            found.append(consumer)
        return found

    def come_and_go(self, tree: Tree) -> None:
        come = self.dice.random() < 0.5
        change = provider_pb.INVENTORY_CHANGE_ADD if come else provider_pb.INVENTORY_CHANGE_REMOVE
        request = provider_pb.UpdateInventoriesRequest(
            id=tree.root, change=change, inventories=totals({COMING: ROOM})
        )
        self.tries("came" if come else "went", lambda: self.providers.UpdateInventories(request))

    def make_or_delete(self, tree: Tree, passing: list[str]) -> None:
        """Providers below a tree, for a while."""
        if self.dice.random() < 0.5 or not passing:
            id_ = str(uuid.UUID(int=self.dice.getrandbits(128), version=4))
            made = self.tries("made", lambda: make_provider(self.providers, id_=id_, parent=tree.child))
            change = provider_pb.UpdateInventoriesRequest(
                id=id_, change=provider_pb.INVENTORY_CHANGE_REPLACE_ALL, inventories=totals({"DISK_GB": 4})
            )
            if made and self.tries("filled", lambda: self.providers.UpdateInventories(change)):
                passing.append(id_)
            return
        request = provider_pb.DeleteResourceProviderRequest(id=self.dice.choice(passing))
        if self.tries("deleted", lambda: self.providers.DeleteResourceProvider(request)):
            passing[:] = [id_ for id_ in passing if id_ != request.id]


def test_trees_change_their_shape_under_claims(database_url: str, tmp_path: Path) -> None:
    with storm(database_url, tmp_path) as made:
        workers = [Worker(made.channels[n % len(made.channels)], SEED + n) for n in range(WORKERS)]
        clients = [Claimant(w.allocations, SEED - n, _same_amounts) for n, w in enumerate(workers[:CLIENTS])]
        trees = [Tree(workers[0].providers) for _ in range(2)]
        passing: list[str] = []

        def work(number: int) -> None:
            worker = workers[number]
            for _ in range(CLAIMS):
                tree = worker.dice.choice(trees)
                if number < CLIENTS:
                    _claim_or_release(clients[number], tree, list(passing))
                elif number < CLIENTS + SHAPERS:
                    worker.reshape(tree)
                elif number < CLIENTS + SHAPERS + KEEPERS:
                    worker.come_and_go(tree)
                else:
                    worker.make_or_delete(tree, passing)
                made.did(number)

        lives = [lambda number=number: work(number) for number in range(WORKERS)]
        print(made.run(lives, things=WORKERS * CLAIMS, kills=KILLS))
        counts = sum((each.counts for each in (*workers, *clients)), Counter())
        print(dict(counts))
        done = {"reshaped", "came", "went", "made", "filled", "deleted", "acknowledged", "unanswered"}
        assert counts.keys() <= _REFUSALS | done

        held = made.books.holdings()
        known = {id_: wish for client in clients for id_, wish in client.held.items()}
        assert held.keys() == known.keys()
        assert all(_same_amounts(held[id_], known[id_]) for id_ in held)
        # Where nobody else is about, a reshape succeeds, whatever the storm has left.
        assert all(workers[0].reshape(tree) for tree in trees)
        assert all(_same_amounts(amounts, held[id_]) for id_, amounts in made.books.holdings().items())
        for client in clients:
            client.release_all()
        assert made.books.holdings() == {}
        assert made.books.used() == 0
        assert made.books.wrong() == {}


def _same_amounts(one: Held, other: Held) -> bool:
    """Whichever of its tree's providers they are of."""
    return _by_class(one) == _by_class(other)


def _by_class(held: Held) -> Counter[str]:
    return sum((Counter(amounts) for amounts in held.values()), Counter())


def _claim_or_release(client: Claimant, tree: Tree, passing: list[str]) -> None:
    dice = client.dice
    if client.held and dice.random() < 0.5:
        client.release(dice.choice(list(client.held)))
        return
    wanted: dict[str, dict[str, int]] = {dice.choice([tree.root, tree.child]): {MOVING: dice.randint(1, 2)}}
    wanted.setdefault(tree.root, {})["VCPU"] = 1
    if dice.random() < 0.3:
        wanted[tree.root][COMING] = 1
    if passing and dice.random() < 0.5:
        wanted[dice.choice(passing)] = {"DISK_GB": dice.randint(1, 4)}
    client.claim(wanted)
