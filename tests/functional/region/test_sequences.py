"""Servers are taken through actions by chance, and after each the region is as the model says: the answer, the
server's states, host, flavor and devices, what is claimed in placement, and what the quota counts.

CHAOS_SEQUENCES says how many sequences; without it the few are the same ones each time.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from zlib import crc32

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from werkzeug.test import TestResponse

from tests.support import server_model as model
from tests.support.region_site import Site, claimed, wait
from tests.support.server_model import ADMIN, ALLOWED, MEMBER, Server
from tests.support.whole import Whole

pytestmark = pytest.mark.timeout(3600)

SEQUENCES = int(os.environ.get("CHAOS_SEQUENCES", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1 << 32)
FEW, MANY = 40, 500
REFUSALS = {model.FORBIDDEN: 403, model.MISSING: 404, model.LOCKED: 409, model.WRONG_STATE: 409}
NUMBERS, WHO, CHOICES = st.integers(0, 1), st.sampled_from([MEMBER, ADMIN]), st.integers(0, 1 << 60)
# What a refusal speaks of.
WORDS = {model.LOCKED: "locked", model.WRONG_STATE: "vm_state"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    options = {"reclaim_instance_interval": 86400, "shelved_offload_time": -1}
    whole = Whole(tmp_path_factory.mktemp("region"), **options)
    site = Site(whole)
    yield site
    site.close()
    whole.close()


class Sequences(RuleBasedStateMachine):
    """Two servers and all that may be asked for them."""

    site: Site
    # How often each action was met how, in all sequences.
    met: Counter[tuple[str, str]]

    def __init__(self) -> None:
        super().__init__()
        self.servers: dict[str, Server] = {}
        self.told: list[str] = []

    @initialize(together=st.booleans())
    def boot(self, together: bool) -> None:
        if together:
            self.told.append("created together")
            for name, id_ in zip(("server-1", "server-2"), self.site.boot_together("server", 2), strict=True):
                self.servers[id_] = Server(name, self.site.show(id_)["OS-EXT-SRV-ATTR:host"])
        else:
            for flavor in (model.SMALL, model.LARGE):
                id_ = self.site.boot("server", flavor)
                host = self.site.show(id_)["OS-EXT-SRV-ATTR:host"]
                self.servers[id_] = Server("server", host, flavor=flavor)
        self._compare_all()

    @rule(number=NUMBERS, choices=st.lists(CHOICES, min_size=2, max_size=4), who=WHO)
    def what_is_allowed(self, number: int, choices: list[int], who: str) -> None:
        server = list(self.servers.values())[number]
        for choice in choices:
            possible = [
                action
                for action in model.RULES
                if model.judged(server, action, who) == ALLOWED and model.sensible(server, action)
            ]
            if possible:
                # Some numbers are chosen more often than others: they are not to mean the same actions each time.
                index = crc32(f"{choice} {len(self.told)}".encode()) % len(possible)
                self._act(number, possible[index], who)

    @rule(number=NUMBERS, action=st.sampled_from(sorted(model.RULES)), who=WHO)
    def whatever(self, number: int, action: str, who: str) -> None:
        if model.sensible(list(self.servers.values())[number], action):
            self._act(number, action, who)

    def teardown(self) -> None:
        for number, server in enumerate(self.servers.values()):
            if server.status != "DELETED":
                self._act(number, "force delete", ADMIN)
        self._compare_all()
        for image in self.site.admin.beside("GET", "/image/v2/images?limit=1000")["images"]:
            if image["id"] != self.site.image:
                self.site.admin.beside("DELETE", f"/image/v2/images/{image['id']}")

    # ---- inside

    def _act(self, number: int, action: str, who: str) -> None:
        id_, server = list(self.servers.items())[number]
        verdict = model.judged(server, action, who)
        doomed = set(server.doomed)
        self.met[action, verdict] += 1
        self.told.append(f"{number} {action} as {who}: {verdict}")
        answer = self.site.ask(id_, server, action, who)
        if verdict == ALLOWED:
            assert answer.status_code == model.RULES[action].code, self._story(answer)
            model.accept(server, action, who)
            self._note_devices(server, action, answer)
        else:
            assert answer.status_code == REFUSALS[verdict], self._story(answer)
            assert WORDS.get(verdict, "") in answer.text, self._story(answer)
            if action == "swap volume":
                self.site.stay(min(server.volumes))
        if server.status == "DELETED":
            self.site.forget(doomed)
        wait(lambda: self.site.idle(id_), "end of what is under way")
        self._compare(id_, server)
        if verdict == ALLOWED:
            self._compare_totals()

    def _story(self, answer: TestResponse | None = None) -> str:
        """What has been done, and how the last request was answered."""
        return "\n".join([*self.told, *([f"{answer.status_code} {answer.text}"] if answer else [])])

    def _note_devices(self, server: Server, action: str, answer: TestResponse) -> None:
        if action == "attach interface":
            server.ports.add(answer.json["interfaceAttachment"]["port_id"])
        elif action == "detach interface":
            server.ports.remove(min(server.ports))
        elif action == "attach volume":
            server.volumes.add(self.site.chosen)
        elif action == "attach share":
            server.shares.add(self.site.share())
        elif action == "detach share":
            server.shares.clear()

    def _compare(self, id_: str, server: Server) -> None:
        shown = self.site.show(id_)
        if server.hosts:
            server.host = shown.get("OS-EXT-SRV-ATTR:host")
            assert server.host in server.hosts, self._story()
            server.hosts = set()
        assert _seen(shown) == _expected(server), self._story()

    def _compare_totals(self) -> None:
        claims = Counter(
            claimed(flavor, host) for server in self.servers.values() for host, flavor in server.held()
        )
        assert self.site.claims() == claims, self._story()
        counted = tuple(map(sum, zip(*(server.counted() for server in self.servers.values()), strict=True)))
        assert self.site.used() == counted, self._story()

    def _compare_all(self) -> None:
        for id_, server in self.servers.items():
            self._compare(id_, server)
        self._compare_totals()
        ports = Counter({id_: len(server.ports) for id_, server in self.servers.items() if server.ports})
        assert self.site.ports() == ports, self._story()
        assert self.site.all_volumes() == set(self.site.volumes), self._story()
        held = Counter((volume, id_) for id_, server in self.servers.items() for volume in server.volumes)
        assert self.site.attachments() == held, self._story()
        sharing = [server for server in self.servers.values() if server.shares]
        # They have one share, and their hosts one address.
        assert self.site.share_keepers() == (len(sharing), min(len(sharing), 1)), self._story()
        aside = Counter(("asides", one.before.host) for one in self.servers.values() if one.before)
        assert self.site.whole.left_on_hosts() == aside, self._story()


def _seen(shown: dict[str, Any]) -> dict[str, Any]:
    if shown["status"] == "DELETED":
        return {"status": "DELETED"}
    return {
        "status": shown["status"],
        "task": shown["OS-EXT-STS:task_state"],
        "power": shown["OS-EXT-STS:power_state"],
        "host": shown["OS-EXT-SRV-ATTR:host"] or "",
        "flavor": shown["flavor"]["original_name"],
        "locked": shown["locked"],
        "name": shown["name"],
        "metadata": shown["metadata"],
        "volumes": sorted(
            (one["id"], one["delete_on_termination"]) for one in shown["os-extended-volumes:volumes_attached"]
        ),
    }


def _expected(server: Server) -> dict[str, Any]:
    if server.status == "DELETED":
        return {"status": "DELETED"}
    return {
        "status": server.status,
        "task": None,
        "power": server.power,
        "host": server.host,
        "flavor": server.flavor.name,
        "locked": bool(server.lock),
        "name": server.name,
        "metadata": server.metadata,
        "volumes": sorted((volume, volume in server.doomed) for volume in server.volumes),
    }


def test_the_region_is_as_the_model_says(site: Site) -> None:
    machine = type("Sequences", (Sequences,), {"site": site, "met": Counter()})
    if SEQUENCES:
        print(f"{SEQUENCES} sequences from CHAOS_SEED={SEED}")
        seed(SEED)(machine)
    wanted = settings(
        max_examples=SEQUENCES or FEW,
        stateful_step_count=6 if SEQUENCES else 5,
        derandomize=not SEQUENCES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=wanted)
    if wanted.max_examples >= MANY:
        assert {action for action, verdict in machine.met if verdict == ALLOWED} == set(model.RULES)
        assert {verdict for _, verdict in machine.met} == {ALLOWED, *REFUSALS}
