"""Each service dies at each point it passes while each kind of operation is done, and while each is taken back, and
everything is as it should be afterwards: the operation is done or taken back, nothing is stuck, and nothing is left
over anywhere.

What a point is: see tests.support.lives. CHAOS_POINTS=all goes through all of them; without it a few
stand for them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pytest

from tests.support import operations as kit
from tests.support.lives import Life
from tests.support.region_site import Site
from tests.support.subject_kinds import DELETE_RESIZED, FAILURES, KINDS, Failure
from tests.support.subjects import Subject
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
    "placement": ["create", "offload", "resize", "evacuate", "revert", "migrate live", "force delete"],
    "api": ["create several", "stop", "resize", "attach interface", "delete", "restore"],
    "conductor": [
        "create backup",
        "shelve",
        "resize",
        "evacuate",
        "swap volume",
        "attach share",
        DELETE_RESIZED,
    ],
    "scheduler": ["create in a group", "create several", "unshelve"],
    "compute": ["create", "rebuild", "resize", "revert", "evacuate", "swap volume", "detach share"],
}
# The same of what is taken back; there each kind has fewer points.
UNDONE = {
    "placement": ["resize"],
    "api": ["create what fits nowhere"],
    "conductor": ["resize", "evacuate"],
    "scheduler": ["create what fits nowhere"],
    "compute": ["shelve", "revert"],
}


def _groups(every: Iterable[str], chosen: Mapping[str, Sequence[str]], least: int) -> list[Any]:
    """Services with the kinds of operations they die in, and how often at least; where all are gone through, each
    kind by itself, for some pass by a service."""
    if not ALL:
        return [pytest.param(service, chosen[service], least, id=service) for service in SERVICES]
    return [
        pytest.param(service, [kind], 0, id=f"{service}-{kind.replace(' ', '_')}")
        for service in SERVICES
        for kind in every
    ]


class Region:
    """One for all tests, as long as they find it as it should be: what was left in it would fail the others."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        self._factory = factory
        self._site: Site | None = None
        self._sound = False

    @contextlib.contextmanager
    def entered(self) -> Iterator[Site]:
        if not self._sound:
            self.close()
            self._site = Site(Whole(self._factory.mktemp("region"), **OPTIONS))
        assert self._site is not None
        self._sound = False
        yield self._site
        self._sound = True

    def close(self) -> None:
        if self._site is not None:
            self._site.close()
            self._site.whole.close()


@pytest.fixture(scope="module")
def region(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    region = Region(tmp_path_factory)
    yield region
    region.close()


@pytest.mark.parametrize(("service", "kinds", "least"), _groups(KINDS, CHOSEN, 3))
def test_a_service_may_die_at_any_point(
    region: Region, service: str, kinds: Sequence[str], least: int
) -> None:
    with region.entered() as site:
        assert _deaths(site, service, kinds) >= least


@pytest.mark.parametrize(("service", "kinds", "least"), _groups(FAILURES, UNDONE, 1))
def test_a_service_may_die_while_something_is_taken_back(
    region: Region, service: str, kinds: Sequence[str], least: int
) -> None:
    with region.entered() as site:
        assert _deaths(site, service, kinds, FAILURES) >= least


def _deaths(
    site: Site, service: str, kinds: Sequence[str], failures: Mapping[str, Failure] = MappingProxyType({})
) -> int:
    subject = Subject(site)
    deaths = 0
    for number, kind in enumerate(kinds):
        points = itertools.count() if ALL else range(number % APART, APART * FEW, APART)
        for last in points:
            if not _dies(site, subject, service, kind, last, failures.get(kind)):
                break
            deaths += 1
    subject.end()
    print(f"{service} died at {deaths} points of: {', '.join(kinds)}{', taken back' if failures else ''}")
    return deaths


def _dies(site: Site, subject: Subject, service: str, kind: str, last: int, failure: Failure | None) -> bool:
    """Whether the operation, or its undoing, came as far as that point."""
    subject.prepare(kind)
    since = None
    if failure is not None and failure.rule is not None:
        site.whole.disturb(failure.rule(subject.server))
        since = site.whole.lives.failed
    life = site.whole.life[service]
    life.arm(last, since)
    ended = threading.Event()
    reaper = threading.Thread(target=_follow, args=(site, service, life, ended), daemon=True)
    reaper.start()
    try:
        subject.act(kind, failure)
        what = kind if failure is None else f"{kind}, taken back"
        subject.check(lambda: f"{what}, {service} died {_point(life, last)}")
        assert since is None or since.is_set(), f"{kind} did not fail"
    finally:
        # From now on it does not die; if it has, it lives again before anything else is asked of it.
        life.disarm()
        ended.set()
        reaper.join()
        if since is not None:
            site.whole.disturb()
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
