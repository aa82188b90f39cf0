"""Each service dies at each point it passes while each kind of operation is done, and everything is as it should be
afterwards: the operation is done or taken back, nothing is stuck, and nothing is left over anywhere.

What a point is: see tests.support.lives. CHAOS_POINTS=all goes through all of them; without it a few
stand for them.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator

import pytest

from tests.support import operations as kit
from tests.support.lives import Life
from tests.support.region_site import Site
from tests.support.subjects import DELETE_RESIZED, KINDS, Subject
from tests.support.whole import SERVICES, Whole

pytestmark = [
    pytest.mark.timeout(3600),
    # Threads end with their life.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]

ALL = os.environ.get("CHAOS_POINTS", "") == "all"
OPTIONS = {
    "operations": {"lease_seconds": kit.LEASE_SECONDS, "poll_seconds": 0.05},
    "reclaim_instance_interval": 86400,
    "shelved_offload_time": -1,
    "api__lost_move_seconds": 3.0,
}
# Where not all are gone through: the kinds for each service, and of each so many points, so far apart.
FEW, APART = 2, 5
CHOSEN = {
    "placement": ["create", "offload", "resize", "confirm", "revert", "migrate live", "force delete"],
    "api": ["create in a group", "stop", "resize", "confirm", "attach interface", "delete", "restore"],
    "conductor": [
        "create",
        "shelve",
        "resize",
        "attach volume",
        "attach share",
        "force delete",
        DELETE_RESIZED,
    ],
    "scheduler": ["create in a group", "resize", "unshelve", "migrate live"],
    "compute": [
        "create",
        "rebuild",
        "shelve",
        "resize",
        "revert",
        "migrate live",
        "attach volume",
        "detach share",
    ],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    whole = Whole(tmp_path_factory.mktemp("region"), **OPTIONS)
    site = Site(whole)
    yield site
    site.close()
    whole.close()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_may_die_at_any_point(site: Site, service: str) -> None:
    subject = Subject(site)
    deaths = 0
    for number, kind in enumerate(KINDS if ALL else CHOSEN[service]):
        points = itertools.count() if ALL else range(number % APART, APART * FEW, APART)
        for last in points:
            if not _dies(site, subject, service, kind, last):
                break
            deaths += 1
    subject.end()
    assert deaths >= 3


def _dies(site: Site, subject: Subject, service: str, kind: str, last: int) -> bool:
    """Whether the operation came as far as that point."""
    subject.prepare(kind)
    life = site.whole.life[service]
    life.arm(last)
    ended = threading.Event()
    reaper = threading.Thread(target=_follow, args=(site, service, life, ended), daemon=True)
    reaper.start()
    try:
        subject.act(kind)
        subject.check(lambda: f"{kind}, {service} died {_point(life, last)}")
    finally:
        ended.set()
        reaper.join()
        life.disarm()
    if life.died.is_set():
        kit.count_a_death(service)
    return life.died.is_set()


def _point(life: Life, number: int) -> str:
    return f"{life.points[number]} (point {number})" if life.died.is_set() else "nowhere"


def _follow(site: Site, service: str, life: Life, ended: threading.Event) -> None:
    """Another life begins as soon as this one is over."""
    while not life.died.wait(0.002):
        if ended.is_set() and not life.died.is_set():
            return
    site.whole.start_again(service)
