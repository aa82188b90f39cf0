"""Audits of usage: for each host and period, how many servers were there.

A host is audited for a period if and only if there is a row that says so; the row is written once the period is
over, with all that it says, so none is ever half done. Any number of replicas may audit at once: of two that audit
the same host one commits, and the other finds that it is done.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.usage_pb2 import UsageAudit
from protonova.conductor.v1 import usage_pb2 as pb
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.clock import to_micros, to_timestamp
from protonova.services.conductor.tables import hosts, servers, usage_audits
from protonova.services.conductor.usage.windows import within
from protonova.services.runtime.audit_period import last_whole
from protonova.services.runtime.database import now

_log = logging.getLogger("protonova.conductor.usage")
# Hosts in one transaction.
_MOST = 200
_KEPT_MICROS = 400 * 86_400 * 1_000_000


def audit(cell: Cell) -> int:
    """Audits all hosts for the last whole period; how many had not been."""
    done = 0
    while some := _audit_some(cell):
        done += some
    return done


def _audit_some(cell: Cell) -> int:
    begun = time.monotonic()

    def write(connection: Connection) -> int:
        moment = int(connection.scalar(sa.select(now())) or 0)
        begin, end = period(str(cell.conf.instance_usage_audit_period), moment)
        names = _unaudited(connection, begin, end)
        if not names:
            connection.execute(
                sa.delete(usage_audits).where(usage_audits.c.period_end < moment - _KEPT_MICROS)
            )
            return 0
        counts = _counts(connection, names, begin, end)
        spent = time.monotonic() - begun
        connection.execute(
            sa.insert(usage_audits),
            [
                {
                    "host": name,
                    "period_begin": begin,
                    "period_end": end,
                    "servers": counts.get(name, 0),
                    "errors": 0,
                    "message": f"{counts.get(name, 0)} servers of {name} counted in {spent:.2f} s.",
                    "done_at": moment,
                }
                for name in names
            ],
        )
        return len(names)

    try:
        return cell.db.write(write)
    except sa.exc.IntegrityError:
        _log.info("Another replica audits the usage of the same hosts")
        return 0


def period(setting: str, moment: int) -> tuple[int, int]:
    """Of the last whole period before a moment; microseconds since the epoch."""
    begin, end = last_whole(setting, datetime.fromtimestamp(moment / 1_000_000, UTC))
    return int(begin.timestamp()) * 1_000_000, int(end.timestamp()) * 1_000_000


def list_audits(connection: Connection, request: pb.ListUsageAuditsRequest) -> list[UsageAudit]:
    rows = connection.execute(
        sa.select(usage_audits)
        .where(
            usage_audits.c.period_begin == to_micros(request.begin),
            usage_audits.c.period_end == to_micros(request.end),
        )
        .order_by(usage_audits.c.host)
    )
    return [
        UsageAudit(
            host=row.host,
            servers=row.servers,
            errors=row.errors,
            message=row.message,
            done_at=to_timestamp(row.done_at),
        )
        for row in rows
    ]


def _unaudited(connection: Connection, begin: int, end: int) -> list[str]:
    audited = sa.select(usage_audits.c.host).where(
        usage_audits.c.period_begin == begin, usage_audits.c.period_end == end
    )
    query = sa.select(hosts.c.host).where(hosts.c.host.not_in(audited)).order_by(hosts.c.number).limit(_MOST)
    return list(connection.scalars(query))


def _counts(connection: Connection, names: list[str], begin: int, end: int) -> dict[str, int]:
    query = (
        sa.select(servers.c.host, sa.func.count())
        .where(servers.c.host.in_(names), within(begin, end))
        .group_by(servers.c.host)
    )
    return {host: int(count) for host, count in connection.execute(query)}
