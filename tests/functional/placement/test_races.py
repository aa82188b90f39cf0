"""Many callers on few slots, through two replicas: never too much is given out, and the books agree in the end."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa

from protonova.services.placement import tables
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database
from tests.support.placement import Placement

CLIENTS = 16
TURNS = 20


def run_clients(work: Callable[[int], None], count: int = CLIENTS) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def check_books(database_url: str) -> None:
    """Usage counters are the sums of the allocations, and none is above its capacity."""
    db = Database(database_url)
    held = tables.allocations
    inventories = tables.inventories

    def read(connection):
        sums = connection.execute(
            sa.select(held.c.provider_id, held.c.resource_class_id, sa.func.sum(held.c.used)).group_by(
                held.c.provider_id, held.c.resource_class_id
            )
        ).all()
        rows = connection.execute(sa.select(inventories)).all()
        empty = connection.execute(
            sa.select(tables.consumers.c.uuid)
            .outerjoin(held, held.c.consumer_id == tables.consumers.c.id)
            .where(held.c.used.is_(None))
        ).all()
        return sums, rows, empty

    sums, rows, empty = db.read(read)
    db.close()
    expected = {(provider, name): int(used) for provider, name, used in sums}
    for row in rows:
        assert row.used == expected.get((row.provider_id, row.resource_class_id), 0)
        assert row.used <= row.capacity
    assert empty == []


def test_few_slots_many_clients(replica, database_url, new_id):
    replicas: list[Placement] = [replica(), replica()]
    hosts = [replicas[0].provider(inventories={"VCPU": 6, "MEMORY_MB": 600}) for _ in range(3)]
    won: Counter[str] = Counter()

    def client(number: int) -> None:
        chance = random.Random(number)
        mine: list[str] = []
        for _ in range(TURNS):
            placement = chance.choice(replicas)
            if mine and chance.random() < 0.4:
                placement.release(mine.pop())
                continue
            consumer = new_id()
            chosen = chance.sample(hosts, chance.choice([1, 1, 2]))
            amounts = {"VCPU": chance.randint(1, 3), "MEMORY_MB": chance.randint(1, 250)}
            try:
                placement.claim(consumer, dict.fromkeys(chosen, amounts))
            except errors.FailedPrecondition as error:
                won[error.reason] += 1
            else:
                mine.append(consumer)
                won["claimed"] += 1
        for consumer in mine:
            placement.release(consumer)

    run_clients(client)
    check_books(database_url)
    assert set(won) == {"claimed", "CAPACITY_EXCEEDED"}
    for host in hosts:
        assert replicas[0].used(host) == {"VCPU": 0, "MEMORY_MB": 0}


def test_exactly_as_many_win_as_fit(replica, database_url, new_id):
    replicas: list[Placement] = [replica(), replica()]
    host = replicas[0].provider(inventories={"VCPU": 10})
    winners: list[int] = []

    def client(number: int) -> None:
        for _ in range(4):
            try:
                replicas[number % 2].claim(new_id(), {host: {"VCPU": 1}})
            except errors.FailedPrecondition:
                return
            winners.append(number)

    run_clients(client)
    assert len(winners) == 10
    assert replicas[1].used(host) == {"VCPU": 10}
    check_books(database_url)


def test_one_consumer_claimed_by_many(replica, database_url, new_id):
    """The last one wins whole: nobody's half claim is left beside another's."""
    replicas: list[Placement] = [replica(), replica()]
    hosts = [replicas[0].provider(inventories={"VCPU": 64}) for _ in range(4)]
    consumer = new_id()

    def client(number: int) -> None:
        for turn in range(5):
            replicas[number % 2].claim(consumer, {hosts[(number + turn) % 4]: {"VCPU": 1 + number}})

    run_clients(client, 6)
    held = replicas[0].held(consumer)
    assert len(held) == 1
    check_books(database_url)
    assert sum(replicas[1].used(host)["VCPU"] for host in hosts) == sum(held.popitem()[1].values())


def test_inventory_and_claims_at_once(replica, database_url, new_id):
    """Inventory goes only while nothing is allocated of it, whoever is first."""
    replicas: list[Placement] = [replica(), replica()]
    host = replicas[0].provider(inventories={"VCPU": 4})
    refused: set[str] = set()

    def client(number: int) -> None:
        for _ in range(8):
            consumer = new_id()
            try:
                replicas[number % 2].claim(consumer, {host: {"VCPU": 1}})
            except errors.FailedPrecondition as error:
                refused.add(error.reason)
            else:
                replicas[number % 2].release(consumer)

    def keeper(number: int) -> None:
        for turn in range(8):
            try:
                replicas[number % 2].set_inventories(host, {} if turn % 2 else {"VCPU": 4 + turn})
            except errors.FailedPrecondition as error:
                refused.add(error.reason)

    run_clients(lambda number: keeper(number) if number == 0 else client(number), 6)
    assert refused <= {"CAPACITY_EXCEEDED", "ALLOCATION_INVALID", "INVENTORY_IN_USE"}
    check_books(database_url)
