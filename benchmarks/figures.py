"""The figures: what is measured, how, and what it is to be.

Each function takes a `Site` and returns lines; a target that begins with `<` is an upper bound, one with `>` a
lower one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from benchmarks.client import Client, wait_for
from benchmarks.cloud import HOSTS, Cloud, running
from benchmarks.load import Times, repeat, spread

# How often it is asked whether a server is there yet, in seconds. Sixteen callers that ask as often as a single one
# would ask for more than the boots themselves do.
_CLOSELY = 0.01
_AMONG_MANY = 0.1


@dataclass(frozen=True)
class Line:
    name: str
    value: float
    unit: str
    target: str = ""

    @property
    def met(self) -> bool | None:
        if not self.target:
            return None
        bound = float(self.target[1:])
        return self.value <= bound if self.target[0] == "<" else self.value >= bound


@dataclass
class Site:
    """A cloud with what servers need: a flavor, an image, a network."""

    cloud: Cloud
    admin: Client
    flavor: str = ""
    image: str = ""
    network: str = ""
    made: list[str] = field(default_factory=list)

    @classmethod
    def prepare(cls, cloud: Cloud) -> Site:
        admin = cloud.client()
        site = cls(cloud, admin)
        flavor = {"name": "bench", "ram": 64, "vcpus": 1, "disk": 1}
        site.flavor = admin.call("POST", "/v2.1/flavors", {"flavor": flavor})["flavor"]["id"]
        image = {"name": "bench", "disk_format": "raw", "container_format": "bare", "visibility": "public"}
        site.image = admin.call("POST", "/image/v2/images", image)["id"]
        path = f"/image/v2/images/{site.image}/file"
        status, _, _ = admin.exchange("PUT", path, b"\0" * 4096, {"Content-Type": "application/octet-stream"})
        assert status == 204, status
        body = {"network": {"name": "bench", "shared": True}}
        site.network = admin.call("POST", "/network/v2.0/networks", body)["network"]["id"]
        subnet = {"network_id": site.network, "ip_version": 4, "cidr": "10.64.0.0/16", "name": "bench"}
        admin.call("POST", "/network/v2.0/subnets", {"subnet": subnet})
        return site

    def create(self, *, port: bool = False, count: int = 1, name: str = "bench") -> Any:
        server: dict[str, Any] = {
            "name": name,
            "flavorRef": self.flavor,
            "imageRef": self.image,
            "networks": [{"uuid": self.network}] if port else "none",
        }
        if count > 1:
            server.update(min_count=count, max_count=count, return_reservation_id=True)
        return self.admin.call("POST", "/v2.1/servers", {"server": server})

    def boot(self, *, port: bool = False, every: float = _CLOSELY) -> str:
        server = self.create(port=port)["server"]["id"]
        self.made.append(server)
        self.wait(server, "ACTIVE", every=every)
        return server

    def show(self, server: str) -> Any:
        return self.admin.call("GET", f"/v2.1/servers/{server}")["server"]

    def wait(self, server: str, status: str, *, every: float = _CLOSELY) -> None:
        def reached() -> bool:
            now = self.show(server)
            if now["status"] == "ERROR":
                raise RuntimeError(f"{server}: {now.get('fault')}")
            return now["status"] == status and not now["OS-EXT-STS:task_state"]

        wait_for(reached, seconds=60, every=every, what=f"{server} {status}")

    def delete(self, server: str) -> None:
        self.admin.call("DELETE", f"/v2.1/servers/{server}")
        wait_for(lambda: self._gone(server), seconds=60, what=f"{server} gone")

    def _gone(self, server: str) -> bool:
        return self.admin.exchange("GET", f"/v2.1/servers/{server}")[0] == 404

    def reserve(self, count: int) -> list[str]:
        """Servers of one request, once they are all ACTIVE."""
        reservation = self.create(count=count)["reservation_id"]
        path = f"/v2.1/servers?reservation_id={reservation}&limit={count}"

        def all_active() -> list[str]:
            active = self.admin.call("GET", f"{path}&status=ACTIVE")["servers"]
            return [server["id"] for server in active] if len(active) == count else []

        found: list[str] = wait_for(all_active, seconds=120, what=f"{count} servers ACTIVE")
        self.made += found
        return found

    def clear(self) -> Times:
        """Deletes all that was made, sixteen at a time."""
        made, self.made = self.made, []
        return spread(lambda number: self.delete(made[number]), range(len(made)), workers=16)


def machine() -> Line:
    """How fast this machine is just now: one on which others work is not the same machine a minute later."""

    def count() -> None:
        number = 0
        while number < 1_000_000:
            number += 1

    return Line("this machine: a loop of a million", repeat(count, 9, warm_up=1).median_ms, "ms")


def idle(site: Site) -> list[Line]:
    """Single requests on a cloud that does nothing else."""
    boots = repeat(lambda: site.boot(), 20, warm_up=3)
    posts: list[float] = []

    def post() -> None:
        started = time.perf_counter()
        server = site.create()["server"]["id"]
        posts.append(time.perf_counter() - started)
        site.made.append(server)
        site.wait(server, "ACTIVE")

    repeat(post, 30, warm_up=3)
    server = site.boot()

    def act(action: str, status: str) -> None:
        site.admin.call("POST", f"/v2.1/servers/{server}/action", {action: None})
        site.wait(server, status)

    stops, starts = [], []
    for _ in range(15):
        for action, status, times in (("os-stop", "SHUTOFF", stops), ("os-start", "ACTIVE", starts)):
            began = time.perf_counter()
            act(action, status)
            times.append(time.perf_counter() - began)
    show = repeat(lambda: site.show(server), 300)
    busy = spread(lambda _: site.show(server), range(2000), workers=8)
    flavors = repeat(lambda: site.admin.call("GET", "/v2.1/flavors/detail"), 200)
    site.clear()
    return [
        Line("boot POST→ACTIVE p50", boots.median_ms, "ms", "<100"),
        Line("POST→202 p50", Times(posts, 1).median_ms, "ms", "<12"),
        Line("stop→SHUTOFF p50", Times(stops, 1).median_ms, "ms", "<40"),
        Line("start→ACTIVE p50", Times(starts, 1).median_ms, "ms", "<40"),
        Line("GET server p50", show.median_ms, "ms", "<3"),
        Line("GET server p99", show.percentile_ms(99), "ms", "<15"),
        Line("GET server rate, concurrency 8", busy.rate, "/s", ">500"),
        Line("GET flavors/detail p50", flavors.median_ms, "ms", "<2.5"),
    ]


def throughput(site: Site) -> list[Line]:
    """Boots and deletes at concurrency 16, and a hundred at once."""
    plain = spread(lambda _: site.boot(every=_AMONG_MANY), range(320), workers=16)
    plain_deletes = site.clear()
    ports = spread(lambda _: site.boot(port=True, every=_AMONG_MANY), range(160), workers=16)
    site.clear()
    began = time.perf_counter()
    site.reserve(100)
    hundred = time.perf_counter() - began
    site.clear()
    return [
        Line("boots, concurrency 16, no network", plain.rate, "/s", ">40"),
        Line("boots, concurrency 16, a port each", ports.rate, "/s", ">20"),
        Line("deletes, concurrency 16", plain_deletes.rate, "/s", ">40"),
        Line("one request for 100 servers, all ACTIVE", hundred, "s", "<2.5"),
    ]


def listing(site: Site) -> list[Line]:
    """A full page of servers."""
    while len(site.made) < 1000:
        site.reserve(100)
    detail = repeat(lambda: site.admin.fetch("/v2.1/servers/detail?limit=1000"), 20)
    names = repeat(lambda: site.admin.fetch("/v2.1/servers?limit=1000"), 20)
    return [
        Line("GET servers/detail of 1,000 p50", detail.median_ms, "ms", "<50"),
        Line("GET servers of 1,000 p50", names.median_ms, "ms"),
    ]


def density(site: Site) -> list[Line]:
    """Boots while the hosts fill: nothing on the way may cost more as a host does."""
    rates = {}
    for level in (10, 100, 500):
        while len(site.made) < level * HOSTS:
            site.reserve(100)
        kept = len(site.made)
        rates[level] = spread(lambda _: site.boot(every=_AMONG_MANY), range(160), workers=16).rate
        extra, site.made = site.made[kept:], site.made[:kept]
        spread(lambda number, ids=extra: site.delete(ids[number]), range(len(extra)), workers=16)
    spread_percent = (max(rates.values()) - min(rates.values())) / max(rates.values()) * 100
    lines = [Line(f"boots with {level} servers a host", rate, "/s") for level, rate in rates.items()]
    return [*lines, Line("difference between them", spread_percent, "%", "<20")]


def wide(database: str) -> list[Line]:
    """Boots in a cloud of its own with a hundred times as many hosts."""
    hosts = 100 * HOSTS
    with running(database, computes=hosts) as cloud:
        site = Site.prepare(cloud)
        spread(lambda _: site.boot(every=_AMONG_MANY), range(32), workers=16)
        boots = spread(lambda _: site.boot(every=_AMONG_MANY), range(320), workers=16)
    return [
        Line(f"boots among {hosts:,} hosts, concurrency 16", boots.rate, "/s", ">40"),
        Line(f"cold start to ready, {hosts:,} hosts", cloud.cold_start_seconds, "s"),
    ]


def footprint(site: Site) -> list[Line]:
    """Memory after everything else, and the start."""
    usage = site.cloud.pss_mib()
    lines = [Line(f"PSS of {name}", value, "MiB") for name, value in sorted(usage.items())]
    return [
        *lines,
        Line("PSS of the whole cloud", sum(usage.values()), "MiB", "<450"),
        Line("cold start to ready", site.cloud.cold_start_seconds, "s", "<5"),
    ]
