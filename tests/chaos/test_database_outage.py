"""The databases refuse connections for twenty seconds, and then are back as if nothing had been."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from benchmarks.cloud import databases
from tests.chaos.workload import Workload
from tests.chaos.world import Answer, World, eventually, world
from tests.support.proxy import Proxy

pytestmark = pytest.mark.timeout(180)

OUTAGE_SECONDS = 20.0
# A user, or a load balancer, waits this long without thinking that nobody is there.
SLOWEST_ANSWER = 5.0


@contextmanager
def behind_a_proxy(kind: str) -> Iterator[tuple[dict[str, str], Proxy]]:
    """Databases of a cloud's own, as it reaches them through a proxy."""
    with databases(kind) as urls:
        server = make_url(next(iter(urls.values())))
        with closing(Proxy(str(server.host), server.port or 5432)) as proxy:
            through = {
                section: make_url(url)
                .set(host="127.0.0.1", port=proxy.port)
                .render_as_string(hide_password=False)
                for section, url in urls.items()
            }
            yield through, proxy


@pytest.mark.postgresql
def test_nothing_is_lost_while_the_databases_are_away() -> None:
    with behind_a_proxy("postgresql") as (urls, proxy), world(urls) as cloud:
        lives = [cloud.accepted(port=number == 0) for number in range(4)]
        for server in lives:
            cloud.wait(server, "ACTIVE")
        stopped, deleted = lives[2], lives[3]
        # Under way when it happens: two builds, a stop and a delete.
        cloud.disturb(
            {"call": "spawn", "stage": "define", "delay": 3},
            {"call": "power_off", "delay": 3},
            {"call": "destroy", "delay": 3},
        )
        building = [cloud.accepted(port=True), cloud.accepted()]
        assert cloud.ask("POST", f"/v2.1/servers/{stopped}/action", {"os-stop": None})[0] == 202
        assert cloud.ask("DELETE", f"/v2.1/servers/{deleted}")[0] == 204
        cloud.promise(stopped, "SHUTOFF")
        cloud.ledger.status.pop(deleted)
        eventually(lambda: set(building) <= cloud.guests(), "the builds to be in the hypervisor")

        proxy.refuse()
        seen = _ask_until(cloud, lives[0], time.monotonic() + OUTAGE_SECONDS)
        proxy.resume()

        print(f"during the outage: {dict(seen.answers)}, the slowest after {seen.slowest:.2f} s")
        assert set(seen.answers) == {503}
        assert seen.slowest < SLOWEST_ANSWER
        back = time.monotonic()
        eventually(lambda: cloud.ask("GET", "/v2.1/servers/detail")[0] == 200, "the cloud to be back", 10)
        print(f"answered again {time.monotonic() - back:.2f} s after the databases were back")
        for server in building:
            cloud.wait(server, "ACTIVE")
        cloud.wait(stopped, "SHUTOFF")
        # What got no 202 may be asked for again, and is made once.
        for key in seen.keys:
            cloud.accepted(key=key)
        cloud.settle()
        assert all(process["restarts"] == 0 for process in cloud.cloud.processes())


class _Seen:
    """What users saw."""

    def __init__(self, cloud: World) -> None:
        self._cloud = cloud
        self.answers: Counter[int] = Counter()
        self.slowest = 0.0
        self.keys: list[str] = []

    def ask(self, method: str, path: str, body: Any = None) -> None:
        self._note(lambda: self._cloud.ask(method, path, body))

    def create(self) -> None:
        self.keys.append(str(uuid.uuid4()))
        self._note(lambda: self._cloud.create(key=self.keys[-1]))

    def _note(self, ask: Callable[[], Answer]) -> None:
        started = time.monotonic()
        status, _ = ask()
        self.answers[status] += 1
        self.slowest = max(self.slowest, time.monotonic() - started)


def _ask_until(cloud: World, server: str, end: float) -> _Seen:
    """Requests of every kind, one after another."""
    seen = _Seen(cloud)
    while time.monotonic() < end:
        seen.ask("GET", f"/v2.1/servers/{server}")
        seen.ask("GET", "/v2.1/servers/detail")
        seen.ask("GET", "/v2.1/flavors/detail")
        seen.ask("POST", f"/v2.1/servers/{server}/action", {"os-stop": None})
        seen.ask("POST", f"/v2.1/servers/{server}/metadata", {"metadata": {"a": "b"}})
        seen.ask("DELETE", f"/v2.1/servers/{server}")
        seen.ask("GET", "/v2.1/os-services")
        seen.ask("GET", "/placement/resource_providers")
        seen.create()
    return seen


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("postgresql", marks=pytest.mark.postgresql),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def test_connections_cut_at_any_moment_make_nothing_twice(kind: str) -> None:
    """Also in the middle of a commit, of which nobody then knows whether it happened."""
    with behind_a_proxy(kind) as (urls, proxy), world(urls) as cloud:
        site = cloud.site
        workload = Workload(site.admin, flavor=site.flavor, image=site.image, network=site.network, seed=1)
        done = threading.Event()
        cuts = threading.Thread(target=_cut_until, args=(done, proxy, workload), daemon=True)
        cuts.start()
        try:
            workload.run(40)
        finally:
            done.set()
            cuts.join()
        cloud.audit.settle(workload.ledger)


def _cut_until(done: threading.Event, proxy: Proxy, workload: Workload) -> None:
    """Not again before something got through: a slow machine is not to be cut at every moment it has."""
    dice = random.Random(1)
    answered = 0
    while not done.wait(dice.uniform(0.05, 0.5)):
        if workload.answered == answered:
            continue
        answered = workload.answered
        proxy.refuse()
        done.wait(dice.choice((0.0, 0.0, 0.3)))
        proxy.resume()
