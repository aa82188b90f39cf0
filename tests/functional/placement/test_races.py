"""Many callers on few slots, through two replicas: never too much is given out, and the books agree in the end."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest
import sqlalchemy as sa

from protonova.placement.v1 import resource_provider_pb2
from protonova.services.placement import tables
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database
from tests.functional.placement.refused import refused
from tests.support.databases import EVERY
from tests.support.drift import Drift
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


_WAITERS = {
    "postgresql": (
        "SELECT COUNT(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ),
    "mysql": (
        "SELECT COUNT(*) FROM information_schema.innodb_trx t JOIN information_schema.processlist p"
        " ON p.id = t.trx_mysql_thread_id WHERE t.trx_state = 'LOCK WAIT' AND p.db = DATABASE()"
    ),
}


# SQLite has one writer at a time: nobody can be in the middle of a claim while another begins.
@pytest.mark.parametrize("database_url", EVERY[1:], indirect=True)
def test_a_claim_sent_again_is_not_refused_for_the_room_it_took_itself(replica, database_url, new_id):
    """The first sending has all but committed when its replica is gone and the claim arrives once more."""
    placement: Placement = replica()
    host, consumer = placement.provider(inventories={"VCPU": 4}), new_id()
    with closing(Drift(database_url)) as drift, closing(_Committing(database_url)) as first:
        first.claim(host, consumer, "VCPU", 4)
        again = threading.Thread(target=_kept, args=(placement, consumer, {host: {"VCPU": 4}}, kept := []))
        again.start()
        waiters = _WAITERS[drift.dialect]
        while not drift.value(waiters) and again.is_alive():
            time.sleep(0.01)
        first.commit()
        again.join()
    assert kept == ["claimed"]
    assert placement.held(consumer) == {host: {"VCPU": 4}}
    check_books(database_url)


# Elsewhere the second waits for the consumer's row before it has read anything, and has nothing to try again.
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.postgresql
@pytest.mark.parametrize(("attempts", "outcome"), [(1, "CONCURRENT_UPDATE"), (2, "claimed")])
def test_a_claim_that_another_got_ahead_of_is_tried_again(replica, database_url, new_id, attempts, outcome):
    placement: Placement = replica(placement__allocation_conflict_retry_count=attempts)
    taken, wanted = (placement.provider(inventories={"VCPU": 4}) for _ in range(2))
    consumer = new_id()
    with closing(Drift(database_url)) as drift, closing(_Committing(database_url)) as first:
        first.claim(taken, consumer, "VCPU", 4)
        second = threading.Thread(target=_kept, args=(placement, consumer, {wanted: {"VCPU": 1}}, kept := []))
        second.start()
        while not drift.value(_WAITERS["postgresql"]) and second.is_alive():
            time.sleep(0.01)
        first.commit()
        second.join()
    assert kept == [outcome]
    assert placement.held(consumer) == (
        {wanted: {"VCPU": 1}} if kept == ["claimed"] else {taken: {"VCPU": 4}}
    )
    check_books(database_url)


def test_nobody_is_refused_for_a_generation_that_others_moved(replica, database_url, new_id):
    """Who names no generation of a provider is never told of one, however often it moves meanwhile."""
    replicas: list[Placement] = [replica(), replica()]
    host = replicas[0].provider(inventories={"VCPU": 64, "DISK_GB": 64})

    def claims(placement: Placement, consumer: str) -> None:
        for _ in range(5):
            placement.claim(consumer, {host: {"VCPU": 1}}, check="NEW")
            placement.claim(consumer, {host: {"VCPU": 2}}, check="EXACT", generation=1)
            placement.release(consumer)

    def inventories(placement: Placement, number: int) -> None:
        for turn in range(8):
            placement.set_inventories(host, {"DISK_GB": 64 + number + turn}, "UPDATE")

    def traits(placement: Placement, number: int) -> None:
        for turn in range(8):
            names = ["HW_CPU_X86_AVX", "HW_CPU_X86_AVX2"][: 1 + (turn + number) % 2]
            placement.providers.ReplaceProviderTraits(
                resource_provider_pb2.ReplaceProviderTraitsRequest(id=host, traits=names)
            )

    def client(number: int) -> None:
        placement = replicas[number % 2]
        if number < 6:
            claims(placement, new_id())
        else:
            (inventories if number < 8 else traits)(placement, number)

    run_clients(client, 10)
    check_books(database_url)
    # Who names one is refused when it is another.
    seen = replicas[0].generation(host)
    replicas[1].claim(new_id(), {host: {"VCPU": 1}})
    with refused(errors.Aborted, "CONCURRENT_UPDATE", provider_id=host):
        replicas[0].set_inventories(host, {"VCPU": 64}, generation=seen)


def _kept(placement: Placement, consumer: str, wanted: dict, outcome: list[str]) -> None:
    try:
        placement.claim(consumer, wanted)
    except errors.Error as error:
        outcome.append(error.reason)
    else:
        outcome.append("claimed")


class _Committing:
    """The transaction of a claim, held up right before its commit."""

    def __init__(self, database_url: str) -> None:
        self._engine = sa.create_engine(database_url)
        self._connection = self._engine.connect()

    def claim(self, provider: str, consumer: str, name: str, amount: int) -> None:
        values = {"provider": provider, "consumer": consumer, "name": name, "amount": amount}
        line = (
            "provider_id = (SELECT id FROM resource_providers WHERE uuid = :provider)"
            " AND resource_class_id = (SELECT id FROM resource_classes WHERE name = :name)"
        )
        for statement in (
            "SELECT id FROM resource_providers WHERE uuid = :provider FOR UPDATE",
            f"UPDATE inventories SET used = used + :amount WHERE {line}",
            "INSERT INTO consumers (uuid, generation, project_id, user_id, type, updated_at)"
            " VALUES (:consumer, 1, 'p', 'u', 'INSTANCE', 0)",
            "INSERT INTO allocations (consumer_id, provider_id, resource_class_id, used) SELECT c.id,"
            f" i.provider_id, i.resource_class_id, :amount FROM consumers c, inventories i"
            f" WHERE c.uuid = :consumer AND {line}",
        ):
            self._connection.execute(sa.text(statement), values)

    def commit(self) -> None:
        self._connection.commit()

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()
