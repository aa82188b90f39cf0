"""`protonova placement db`, `upgrade check` and the database's part of `heal`: drift is made by SQL, and mended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.functional.placement.commands import Command
from tests.functional.placement.test_races import check_books
from tests.support.drift import Drift
from tests.support.placement import Placement

NIL = "00000000-0000-0000-0000-000000000000"
CLOUD_AWAY = 3


@pytest.fixture
def command(database_url: str) -> Command:
    return Command(database_url)


@pytest.fixture
def drift(database_url: str) -> Iterator[Drift]:
    made = Drift(database_url)
    yield made
    made.close()


@pytest.fixture
def service(replica: Callable[..., Placement]) -> Placement:
    return replica()


def test_the_schema_is_brought_to_this_release(command: Command, drift: Drift) -> None:
    assert command("db", "version").startswith("empty (this release: ")
    assert command.verdicts(expect=2) == {"Database revision": "failure"}
    assert "db sync" in command("heal", expect=2)
    assert "db sync" in command("db", "online-data-migrations", expect=2)

    assert command("db", "sync").startswith("brought from revision none to ")
    assert "nothing to do" in command("db", "sync")
    revision = drift.value("SELECT version_num FROM alembic_version")
    assert command("db", "version") == f"{revision} (this release: {revision})\n"
    assert command.verdicts() == {}
    assert command.migrated() == {}

    drift("UPDATE alembic_version SET version_num = '9999'")
    assert "newer than this release" in command("db", "sync", expect=2)
    assert command.verdicts(expect=2) == {"Database revision": "failure"}


def test_a_database_that_is_away_is_told(tmp_path) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:9/none"
    for words in (("db", "sync"), ("db", "version"), ("upgrade", "check"), ("heal",)):
        assert "cannot be reached" in Command(url)(*words, expect=2)


@pytest.mark.parametrize("words", [("db", "online-data-migrations"), ("heal",)])
@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
def test_bad_counts_are_refused(tmp_path, words: tuple[str, ...], count: str) -> None:
    assert "--max-count" in Command(f"sqlite:///{tmp_path}/a.sqlite")(
        *words, "--max-count", count, expect=127
    )


def test_data_that_is_derived_is_derived_anew(
    service: Placement, command: Command, drift: Drift, database_url: str, new_id
) -> None:
    hosts = [service.provider(inventories={"VCPU": 8, "MEMORY_MB": 64}) for _ in range(3)]
    child = service.provider(parent=hosts[0], inventories={"SRIOV_NET_VF": 4})
    grandchild = service.provider(parent=child)
    lost, unnamed, well = new_id(), new_id(), new_id()
    service.claim(lost, {hosts[0]: {"VCPU": 2}, child: {"SRIOV_NET_VF": 1}})
    service.claim(unnamed, {hosts[1]: {"VCPU": 3}})
    service.claim(well, {hosts[1]: {"VCPU": 1}})
    before = service.generation(hosts[1])

    drift("DELETE FROM consumers WHERE uuid = :id", id=lost)
    drift("UPDATE consumers SET project_id = '', user_id = '' WHERE uuid = :id", id=unnamed)
    drift("UPDATE inventories SET used = used + 1, capacity = capacity - 1 WHERE used = 4")
    drift("UPDATE inventories SET used = 5 WHERE used = 1")
    drift("UPDATE resource_providers SET root_id = NULL WHERE uuid = :id", id=child)
    drift("UPDATE resource_providers SET root_id = id WHERE uuid = :id", id=grandchild)
    assert command.verdicts(expect=2) == {
        "Resource provider trees": "failure",
        "Missing consumers": "warning",
        "Incomplete consumers": "warning",
        "Usage": "failure",
        "Capacity": "failure",
        "Over-commit": "warning",
    }

    # One at a time, while the service goes on.
    for name in ("missing-consumers", "unnamed-consumers", "roots", "roots", "capacity", "used"):
        assert command.migrated("--max-count", "1", expect=1) == {name: (1, 1)}
    assert command.migrated() == {"used": (1, 1)}
    assert command.migrated() == {}
    assert command.verdicts() == {}
    check_books(database_url)

    assert service.used(hosts[1]) == {"VCPU": 4, "MEMORY_MB": 0}
    assert service.generation(hosts[1]) > before
    assert service.held(unnamed) == {hosts[1]: {"VCPU": 3}}
    ((found, project, user, type_),) = drift.rows(
        "SELECT uuid, project_id, user_id, type FROM consumers WHERE uuid NOT IN (:a, :b)", a=unnamed, b=well
    )
    assert (project, user, type_) == (NIL, NIL, "")
    assert service.held(found) == {hosts[0]: {"VCPU": 2}, child: {"SRIOV_NET_VF": 1}}
    service.release(found)
    root = drift.value("SELECT id FROM resource_providers WHERE uuid = :id", id=hosts[0])
    assert drift.rows("SELECT DISTINCT root_id FROM resource_providers WHERE id >= 4") == [(root,)]


def test_a_running_service_learns_of_what_was_mended(
    service: Placement, command: Command, drift: Drift
) -> None:
    """Room that was lost to a wrong count is offered again by the index."""
    from tests.functional.scheduler.region import eventually
    from tests.support.placement import group

    host = service.provider(inventories={"VCPU": 4})
    drift("UPDATE inventories SET used = 4")
    service.set_inventories(host, {"VCPU": {"total": 4, "reserved": 1}})
    assert service.candidates(group(resources={"VCPU": 3})) == []
    assert command.migrated() == {"used": (1, 1)}
    assert eventually(lambda: service.candidates(group(resources={"VCPU": 3})), bool)


def test_parents_that_contradict_each_other_are_for_people(
    service: Placement, command: Command, drift: Drift
) -> None:
    one, other = service.provider(), service.provider()
    service.provider(parent=one)
    drift(
        "UPDATE resource_providers SET parent_id = (SELECT id FROM (SELECT id FROM resource_providers"
        " WHERE uuid = :parent) AS found) WHERE uuid = :id",
        parent=one,
        id=one,
    )
    drift("UPDATE resource_providers SET parent_id = 4711 WHERE uuid = :id", id=other)
    assert command.verdicts(expect=2) == {"Resource provider trees": "failure"}
    assert "3 resource providers whose parents lead to no root" in command("upgrade", "check", expect=2)
    assert command.migrated() == {}


def test_allocations_without_inventory_are_told(
    service: Placement, command: Command, drift: Drift, new_id
) -> None:
    host = service.provider(inventories={"VCPU": 4})
    service.claim(new_id(), {host: {"VCPU": 1}})
    drift("DELETE FROM inventories")
    assert command.verdicts(expect=2) == {"Allocations without inventory": "failure"}


def test_less_than_is_used_is_a_warning(service: Placement, command: Command, new_id) -> None:
    host = service.provider(inventories={"VCPU": 4})
    service.claim(new_id(), {host: {"VCPU": 4}})
    service.set_inventories(host, {"VCPU": 2})
    assert command.verdicts(expect=1) == {"Over-commit": "warning"}
    assert f"VCPU on {host} (4 of 2)" in command.output


def test_without_the_cloud_the_database_alone_is_healed(
    service: Placement, command: Command, drift: Drift, database_url: str, new_id
) -> None:
    host = service.provider(inventories={"VCPU": 8})
    lost, empty, kept = new_id(), new_id(), new_id()
    for consumer in (lost, empty, kept):
        service.claim(consumer, {host: {"VCPU": 1}})
    drift("DELETE FROM consumers WHERE uuid = :id", id=lost)
    drift("DELETE FROM allocations WHERE consumer_id = (SELECT id FROM consumers WHERE uuid = :id)", id=empty)
    drift("UPDATE inventories SET used = 7")

    def state() -> list[list[tuple]]:
        return [
            drift.rows(f"SELECT * FROM {table} ORDER BY 1, 2")
            for table in ("consumers", "allocations", "inventories", "resource_providers", "feed_heads")
        ]

    before = state()
    dry = command("heal", "--dry-run", expect=CLOUD_AWAY)
    assert "0 mended, 3 left" in dry
    assert "Only part of the cloud was looked at" in dry
    assert state() == before

    assert "2 mended, 1 left" in command("heal", "--max-count", "2", expect=CLOUD_AWAY)
    found = command.json("heal", expect=CLOUD_AWAY)
    assert [(each["kind"], each["outcome"]) for each in found["entries"]] == [("empty-consumers", "mended")]
    assert found["unheard"]
    after = state()
    assert "0 mended, 0 left" in command("heal", expect=CLOUD_AWAY)
    assert state() == after
    check_books(database_url)
    assert service.used(host) == {"VCPU": 2}
    assert service.held(kept) == {host: {"VCPU": 1}}
    assert service.held(empty) == {}
    assert command.verdicts() == {}
