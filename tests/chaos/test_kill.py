"""Kill any process at any moment: nothing is lost, nothing is stuck, nothing leaks.

`CHAOS_KILLS` and `CHAOS_SEED` choose how long and which way; `make chaos` does 40 kills on each kind of database.
"""

from __future__ import annotations

import os
import random
import uuid
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from benchmarks.cloud import running
from benchmarks.figures import Site
from tests.chaos.audit import Audit
from tests.chaos.killer import Killer
from tests.chaos.workload import Workload
from tests.chaos.world import SHORT_LEASES
from tests.support.proxy import Proxy

KILLS = int(os.environ.get("CHAOS_KILLS", "12"))
SEED = int(os.environ.get("CHAOS_SEED", random.randrange(1 << 30)))
SERVERS_A_ROUND = 25

pytestmark = pytest.mark.timeout(900)


def test_no_kill_loses_sticks_or_leaks_anything() -> None:
    _live_and_die("sqlite", kills=KILLS, servers=100)


@pytest.mark.postgresql
def test_replicas_on_postgresql_stand_in_for_each_other() -> None:
    _live_and_die("postgresql", kills=KILLS, servers=75, replicas=2)


@pytest.mark.mariadb
@pytest.mark.redis
def test_replicas_on_mariadb_and_redis_stand_in_for_each_other(redis_url: str) -> None:
    """Redis goes away too for a while: it only wakes readers earlier."""
    redis = urlsplit(redis_url)
    with closing(Proxy(redis.hostname or "127.0.0.1", redis.port or 6379)) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}{redis.path}"
        config = f"[redis]\nurl = {url}\nprefix = chaos-{uuid.uuid4().hex[:8]}\n"
        _live_and_die("mariadb", kills=KILLS, servers=75, replicas=2, config=config, away=proxy)


def _live_and_die(
    database: str, *, kills: int, servers: int, replicas: int = 1, config: str = "", away: Proxy | None = None
) -> None:
    """At least so many servers live, and at least so many processes die, until both are over."""
    print(f"CHAOS_SEED={SEED} CHAOS_KILLS={kills} on {database}")
    keep = bool(os.environ.get("CHAOS_KEEP"))
    with running(database, replicas=replicas, config=SHORT_LEASES + config, keep=keep) as cloud:
        site = Site.prepare(cloud)
        workload = Workload(site.admin, flavor=site.flavor, image=site.image, network=site.network, seed=SEED)
        killer = Killer(cloud, kills=kills, seed=SEED, pause=(0.3, 2.0))
        killer.start()
        lived = 0
        while lived < servers or not killer.done:
            workload.run(SERVERS_A_ROUND)
            lived += SERVERS_A_ROUND
            if away is not None:
                (away.refuse if lived == SERVERS_A_ROUND else away.resume)()
                away = away if lived == SERVERS_A_ROUND else None
        killer.finish()
        audit = Audit(cloud, site.admin)
        audit.settle(workload.ledger)
        moves = audit.moves()
        print(f"{lived} servers lived, {dict(killer.killed)} killed, moves: {dict(moves)}")
        assert {"resize confirmed", "resize reverted", "live-migration completed"} <= moves.keys()
        assert killer.killed.total() == kills
