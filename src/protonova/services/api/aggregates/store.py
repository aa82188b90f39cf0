"""Aggregates as rows: their names, hosts and metadata, and the zones hosts are in by them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from protonova.api.v1.aggregate_pb2 import Aggregate
from protonova.services.api import tables, times
from protonova.services.runtime import errors

ZONE_KEY = "availability_zone"

_aggregates, _hosts, _metadata = tables.aggregates, tables.aggregate_hosts, tables.aggregate_metadata
# Parameters a statement may have on every database, with room to spare.
_CHUNK = 500


def not_found(named: object) -> errors.NotFound:
    return errors.NotFound(
        f"Aggregate {named} could not be found.", reason="AGGREGATE_NOT_FOUND", aggregate_id=named
    )


# ---- reading


def find(connection: Connection, aggregate_id: str, number: int, *, lock: bool = False) -> Row[Any]:
    """By id, or by number where there is no id. `lock` keeps it as it is until the transaction ends. Raises
    AGGREGATE_NOT_FOUND."""
    query = select(_aggregates)
    query = query.where(_aggregates.c.id == aggregate_id if aggregate_id else _aggregates.c.number == number)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise not_found(aggregate_id or number)
    return row


def message(connection: Connection, row: Row[Any]) -> Aggregate:
    return _messages(connection, [row])[0]


def listing(connection: Connection) -> list[Aggregate]:
    """All, by number."""
    return _messages(connection, connection.execute(select(_aggregates).order_by(_aggregates.c.number)).all())


def load(connection: Connection, ids: Iterable[str]) -> dict[str, Aggregate]:
    """For the feed."""
    rows = connection.execute(select(_aggregates).where(_aggregates.c.id.in_(list(ids)))).all()
    return {one.id: one for one in _messages(connection, rows)}


def hosts_of(connection: Connection, number: int) -> list[str]:
    query = select(_hosts.c.host).where(_hosts.c.aggregate_number == number)
    return list(connection.scalars(query.order_by(_hosts.c.host)))


def zone_of(connection: Connection, number: int) -> str:
    """Empty when the aggregate is no zone."""
    query = select(_metadata.c.value).where(
        _metadata.c.aggregate_number == number, _metadata.c.key == ZONE_KEY
    )
    return connection.execute(query).scalar() or ""


def zones(
    connection: Connection, hosts: Collection[str] | None = None, *, besides: int = 0
) -> dict[str, str]:
    """The zones that hosts (all, if none are given) are in by their aggregates, besides one of these."""
    query = (
        select(_hosts.c.host, _metadata.c.value)
        .join(_metadata, _metadata.c.aggregate_number == _hosts.c.aggregate_number)
        .where(_metadata.c.key == ZONE_KEY, _hosts.c.aggregate_number != besides)
    )
    if hosts is None:
        return {row.host: row.value for row in connection.execute(query)}
    found: dict[str, str] = {}
    for some in chunks(sorted(hosts)):
        found.update(
            (row.host, row.value) for row in connection.execute(query.where(_hosts.c.host.in_(some)))
        )
    return found


def has_zone(connection: Connection, zone: str) -> bool:
    """Whether a host is in a zone by an aggregate."""
    query = (
        select(_hosts.c.host)
        .join(_metadata, _metadata.c.aggregate_number == _hosts.c.aggregate_number)
        .where(_metadata.c.key == ZONE_KEY, _metadata.c.value == zone)
        .limit(1)
    )
    return connection.execute(query).first() is not None


# ---- writing


def create(
    connection: Connection, aggregate_id: str, name: str, metadata: Mapping[str, str], now: int
) -> None:
    """Raises AGGREGATE_EXISTS."""
    _check_name(connection, name)
    result = connection.execute(insert(_aggregates).values(id=aggregate_id, name=name, created_at=now))
    key = result.inserted_primary_key
    assert key is not None
    set_metadata(connection, int(key[0]), metadata)


def rename(connection: Connection, row: Row[Any], name: str) -> None:
    """Raises AGGREGATE_EXISTS."""
    if name != row.name:
        _check_name(connection, name)
        connection.execute(update(_aggregates).where(_aggregates.c.number == row.number).values(name=name))


def touch(connection: Connection, number: int, now: int) -> None:
    connection.execute(update(_aggregates).where(_aggregates.c.number == number).values(updated_at=now))


def set_metadata(connection: Connection, number: int, metadata: Mapping[str, str]) -> None:
    unset_metadata(connection, number, metadata)
    if metadata:
        connection.execute(
            insert(_metadata),
            [{"aggregate_number": number, "key": key, "value": value} for key, value in metadata.items()],
        )


def unset_metadata(connection: Connection, number: int, keys: Iterable[str]) -> None:
    if named := list(keys):
        connection.execute(
            delete(_metadata).where(_metadata.c.aggregate_number == number, _metadata.c.key.in_(named))
        )


def add_host(connection: Connection, number: int, host: str) -> None:
    connection.execute(insert(_hosts).values(aggregate_number=number, host=host, node_id="", mirrored=False))


def remove_host(connection: Connection, number: int, host: str) -> str | None:
    """The provider it was mirrored to; None when it was not there."""
    here = (_hosts.c.aggregate_number == number, _hosts.c.host == host)
    node_id = connection.execute(select(_hosts.c.node_id).where(*here).with_for_update()).scalar()
    if node_id is not None:
        connection.execute(delete(_hosts).where(*here))
    return node_id


def remove(connection: Connection, number: int) -> None:
    connection.execute(delete(_metadata).where(_metadata.c.aggregate_number == number))
    connection.execute(delete(_aggregates).where(_aggregates.c.number == number))


def exists_already(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"An aggregate of the name '{name}' exists already.", reason="AGGREGATE_EXISTS", name=name
    )


def chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]


def _check_name(connection: Connection, name: str) -> None:
    if connection.execute(select(_aggregates.c.number).where(_aggregates.c.name == name)).first():
        raise exists_already(name)


def _messages(connection: Connection, rows: Sequence[Row[Any]]) -> list[Aggregate]:
    found = {row.number: _bare(row) for row in rows}
    numbers = sorted(found)
    for start in range(0, len(numbers), _CHUNK):
        some = numbers[start : start + _CHUNK]
        members = select(_hosts.c.aggregate_number, _hosts.c.host).where(_hosts.c.aggregate_number.in_(some))
        for number, host in connection.execute(members.order_by(_hosts.c.host)):
            found[number].hosts.append(host)
        said = select(_metadata).where(_metadata.c.aggregate_number.in_(some))
        for row in connection.execute(said):
            found[row.aggregate_number].metadata[row.key] = row.value
    return list(found.values())


def _bare(row: Row[Any]) -> Aggregate:
    bare = Aggregate(id=row.id, number=row.number, name=row.name, created_at=times.stamp(row.created_at))
    if row.updated_at is not None:
        bare.updated_at.CopyFrom(times.stamp(row.updated_at))
    return bare
