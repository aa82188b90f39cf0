"""Flavors as rows: who may see them, their extra specs and the projects a private one is shared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from protonova.api.v1 import flavor_pb2
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api import tables, times
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext

_flavors, _specs, _access = tables.flavors, tables.flavor_extra_specs, tables.flavor_access

# Sort keys of a list, with their columns.
_SORT_KEYS = {
    **{
        name: _flavors.c[name]
        for name in ("id", "name", "number", "vcpus", "memory_mb", "root_gb", "ephemeral_gb")
    },
    **{name: _flavors.c[name] for name in ("swap_mb", "rxtx_factor", "is_public", "disabled", "created_at")},
    "updated_at": func.coalesce(_flavors.c.updated_at, 0),
    "description": func.coalesce(_flavors.c.description, ""),
}
_SHARED = exists().where(
    _access.c.flavor_number == _flavors.c.number, _access.c.project_id == bindparam("of_project")
)
# What a caller may see of all flavors.
_VISIBLE = or_(bindparam("sees_all", type_=Boolean), _flavors.c.is_public, _SHARED)
_SEEN: dict[int, ColumnElement[bool]] = {
    flavor_pb2.FLAVOR_VISIBILITY_UNSPECIFIED: or_(_flavors.c.is_public, _SHARED),
    flavor_pb2.FLAVOR_VISIBILITY_PUBLIC: _flavors.c.is_public,
    flavor_pb2.FLAVOR_VISIBILITY_PRIVATE: and_(~_flavors.c.is_public, _VISIBLE),
    flavor_pb2.FLAVOR_VISIBILITY_ALL: _VISIBLE,
}
_BY_ID = select(_flavors).where(_flavors.c.id == bindparam("of_id"), _VISIBLE)
_WITH_SPECS = _BY_ID.add_columns(
    _specs.c.key.label("spec_key"), _specs.c.value.label("spec_value")
).select_from(_flavors.outerjoin(_specs, _specs.c.flavor_number == _flavors.c.number))
_SPECS_OF = select(_specs.c.flavor_number, _specs.c.key, _specs.c.value).where(
    _specs.c.flavor_number.in_(bindparam("numbers", expanding=True))
)


def not_found(flavor_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Flavor {flavor_id} could not be found.", reason="FLAVOR_NOT_FOUND", flavor_id=flavor_id
    )


def get(connection: Connection, flavor_id: str, context: RequestContext) -> Flavor:
    """A flavor the caller may see. Raises FLAVOR_NOT_FOUND."""
    rows = connection.execute(_WITH_SPECS, _asked(flavor_id, context)).all()
    if not rows:
        raise not_found(flavor_id)
    return _message(rows[0], {row.spec_key: row.spec_value for row in rows if row.spec_key is not None})


def find(connection: Connection, flavor_id: str, context: RequestContext) -> Row[Any, Any]:
    """Raises FLAVOR_NOT_FOUND."""
    row = connection.execute(_BY_ID, _asked(flavor_id, context)).first()
    if row is None:
        raise not_found(flavor_id)
    return row


def known(connection: Connection, flavor_id: str) -> bool:
    return connection.execute(select(_flavors.c.number).where(_flavors.c.id == flavor_id)).first() is not None


def listing(
    connection: Connection, request: flavor_pb2.ListFlavorsRequest, context: RequestContext, limit: int
) -> list[Flavor]:
    """One page. Raises MARKER_NOT_FOUND, SORT_INVALID."""
    sort_key = request.sort_key or "id"
    column = _SORT_KEYS.get(sort_key)
    if column is None:
        raise errors.InvalidArgument(
            f"Flavors cannot be sorted by '{request.sort_key}'.", reason="SORT_INVALID", key=request.sort_key
        )
    values: dict[str, object] = {
        "most": limit,
        "sees_all": context.is_admin,
        "of_project": context.project_id,
        "least_memory_mb": request.min_memory_mb,
        "least_root_gb": request.min_root_gb,
        "exact_name": request.name,
    }
    if request.page_token:
        values |= _marker(connection, request.page_token, column, context)
    statement = _page(
        request.visibility if request.visibility in _SEEN else flavor_pb2.FLAVOR_VISIBILITY_UNSPECIFIED,
        sort_key,
        request.sort_descending,
        request.include_disabled,
        bool(request.name),
        bool(request.page_token),
    )
    return _messages(connection, connection.execute(statement, values).all())


def create(connection: Connection, flavor: Flavor, now: int) -> int:
    """Writes a new flavor and returns its number. Raises FLAVOR_EXISTS."""
    for field, value in (("id", flavor.id), ("name", flavor.name)):
        if connection.execute(select(_flavors.c.number).where(_flavors.c[field] == value)).first():
            raise exists_already(field, value)
    result = connection.execute(
        insert(_flavors).values(
            id=flavor.id,
            name=flavor.name,
            description=flavor.description if flavor.HasField("description") else None,
            vcpus=flavor.vcpus,
            memory_mb=flavor.memory_mb,
            root_gb=flavor.root_gb,
            ephemeral_gb=flavor.ephemeral_gb,
            swap_mb=flavor.swap_mb,
            rxtx_factor=flavor.rxtx_factor or 1.0,
            is_public=flavor.is_public,
            disabled=flavor.disabled,
            created_at=now,
        )
    )
    key = result.inserted_primary_key
    assert key is not None
    number = int(key[0])
    merge_extra_specs(connection, number, dict(flavor.extra_specs))
    return number


def exists_already(field: str, value: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"A flavor with the {field} '{value}' exists already.",
        reason="FLAVOR_EXISTS",
        field=field,
        value=value,
    )


def describe(connection: Connection, flavor_id: str, description: str | None, now: int) -> None:
    changed = connection.execute(
        update(_flavors).where(_flavors.c.id == flavor_id).values(description=description, updated_at=now)
    )
    if changed.rowcount == 0:
        raise not_found(flavor_id)


def remove(connection: Connection, flavor_id: str) -> None:
    """Servers built from it keep their copy."""
    number = connection.execute(select(_flavors.c.number).where(_flavors.c.id == flavor_id)).scalar()
    if number is None:
        raise not_found(flavor_id)
    for table in (_specs, _access):
        connection.execute(delete(table).where(table.c.flavor_number == number))
    connection.execute(delete(_flavors).where(_flavors.c.number == number))


def merge_extra_specs(connection: Connection, number: int, extra_specs: dict[str, str]) -> None:
    if not extra_specs:
        return
    connection.execute(delete(_specs).where(_specs.c.flavor_number == number, _specs.c.key.in_(extra_specs)))
    connection.execute(
        insert(_specs),
        [{"flavor_number": number, "key": key, "value": value} for key, value in extra_specs.items()],
    )


def remove_extra_spec(connection: Connection, number: int, key: str) -> bool:
    gone = connection.execute(delete(_specs).where(_specs.c.flavor_number == number, _specs.c.key == key))
    return gone.rowcount == 1


def access(connection: Connection, number: int) -> list[str]:
    query = select(_access.c.project_id).where(_access.c.flavor_number == number)
    return list(connection.scalars(query.order_by(_access.c.project_id)))


def grant(connection: Connection, number: int, project_id: str) -> None:
    connection.execute(insert(_access).values(flavor_number=number, project_id=project_id))


def revoke(connection: Connection, number: int, project_id: str) -> bool:
    gone = connection.execute(
        delete(_access).where(_access.c.flavor_number == number, _access.c.project_id == project_id)
    )
    return gone.rowcount == 1


def _asked(flavor_id: str, context: RequestContext) -> dict[str, object]:
    return {"of_id": flavor_id, "sees_all": context.is_admin, "of_project": context.project_id}


@cache
def _page(
    visibility: int, sort_key: str, descending: bool, with_disabled: bool, by_name: bool, after_marker: bool
) -> Select[Any]:
    """The statement of a list. It is made once: making one costs more than running it."""
    column = _SORT_KEYS[sort_key]
    conditions = [
        _SEEN[visibility],
        _flavors.c.memory_mb >= bindparam("least_memory_mb"),
        _flavors.c.root_gb >= bindparam("least_root_gb"),
    ]
    if not with_disabled:
        conditions.append(~_flavors.c.disabled)
    if by_name:
        conditions.append(_flavors.c.name == bindparam("exact_name"))
    if after_marker:
        value = bindparam("marker_value", type_=column.type)
        beyond = column < value if descending else column > value
        conditions.append(or_(beyond, and_(column == value, _flavors.c.number > bindparam("marker_number"))))
    order = column.desc() if descending else column.asc()
    return (
        select(_flavors)
        .where(*conditions)
        .order_by(order, _flavors.c.number.asc())
        .limit(bindparam("most", type_=Integer))
    )


def _marker(
    connection: Connection, marker: str, column: ColumnElement[Any], context: RequestContext
) -> dict[str, object]:
    """Where a page begins. Raises MARKER_NOT_FOUND."""
    row = connection.execute(
        select(column.label("value"), _flavors.c.number).where(_flavors.c.id == bindparam("of_id"), _VISIBLE),
        _asked(marker, context),
    ).first()
    if row is None:
        raise errors.InvalidArgument(
            f"Marker {marker} could not be found.", reason="MARKER_NOT_FOUND", marker=marker
        )
    return {"marker_value": row.value, "marker_number": row.number}


def _messages(connection: Connection, rows: Sequence[Row[Any, Any]]) -> list[Flavor]:
    specs = _extra_specs(connection, [row.number for row in rows])
    return [_message(row, specs.get(row.number, {})) for row in rows]


def _extra_specs(connection: Connection, numbers: Iterable[int]) -> dict[int, dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for number, key, value in connection.execute(_SPECS_OF, {"numbers": list(numbers)}):
        found.setdefault(number, {})[key] = value
    return found


def _message(row: Row[Any, Any], extra_specs: dict[str, str]) -> Flavor:
    flavor = Flavor(
        number=row.number,
        id=row.id,
        name=row.name,
        description=row.description,
        vcpus=row.vcpus,
        memory_mb=row.memory_mb,
        root_gb=row.root_gb,
        ephemeral_gb=row.ephemeral_gb,
        swap_mb=row.swap_mb,
        rxtx_factor=row.rxtx_factor,
        is_public=row.is_public,
        disabled=row.disabled,
        extra_specs=extra_specs,
        created_at=times.stamp(row.created_at),
    )
    if row.updated_at is not None:
        flavor.updated_at.CopyFrom(times.stamp(row.updated_at))
    return flavor
