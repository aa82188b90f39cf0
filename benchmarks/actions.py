"""Round trips of what can be done to a server: from the request to the state it was made for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.client import wait_for
from benchmarks.cloud import running
from benchmarks.figures import Line, Site
from benchmarks.load import Times, spread

_ROUNDS = 15
_LOST_HOST = "compute-1"
_ON_LOST_HOST = 100


def figures(site: Site) -> list[Line]:
    """One after another, on one server of a cloud that does nothing else."""
    larger = {"name": "bench-larger", "ram": 128, "vcpus": 2, "disk": 1}
    flavor = site.admin.call("POST", "/v2.1/flavors", {"flavor": larger})["flavor"]["id"]
    server = site.boot()
    trip = _Trips(site, server)
    for _ in range(_ROUNDS):
        trip.take("stop→SHUTOFF", lambda: trip.act("os-stop"), "SHUTOFF")
        trip.take("start→ACTIVE", lambda: trip.act("os-start"), "ACTIVE")
        trip.take("pause→PAUSED", lambda: trip.act("pause"), "PAUSED")
        trip.take("unpause→ACTIVE", lambda: trip.act("unpause"), "ACTIVE")
        trip.take("rebuild→ACTIVE", lambda: trip.act("rebuild", {"imageRef": site.image}), "ACTIVE")
        trip.take("resize→VERIFY_RESIZE", lambda: trip.act("resize", {"flavorRef": flavor}), "VERIFY_RESIZE")
        trip.take("revertResize→ACTIVE", lambda: trip.act("revertResize"), "ACTIVE")
        trip.take("live migration→ACTIVE elsewhere", trip.migrate, "ACTIVE")
        trip.take("shelve+unshelve→ACTIVE", trip.shelve_and_unshelve, "ACTIVE")
    site.clear()
    targets = {
        "stop→SHUTOFF": "<40",
        "start→ACTIVE": "<40",
        "pause→PAUSED": "<40",
        "rebuild→ACTIVE": "<150",
        "resize→VERIFY_RESIZE": "<300",
        "live migration→ACTIVE elsewhere": "<300",
        "shelve+unshelve→ACTIVE": "<600",
    }
    return [
        Line(f"{name} p50", Times(samples, 1).median_ms, "ms", targets.get(name, ""))
        for name, samples in trip.samples.items()
    ]


class _Trips:
    def __init__(self, site: Site, server: str) -> None:
        self._site = site
        self._server = server
        self.samples: dict[str, list[float]] = {}

    def take(self, name: str, ask: Callable[[], object], status: str) -> None:
        began = time.perf_counter()
        ask()
        self._site.wait(self._server, status)
        self.samples.setdefault(name, []).append(time.perf_counter() - began)

    def act(self, action: str, body: Any = None) -> None:
        self._site.admin.call("POST", f"/v2.1/servers/{self._server}/action", {action: body})

    def migrate(self) -> None:
        before = self._host()
        self.act("os-migrateLive", {"host": None, "block_migration": "auto"})
        wait_for(lambda: self._host() != before, seconds=60, every=0.01, what="another host")

    def shelve_and_unshelve(self) -> None:
        self.act("shelve")
        self._site.wait(self._server, "SHELVED_OFFLOADED")
        self.act("unshelve")

    def _host(self) -> str:
        host: str = self._site.show(self._server)["OS-EXT-SRV-ATTR:host"]
        return host


def evacuation(database: str) -> list[Line]:
    """A host of a cloud of its own is lost with all that lives there, which then lives elsewhere."""
    with running(database) as cloud:
        site = Site.prepare(cloud)
        server = {
            "name": "bench",
            "flavorRef": site.flavor,
            "imageRef": site.image,
            "networks": "none",
            "host": _LOST_HOST,
        }
        lost = [
            site.admin.call("POST", "/v2.1/servers", {"server": server})["server"]["id"]
            for _ in range(_ON_LOST_HOST)
        ]
        for each in lost:
            site.wait(each, "ACTIVE")
        services = site.admin.call("GET", f"/v2.1/os-services?host={_LOST_HOST}")["services"]
        for service in services:
            site.admin.call("PUT", f"/v2.1/os-services/{service['id']}", {"forced_down": True})

        def evacuate(number: int) -> None:
            site.admin.call("POST", f"/v2.1/servers/{lost[number]}/action", {"evacuate": {}})

        def all_elsewhere() -> bool:
            shown = site.admin.call("GET", "/v2.1/servers/detail?limit=1000&status=ACTIVE")["servers"]
            return len(shown) == _ON_LOST_HOST and all(
                each["OS-EXT-SRV-ATTR:host"] != _LOST_HOST and not each["OS-EXT-STS:task_state"]
                for each in shown
            )

        began = time.perf_counter()
        spread(evacuate, range(_ON_LOST_HOST), workers=16)
        wait_for(all_elsewhere, seconds=120, every=0.1, what="all servers to be elsewhere")
        seconds = time.perf_counter() - began
    return [Line(f"evacuation of a host with {_ON_LOST_HOST} servers", seconds, "s", "<15")]
