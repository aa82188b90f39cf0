"""Lists of servers in a region that has a hundred thousand of them, in four cells.

The servers are written into the databases: to boot as many is not what is measured. Each is like one that was
booted, but for its name, state and age.
"""

from __future__ import annotations

import random
import uuid
from pathlib import Path

import sqlalchemy as sa

from benchmarks.cloud import Cloud, running
from benchmarks.figures import Line, Site
from benchmarks.load import repeat
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.api import tables as api
from protonova.services.conductor import tables as cell
from protonova.services.conductor.clock import set_time, to_micros
from protonova.services.conductor.servers.store import Servers
from protonova.services.runtime.database import Database

_CELLS = 4
_EACH = 25_000
_WRITTEN_AT_ONCE = 1_000
_PAGE = 1_000
_MINUTE = 60_000_000


def figures(database: str) -> list[Line]:
    """Every cell has a database of its own, which are files here: with `postgresql` there is nothing to say."""
    if database != "sqlite":
        return []
    with running(database, cells=_CELLS) as cloud:
        site = Site.prepare(cloud)
        _fill(cloud, [site.boot() for _ in range(2 * _CELLS)])
        filtered = "status=ACTIVE&sort_key=display_name&sort_dir=asc"
        named = "name=web-1&sort_key=created_at&sort_dir=asc"
        lines = []
        for what, query in (("status, by name", filtered), ("part of a name, by age", named), ("all", "")):
            path = f"/v2.1/servers/detail?limit={_PAGE}&{query}"
            assert site.admin.fetch(path).count(b'"OS-EXT-STS:vm_state"') == _PAGE
            times = repeat(lambda path=path: site.admin.fetch(path), 15, warm_up=3)
            name = f"{_PAGE:,} of {_CELLS * _EACH:,} servers in {_CELLS} cells: {what}, p50"
            lines.append(Line(name, times.median_ms, "ms", "<150"))
    return lines


def _fill(cloud: Cloud, servers: list[str]) -> None:
    chance = random.Random(1)
    files = cloud.state / "db"
    mappings = Database(_url(files / "api.sqlite"), metadata=api.metadata)
    mapped = api.instance_mappings
    for number in range(1, _CELLS + 1):
        db = Database(_url(files / f"cell{number}.sqlite"), metadata=cell.metadata)
        like = db.read(
            lambda connection: connection.execute(sa.select(cell.servers.c.record)).scalars().first()
        )
        assert like, f"none of {len(servers)} servers is in cell {number}"
        pattern = Server.FromString(like)
        row = mappings.read(
            lambda connection, server=pattern.id: (
                connection.execute(sa.select(mapped).where(mapped.c.id == server)).mappings().one()
            )
        )
        for _ in range(_EACH // _WRITTEN_AT_ONCE):
            batch = [_alike(pattern, chance) for _ in range(_WRITTEN_AT_ONCE)]
            rows = [{**row, "id": server.id, "created_at": to_micros(server.created_at)} for server in batch]
            db.write(lambda connection, batch=batch: Servers("instance-%08x").insert(connection, batch))
            mappings.write(lambda connection, rows=rows: connection.execute(sa.insert(mapped), rows))
        db.close()
    mappings.close()


def _alike(pattern: Server, chance: random.Random) -> Server:
    server = Server()
    server.CopyFrom(pattern)
    server.id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    server.name = server.hostname = f"web-{chance.randrange(10**6)}"
    server.instance_name = ""
    set_time(server.created_at, to_micros(pattern.created_at) - chance.randrange(525_600) * _MINUTE)
    if chance.random() < 0.3:
        server.vm_state, server.power_state = VmState.VM_STATE_STOPPED, PowerState.POWER_STATE_SHUTDOWN
    return server


def _url(file: Path) -> str:
    return f"sqlite:///{file}"
