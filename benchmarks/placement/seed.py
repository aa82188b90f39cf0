"""Fills a placement database by a few large statements; the service reads it when it starts."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import migrations, rows, tables
from protonova.services.placement.names import Vocabulary
from protonova.services.placement.records import MAX_INTEGER
from protonova.services.runtime import migration
from protonova.services.runtime.database import Database, now

# Total and ratio by class.
HOST = {"VCPU": (64, 16.0), "MEMORY_MB": (524_288, 1.5), "DISK_GB": (8_192, 1.0)}
CHILD = {"SRIOV_NET_VF": (8, 1.0)}
# Each host has five of them.
TRAITS = (
    "HW_CPU_X86_AVX",
    "HW_CPU_X86_AVX2",
    "HW_CPU_X86_AVX512F",
    "HW_CPU_X86_SSE42",
    "HW_CPU_X86_VMX",
    "STORAGE_DISK_SSD",
    "COMPUTE_NODE",
    "COMPUTE_TRUSTED_CERTS",
)
_TRAITS_EACH = 5
_AGGREGATES = 20
_TOLD_AT_ONCE = 5_000

_providers = tables.resource_providers


class Seed:
    """Writes providers into a database, which it brings to the newest schema first."""

    def __init__(self, url: str) -> None:
        self._db = Database(url, metadata=tables.metadata)
        migration.upgrade(self._db, migrations)
        self._vocabulary = Vocabulary(self._db)
        self._vocabulary.synchronize()
        self._made = 0

    def close(self) -> None:
        self._db.close()

    def hosts(self, count: int) -> list[str]:
        """Adds hosts that stand alone; answers their ids."""
        aggregates = [str(uuid.uuid4()) for _ in range(_AGGREGATES)]

        def write(connection: Connection) -> list[str]:
            made, after = self._providers(connection, count)
            self._inventories(connection, HOST, _providers.c.id > after)
            for place, name in enumerate(TRAITS):
                having = (_providers.c.id + place) % len(TRAITS) < _TRAITS_EACH
                number = self._vocabulary.trait_number(name)
                self._belongs(connection, tables.provider_traits, number, having & (_providers.c.id > after))
            for place, aggregate in enumerate(aggregates):
                result = connection.execute(tables.aggregates.insert().values(uuid=aggregate))
                (number,) = result.inserted_primary_key or (0,)
                within = (_providers.c.id % _AGGREGATES == place) & (_providers.c.id > after)
                self._belongs(connection, tables.provider_aggregates, number, within)
            _tell(connection, made)
            return made

        return self._db.write(write)

    def trees(self, count: int, children: int) -> list[str]:
        """Adds hosts with children of their own; answers the ids of the hosts."""

        def write(connection: Connection) -> list[str]:
            roots, after = self._providers(connection, count)
            self._inventories(connection, HOST, _providers.c.id > after)
            found = connection.execute(sa.select(_providers.c.id).where(_providers.c.id > after))
            parents = [number for number in found.scalars() for _ in range(children)]
            made, after = self._providers(connection, len(parents), parents)
            self._inventories(connection, CHILD, _providers.c.id > after)
            _tell(connection, [*roots, *made])
            return roots

        return self._db.write(write)

    def _providers(
        self, connection: Connection, count: int, parents: Sequence[int] = ()
    ) -> tuple[list[str], int]:
        """The ids of new providers, and a number that all of theirs are above."""
        after = connection.execute(sa.select(sa.func.coalesce(sa.func.max(_providers.c.id), 0))).scalar_one()
        made = [str(uuid.uuid4()) for _ in range(count)]
        connection.execute(
            _providers.insert().values(generation=1, version=1, created_at=now(), updated_at=now()),
            [
                {
                    "uuid": id_,
                    "name": f"host-{self._made + place:07}.cloud.example",
                    "parent_id": parents[place] if parents else None,
                    "root_id": parents[place] if parents else None,
                }
                for place, id_ in enumerate(made)
            ],
        )
        self._made += count
        connection.execute(
            _providers.update().where(_providers.c.root_id.is_(None)).values(root_id=_providers.c.id)
        )
        return made, int(after)

    def _inventories(
        self,
        connection: Connection,
        sizes: Mapping[str, tuple[int, float]],
        which: sa.ColumnElement[bool],
    ) -> None:
        for name, (total, ratio) in sizes.items():
            values = {
                "resource_class_id": self._vocabulary.class_number(name),
                "total": total,
                "reserved": 0,
                "min_unit": 1,
                "max_unit": MAX_INTEGER,
                "step_size": 1,
                "capacity": int(total * ratio),
                "used": 0,
            }
            source = sa.select(
                _providers.c.id,
                *(sa.literal(value, sa.BigInteger) for value in values.values()),
                sa.literal(ratio, sa.Double),
            ).where(which)
            columns = ["provider_id", *values, "allocation_ratio"]
            connection.execute(tables.inventories.insert().from_select(columns, source))

    def _belongs(
        self, connection: Connection, table: sa.Table, number: int, which: sa.ColumnElement[bool]
    ) -> None:
        source = sa.select(_providers.c.id, sa.literal(number, sa.BigInteger)).where(which)
        connection.execute(table.insert().from_select([column.name for column in table.columns], source))


def _tell(connection: Connection, ids: Iterable[str]) -> None:
    waiting = iter(ids)
    while chunk := list(islice(waiting, _TOLD_AT_ONCE)):
        rows.tell(connection, chunk)
