"""Many ask a few schedulers for hosts in a nearly full region, while schedulers are killed and servers go: nothing
is given out twice, no group's rule is ever broken, what can fit is placed, and nothing is left over.

Schedulers and placement are processes, groups are in api's own database. `CHAOS_REQUESTS` is how many requests all
clients make together; `make chaos` has them make 5,000.
"""

from __future__ import annotations

import os
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cloud import databases
from protonova.placement.v1 import allocation_pb2
from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from protonova.services.runtime import errors
from protonova.services.runtime.channel import connect
from tests.chaos.group_rules import GroupRules
from tests.chaos.placement.books import Books
from tests.chaos.placement.claimant import PATIENCE
from tests.chaos.replicas import patient, replicas, target
from tests.chaos.storm import SEED, Storm
from tests.functional.scheduler.region import Region, spec
from tests.support.placement import PlacementCaller

REQUESTS = int(os.environ.get("CHAOS_REQUESTS", "256"))
CLIENTS = 64
SCHEDULERS = 4
KILLS = max(3, REQUESTS // 100)
HOSTS = 16
ROOM = {"VCPU": 8, "MEMORY_MB": 6144, "DISK_GB": 100}
# VCPUs and memory of a server; each also takes a GiB of disk. Hosts fill up by the one or by the other.
SIZES = [(1, 256), (1, 1024), (2, 512), (3, 2048)]
# Policy, and how many members may be on a host.
GROUPS = [("ANTI_AFFINITY", 1), ("ANTI_AFFINITY", 1), ("ANTI_AFFINITY", 2), *(4 * [("AFFINITY", 1)])]
# So many servers a client keeps at most.
KEPT = 3

pytestmark = pytest.mark.timeout(120 + REQUESTS)

Size = tuple[int, int]


@dataclass(frozen=True)
class Holding:
    """A living server as its owner knows it."""

    node: str
    size: Size
    group: str = ""

    @property
    def amounts(self) -> dict[str, int]:
        return _amounts(self.size)


def _amounts(size: Size) -> dict[str, int]:
    return {"VCPU": size[0], "MEMORY_MB": size[1], "DISK_GB": 1}


class GroupBooks(Books):
    """Placement's books, held against the rules of groups as well."""

    def __init__(self, database_url: str) -> None:
        super().__init__(database_url)
        self.rules = GroupRules()

    def wrong(self) -> dict[str, int]:
        broken = Counter(self.rules.broken(self.holdings()))
        return {**super().wrong(), **broken}


@dataclass
class Field:
    """Where the race is run."""

    storm: Storm
    books: GroupBooks
    region: Region
    groups: list[str] = field(default_factory=list)


@dataclass
class Client:
    """Keeps account of what was acknowledged. A call that broke off is made again until there is an answer."""

    about: Field
    stub: scheduler_pb2_grpc.SchedulerServiceStub
    dice: random.Random
    held: dict[str, Holding] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def act(self) -> None:
        group = self.dice.choice(self.about.groups) if self.dice.random() < 0.5 else ""
        placed = self.boot(self.dice.choice(SIZES), self.dice.choice([1, 1, 1, 2, 3]), group)
        while len(self.held) > KEPT or (self.held and not placed and self.dice.random() < 0.5):
            self.end(self.dice.choice(sorted(self.held)))

    def boot(self, size: Size, count: int = 1, group: str = "") -> int:
        """How many of so many new servers got a host."""
        ids = [str(uuid.UUID(int=self.dice.getrandbits(128), version=4)) for _ in range(count)]
        if group:
            self.about.books.rules.joined(group, ids)
            self.about.region.groups.join(group, *ids)
        request = scheduler_pb2.SelectDestinationsRequest(
            spec=spec(vcpus=size[0], memory_mb=size[1], root_gb=1, server_group_ids=[group] if group else []),
            server_ids=ids,
            max_alternates=2,
        )
        answer = self.patiently(lambda: self.stub.SelectDestinations(request))
        assert [one.server_id for one in answer.selections] == ids
        refused = [one.server_id for one in answer.selections if not one.destination.host]
        for one in answer.selections:
            if one.destination.host:
                self.held[one.server_id] = Holding(one.destination.node_id, size, group)
        if group and refused:
            self.about.region.groups.leave(*refused)
        self.counts["refused"] += len(refused)
        self.counts["placed"] += count - len(refused)
        return count - len(refused)

    def end(self, server: str) -> None:
        """A deletion: the claim goes first, then the place."""
        request = allocation_pb2.DeleteAllocationsRequest(consumer_id=server)
        self.patiently(lambda: self.about.region.placement.allocations.DeleteAllocations(request))
        if self.held.pop(server).group:
            self.about.region.groups.leave(server)
        self.counts["deleted"] += 1

    def patiently(self, ask: Callable[[], Any]) -> Any:
        """As an operation does it: what is transient is asked again."""
        while True:
            try:
                return ask()
            except (errors.Unavailable, errors.Aborted) as error:
                self.counts[error.reason or "unanswered"] += 1
                PATIENCE.wait(0.05)


@pytest.fixture(
    params=[
        "sqlite",
        *([pytest.param("postgresql", marks=pytest.mark.postgresql)] if REQUESTS > 1000 else []),
    ]
)
def race(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Field]:
    print(f"CHAOS_SEED={SEED} on {request.param}")
    with ExitStack() as stack:
        urls = stack.enter_context(databases(request.param))
        url = urls.get("placement_database", f"sqlite:///{tmp_path}/placement.sqlite")
        settings = {"OS_PLACEMENT_DATABASE__CONNECTION": url}
        (placement,) = stack.enter_context(replicas("placement", settings, tmp_path, 1))
        caller = PlacementCaller(patient(), placement.address)
        region = stack.enter_context(
            closing(Region(url, groups_url=urls.get("api_database", f"{url}-groups"), placement=caller))
        )
        for number in range(HOSTS):
            region.host(f"h{number}", ROOM)
        settings = {"OS_API__TARGET": region.api, "OS_PLACEMENT__TARGET": placement.address}
        schedulers = stack.enter_context(replicas("scheduler", settings, tmp_path, SCHEDULERS))
        books = stack.enter_context(closing(GroupBooks(url)))
        channels = [stack.enter_context(connect(patient(), target(schedulers))) for _ in range(8)]
        made = Field(Storm(schedulers, books, channels), books, region)
        for policy, most in GROUPS:
            group, _ = region.groups.make(policy, 0, max_server_per_host=most)
            books.rules.add(group, policy, most)
            made.groups.append(group)
        yield made


def test_many_schedulers_fill_a_region(race: Field) -> None:
    channels = race.storm.channels
    clients = [
        Client(
            race,
            scheduler_pb2_grpc.SchedulerServiceStub(channels[number % len(channels)]),
            random.Random(SEED + number),
        )
        for number in range(CLIENTS)
    ]

    def live(number: int) -> None:
        for _ in range(max(1, REQUESTS // CLIENTS)):
            clients[number].act()
            race.storm.did(number)

    lives = [lambda number=number: live(number) for number in range(CLIENTS)]
    print(race.storm.run(lives, things=max(1, REQUESTS // CLIENTS) * CLIENTS, kills=KILLS))
    counts = sum((client.counts for client in clients), Counter())
    print(dict(counts))
    assert counts["placed"]
    assert counts["refused"]
    _all_is_as_the_clients_know_it(race, clients)
    _whatever_fits_is_placed(race, clients)
    _all_is_as_the_clients_know_it(race, clients)
    for client in clients:
        for server in list(client.held):
            client.end(server)
    _all_is_as_the_clients_know_it(race, clients)
    assert race.books.used() == 0
    assert race.books.wrong() == {}


def _all_is_as_the_clients_know_it(race: Field, clients: list[Client]) -> None:
    """Allocations and places are exactly those of acknowledged living servers."""
    held = _held(clients)
    assert race.books.holdings() == {server: {one.node: one.amounts} for server, one in held.items()}
    places = {key: host for group in race.groups for key, host in race.region.groups.places(group).items()}
    names = race.region.names
    assert places == {server: names[one.node] for server, one in held.items() if one.group}
    assert race.books.wrong() == {}


def _whatever_fits_is_placed(race: Field, clients: list[Client]) -> None:
    """Servers of each kind come until one is refused; then no host is fit for it. The largest come first."""
    for size in sorted(SIZES, reverse=True):
        for number, group in enumerate([*race.groups, ""]):
            client = clients[number]
            while client.boot(size, 1, group):
                assert race.books.wrong() == {}
            assert _fitting(race, _held(clients), size, group) == []


def _fitting(race: Field, held: Mapping[str, Holding], size: Size, group: str) -> list[str]:
    """Hosts that another server could go to, looked at one by one."""
    policy, most = GROUPS[race.groups.index(group)] if group else ("", 0)
    members = Counter(one.node for one in held.values() if group and one.group == group)
    found = []
    for node in race.region.names:
        taken = sum((Counter(one.amounts) for one in held.values() if one.node == node), Counter())
        room = all(taken[name] + amount <= ROOM[name] for name, amount in _amounts(size).items())
        together = policy != "AFFINITY" or not members or members[node] > 0
        apart = policy != "ANTI_AFFINITY" or members[node] < most
        if room and together and apart:
            found.append(node)
    return found


def _held(clients: list[Client]) -> dict[str, Holding]:
    return {server: one for client in clients for server, one in client.held.items()}
