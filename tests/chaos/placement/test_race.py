"""32 clients claim and release on few slots, while replicas are killed: nothing is given out twice, or lost.

`CHAOS_CLAIMS` is how many times each client acts; `make chaos` has them act 2,000 times.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from protonova.placement.v1 import allocation_pb2_grpc, resource_provider_pb2_grpc
from tests.chaos.placement.claimant import Claimant
from tests.chaos.placement.providers import make_provider
from tests.chaos.placement.storm import storm
from tests.chaos.storm import SEED

CLIENTS = 32
CLAIMS = int(os.environ.get("CHAOS_CLAIMS", "12"))
KILLS = max(3, CLAIMS // 50)
HOSTS = 5
ROOM = {"VCPU": 8, "MEMORY_MB": 1024, "DISK_GB": 100}

pytestmark = pytest.mark.timeout(300 + CLAIMS * 3)


def test_nothing_is_given_out_twice_or_lost(database_url: str, tmp_path: Path) -> None:
    with storm(database_url, tmp_path) as made:
        providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(made.channels[0])
        hosts = [make_provider(providers, inventories=ROOM) for _ in range(HOSTS)]
        clients = [
            Claimant(
                allocation_pb2_grpc.AllocationServiceStub(made.channels[number % len(made.channels)]),
                SEED + number,
            )
            for number in range(CLIENTS)
        ]

        def live(number: int) -> None:
            for _ in range(CLAIMS):
                _act(clients[number], hosts)
                made.did(number)

        workers = [lambda number=number: live(number) for number in range(CLIENTS)]
        print(made.run(workers, things=CLIENTS * CLAIMS, kills=KILLS))
        counts = sum((client.counts for client in clients), Counter())
        print(dict(counts))
        assert counts["acknowledged"]
        assert counts["CAPACITY_EXCEEDED"]
        assert counts.keys() <= {
            "acknowledged", "unanswered", "CAPACITY_EXCEEDED", "CONCURRENT_UPDATE", "ALLOCATION_NOT_FOUND",
        }  # fmt: skip

        # Nothing is lost and nothing left over: all hold what they know to hold, and nobody else holds anything.
        assert made.books.holdings() == {id_: held for client in clients for id_, held in client.held.items()}
        threads = [threading.Thread(target=client.release_all) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(client.held for client in clients)
        assert made.books.holdings() == {}
        assert made.books.used() == 0
        assert made.books.wrong() == {}


def _act(client: Claimant, hosts: list[str]) -> None:
    """Something a scheduler, a conductor or an operator would do."""
    dice = client.dice
    own = list(client.held)
    chance = dice.random()
    if own and (chance < 0.4 or len(own) > 3):
        client.release(dice.choice(own))
    elif own and chance < 0.5:
        client.replace({dice.choice(own): _wanted(client, hosts)})
    elif own and chance < 0.6:
        # As a migration does: one hands over what it has, and takes something else.
        mover = dice.choice(own)
        client.replace({client.new_id(): client.held[mover], mover: _wanted(client, hosts)})
    elif own and chance < 0.65:
        client.replace({dice.choice(own): {}})
    else:
        client.claim(_wanted(client, hosts), new=dice.random() < 0.5)


def _wanted(client: Claimant, hosts: list[str]) -> dict[str, dict[str, int]]:
    dice = client.dice
    amounts = {"VCPU": dice.randint(1, 3), "MEMORY_MB": dice.choice([64, 128, 256])}
    if dice.random() < 0.5:
        amounts["DISK_GB"] = dice.randint(1, 30)
    return {host: dict(amounts) for host in dice.sample(hosts, dice.choice([1, 1, 1, 2]))}
