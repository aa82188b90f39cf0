"""Many members of server groups want few hosts at once, from several schedulers: no policy is ever broken, by what
is allocated at any moment, and everything that can fit is placed.

`CHAOS_CLAIMS` is how many times each client acts; `make chaos` has them act more often.
"""

from __future__ import annotations

import os
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.runtime import errors
from tests.chaos.group_rules import GroupRules
from tests.chaos.placement.books import Books
from tests.functional.scheduler.region import SIZES, Region, spec

ACTS = max(3, int(os.environ.get("CHAOS_CLAIMS", "3")) // 100)
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
REPLICAS = 3
CLIENTS = 16
HOSTS = 5

pytestmark = pytest.mark.timeout(300 + ACTS * 30)


class Race:
    """A region with several schedulers; whatever is allocated is looked at all the time."""

    def __init__(self, region: Region, books: Books) -> None:
        self.region = region
        self._books = books
        self._stop = threading.Event()
        self._looking = threading.Thread(target=self._look)
        self._rules = GroupRules()
        self.broken: list[str] = []
        self.looks = 0

    def open(self, *hosts: str, vcpus: int = 8) -> None:
        for host in hosts:
            self.region.host(host, {**SIZES, "VCPU": vcpus})
        for _ in range(REPLICAS):
            self.region.start()
        # All replicas know all hosts before the race begins.
        for stub in self.stubs:
            self.region.stub = stub
            (known,) = self.region.select()
            self.region.placement.release(known.server_id)
        self._looking.start()

    @property
    def stubs(self) -> list[scheduler_pb2_grpc.SchedulerServiceStub]:
        return [scheduler_pb2_grpc.SchedulerServiceStub(channel) for channel in self.region._channels]

    def group(self, policy: str, **fields: int) -> str:
        group, _ = self.region.groups.make(policy, 0, **fields)
        self._rules.add(group, policy, fields.get("max_server_per_host", 1))
        return group

    def boot(self, group: str, number: int, count: int = 1) -> dict[str, str]:
        """Hosts by server, of new members of which some may have found none."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        self._rules.joined(group, ids)
        self.region.groups.join(group, *ids)
        request = scheduler_pb2.SelectDestinationsRequest(
            spec=spec(server_group_ids=[group], memory_mb=1, root_gb=1), server_ids=ids
        )
        while True:
            try:
                selections = self.stubs[number % REPLICAS].SelectDestinations(request).selections
            except errors.Aborted:  # as the build operation does
                continue
            found = {one.server_id: one.destination.host for one in selections}
            self.region.groups.leave(*(key for key, host in found.items() if not host))
            return {key: host for key, host in found.items() if host}

    def end(self, server: str) -> None:
        """A deletion: the claim goes first, then the place."""
        self.region.placement.release(server)
        self.region.groups.leave(server)

    def run(self, count: int, live: Callable[[int], dict[str, str]]) -> dict[str, str]:
        """What all clients have in the end."""
        barrier = threading.Barrier(count)

        def client(number: int) -> dict[str, str]:
            barrier.wait(30)
            return live(number)

        with ThreadPoolExecutor(count) as pool:
            return {key: host for held in pool.map(client, range(count)) for key, host in held.items()}

    def stop(self) -> None:
        self._stop.set()
        if self._looking.ident is not None:
            self._looking.join()

    def check(self, held: dict[str, str]) -> None:
        """Nothing was ever wrong, and books, places and clients say the same."""
        self.stop()
        assert self.looks > 3
        assert self.broken == []
        places = {
            key: host
            for group in self._rules.groups
            for key, host in self.region.groups.places(group).items()
        }
        assert places == held
        names = self.region.names
        assert {key: names[next(iter(on))] for key, on in self._books.holdings().items()} == held

    def _look(self) -> None:
        while not self._stop.wait(0.01):
            self.looks += 1
            self.broken += self._rules.broken(self._books.holdings())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def race(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Race]:
    print(f"CHAOS_SEED={SEED}")
    url = f"sqlite:///{tmp_path}/placement.sqlite"
    groups_url = "" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    region = Region(url, groups_url=groups_url)
    books = Books(url)
    made = Race(region, books)
    try:
        yield made
    finally:
        made.stop()
        books.close()
        region.close()


@pytest.mark.parametrize("most", [1, 2])
def test_apart(race: Race, most: int) -> None:
    race.open(*(f"h{number}" for number in range(HOSTS)))
    group = race.group("ANTI_AFFINITY", max_server_per_host=most)
    held = race.run(CLIENTS, lambda number: race.boot(group, number, 1 + number % 2))
    assert Counter(held.values()) == {f"h{number}": most for number in range(HOSTS)}
    race.check(held)


def test_together(race: Race) -> None:
    """As many as the host that the first one chose has room for, and nobody elsewhere."""
    race.open(*(f"h{number}" for number in range(HOSTS)), vcpus=40)
    group = race.group("AFFINITY")
    held = race.run(64, lambda number: race.boot(group, number))
    assert len(held) == 40
    assert len(set(held.values())) == 1
    race.check(held)


def test_coming_and_going(race: Race) -> None:
    """Members of several groups, on hosts that are nearly full, some of which are deleted soon."""
    race.open(*(f"h{number}" for number in range(HOSTS)), vcpus=6)
    groups = [
        race.group("ANTI_AFFINITY"),
        race.group("ANTI_AFFINITY", max_server_per_host=2),
        race.group("AFFINITY"),
        race.group("SOFT_ANTI_AFFINITY"),
    ]

    def live(number: int) -> dict[str, str]:
        dice, held = random.Random(SEED + number), {}
        for _ in range(ACTS):
            held.update(race.boot(groups[dice.randrange(len(groups))], number))
            if held and dice.random() < 0.6:
                gone = dice.choice(sorted(held))
                race.end(gone)
                del held[gone]
        return held

    race.check(race.run(CLIENTS, live))
