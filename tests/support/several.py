"""Servers that are asked for by one request, and what is true of them together."""

from __future__ import annotations

import copy
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.support import server_model as model
from tests.support.region_site import Site, claimed, patiently, wait
from tests.support.server_model import ADMIN, Server

LEAST, MOST = 2, 3


class Several:
    """As many as there may be, for nothing stands against it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        # What each of them is to be.
        self._wanted = Server("several", "", ports={"any"}, hosts=model.HOSTS)
        self._ids: list[str] = []

    def create(self) -> None:
        """As a user who asks again when there was no answer; returns when nothing is under way."""
        site, key = self._site, {"Idempotency-Key": str(uuid.uuid4())}
        body = {
            "name": "several",
            "flavorRef": model.SMALL.name,
            "imageRef": site.image,
            "networks": [{"uuid": site.network}],
            "min_count": LEAST,
            "max_count": MOST,
            "return_reservation_id": True,
        }
        answer = patiently(lambda: site.user.call("POST", "/servers", {"server": body}, headers=key))
        assert answer.status_code == 202, answer.text
        self._ids = site.reserved(answer)
        for id_ in self._ids:
            wait(lambda id_=id_: site.show(id_)["status"] != "BUILD" and site.idle(id_), "a server")

    def expect(self, then: Callable[[Server], None]) -> None:
        then(self._wanted)

    def differences(self) -> list[str]:
        site = self._site
        if not all(map(site.idle, self._ids)):
            return ["something is under way"]
        servers = {id_: site.show(id_) for id_ in self._ids}
        facts: dict[str, tuple[Any, Any]] = {
            "number": (len(self._ids), MOST),
            "status": (
                [one["status"] for one in servers.values()],
                [self._wanted.status] * len(servers),
            ),
        }
        if any(one["status"] == "DELETED" for one in servers.values()):
            return ["one is gone"]
        wanted = {id_: self._at(shown["OS-EXT-SRV-ATTR:host"] or "") for id_, shown in servers.items()}
        counted = tuple(map(sum, zip(*(one.counted() for one in wanted.values()), strict=True)))
        facts |= {
            "task": ([one["OS-EXT-STS:task_state"] for one in servers.values()], [None] * len(servers)),
            "hosts": ({one.host in (self._wanted.hosts or {""}) for one in wanted.values()}, {True}),
            "claims": (
                site.claims(),
                Counter(claimed(flavor, host) for one in wanted.values() for host, flavor in one.held()),
            ),
            "quota": (site.used(), counted),
            "ports": (site.ports(), Counter({id_: 1 for id_, one in wanted.items() if one.ports})),
            "guests": (site.guests(), Counter((id_, one.host) for id_, one in wanted.items() if one.host)),
            "left on hosts": (site.whole.left_on_hosts(), Counter()),
        }
        return [f"{name}: {is_}, not {should}" for name, (is_, should) in facts.items() if is_ != should]

    def remove(self) -> None:
        """Nothing dies meanwhile."""
        for id_ in self._ids:
            answer = self._site.ask(id_, self._wanted, "force delete", ADMIN)
            assert answer.status_code == 202, answer.text
        for id_ in self._ids:
            wait(lambda id_=id_: self._site.show(id_)["status"] == "DELETED", "end of a server")

    def _at(self, host: str) -> Server:
        server = copy.deepcopy(self._wanted)
        server.host = host
        return server
