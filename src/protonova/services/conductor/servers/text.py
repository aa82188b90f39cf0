"""Texts of a server that a filter may name, as SQL: columns that are not text are spelled as users know them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.server_pb2 import LockHolder
from protonova.services.conductor.tables import servers

_columns = servers.c

_TEXTS = {
    **{
        name: _columns[name]
        for name in (
            "id",
            "name",
            "description",
            "hostname",
            "project_id",
            "user_id",
            "reservation_id",
            "host",
            "node",
            "availability_zone",
            "key_name",
            "root_device_name",
            "access_ip_v4",
            "access_ip_v6",
        )
    },
    "image.id": _columns.image_id,
    "flavor.id": _columns.flavor_id,
    "image.properties.kernel_id": _columns.kernel_id,
    "image.properties.ramdisk_id": _columns.ramdisk_id,
    "kernel_id": _columns.kernel_id,
    "ramdisk_id": _columns.ramdisk_id,
}
_NUMBERS = {name: _columns[name] for name in ("launch_index", "progress")}
_TIMES = {
    name: _columns[name]
    for name in ("created_at", "updated_at", "launched_at", "terminated_at", "deleted_at")
}
_SPELLED: dict[str, ColumnElement[str]] = {
    "locked_by": sa.case(
        (_columns.locked_by == LockHolder.LOCK_HOLDER_OWNER, "owner"),
        (_columns.locked_by == LockHolder.LOCK_HOLDER_ADMIN, "admin"),
        else_="",
    ),
    "config_drive": sa.case((_columns.config_drive, "True"), else_=""),
    "auto_disk_config": sa.case((_columns.auto_disk_config, "1"), else_="0"),
}


def text_of(field: str, dialect: str) -> ColumnElement[str] | None:
    """The text of a field, or None when no filter can name it."""
    if (column := _TEXTS.get(field)) is not None:
        return column
    if (number := _NUMBERS.get(field)) is not None:
        return sa.cast(number, sa.String(20))
    if (moment := _TIMES.get(field)) is not None:
        return sa.case((moment == 0, ""), else_=_DATES[dialect](moment))
    return _SPELLED.get(field)


def _sqlite_date(micros: ColumnElement[int]) -> ColumnElement[Any]:
    return sa.func.strftime("%Y-%m-%d %H:%M:%S", micros / sa.literal_column("1000000"), "unixepoch")


def _postgresql_date(micros: ColumnElement[int]) -> ColumnElement[Any]:
    moment = sa.func.timezone("UTC", sa.func.to_timestamp(micros / sa.literal_column("1000000.0")))
    return sa.func.to_char(moment, "YYYY-MM-DD HH24:MI:SS")


def _mysql_date(micros: ColumnElement[int]) -> ColumnElement[Any]:
    epoch: ColumnElement[Any] = sa.literal_column("TIMESTAMP '1970-01-01 00:00:00'")
    moment = sa.func.timestampadd(sa.literal_column("SECOND"), sa.func.floor(micros / 1_000_000), epoch)
    return sa.func.date_format(moment, "%Y-%m-%d %H:%i:%s")


_DATES: dict[str, Callable[[ColumnElement[int]], ColumnElement[Any]]] = {
    "sqlite": _sqlite_date,
    "postgresql": _postgresql_date,
    "mysql": _mysql_date,
    "mariadb": _mysql_date,
}
