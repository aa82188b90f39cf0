"""A hundred servers' lives, lived through the REST API while processes die.

A user of a cloud repeats a request that got no answer; so does this one, with an `Idempotency-Key` where a
repeat would make something twice. What was accepted is written down, and is what must be true in the end.
"""

from __future__ import annotations

import http.client
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.client import Client, Refused, wait_for

PATIENCE = 90.0
VOLUMES = "/volume/v3"
LARGER_VCPUS = 2
# More room than is needed on three hosts: that no server lacks a host is the point of its life.
GROUPS: tuple[dict[str, Any], ...] = (
    {"policy": "anti-affinity", "rules": {"max_server_per_host": 20}},
    {"policy": "soft-affinity"},
)


@dataclass
class Ledger:
    """What the cloud has promised: server ids with the status each must have, and those that must be gone."""

    status: dict[str, str] = field(default_factory=dict)
    with_port: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    # Volumes that are attached: the server by the volume.
    attached: dict[str, str] = field(default_factory=dict)
    # Where servers have another than the first flavor, how many CPUs they count for.
    vcpus: dict[str, int] = field(default_factory=dict)
    # Living members by group.
    groups: dict[str, set[str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Workload:
    """Workers, each taking servers through create, devices that come and go, stop, start, moves between hosts and
    (two of three) delete."""

    def __init__(self, client: Client, *, flavor: str, image: str, network: str, seed: int) -> None:
        self._client = client
        self._flavor, self._image, self._network = flavor, image, network
        self._random = random.Random(seed)
        self.ledger = Ledger()
        self._groups = [self._group(**fields) for fields in GROUPS]
        larger = {"name": f"larger-{uuid.uuid4().hex[:8]}", "ram": 96, "vcpus": LARGER_VCPUS, "disk": 1}
        self._larger: str = client.call("POST", "/v2.1/flavors", {"flavor": larger})["flavor"]["id"]
        # Changes that were answered; reads do not count.
        self.answered = 0

    def run(self, servers: int, workers: int = 8) -> None:
        """Returns when every life has been lived; raises the first surprise."""
        numbers = iter(range(servers))
        lock = threading.Lock()
        failures: list[BaseException] = []

        def work() -> None:
            while not failures:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                try:
                    self._live(number)
                except BaseException as error:  # noqa: BLE001 - raised by the test's own thread
                    failures.append(error)

        threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def _live(self, number: int) -> None:
        server = self._create(number)
        self._until(server, "ACTIVE")
        self._plug(server, number)
        self._action(server, "os-stop", "SHUTOFF")
        if number % 2:
            self._action(server, "os-start", "ACTIVE")
        if number % 4 < 2:
            self._resize(server, number)
        elif number % 4 == 3:
            self._migrate_live(server)
        if number % 3:
            # Now and then while something else is still being done to the server.
            if number % 5 == 1:
                self._send("POST", f"/v2.1/servers/{server}/action", {"os-start": None}, (202, 409))
            self._delete(server)

    def _group(self, **fields: Any) -> str:
        body = {"server_group": {"name": "life", **fields}}
        headers = {"OpenStack-API-Version": "compute 2.64"}
        answer = _answer(self._client, "POST", "/v2.1/os-server-groups", body, (200,), headers)
        group: str = answer["server_group"]["id"]
        self.ledger.groups[group] = set()
        return group

    def _create(self, number: int) -> str:
        with_port = number % 4 == 0
        # Two of five are members of a group.
        group = dict(enumerate(self._groups)).get(number % 5, "")
        body: dict[str, Any] = {
            "server": {
                "name": f"life-{number}",
                "flavorRef": self._flavor,
                "imageRef": self._image,
                "networks": [{"uuid": self._network}] if with_port else "none",
            }
        }
        if group:
            body["os:scheduler_hints"] = {"group": group}
        key = {"Idempotency-Key": str(uuid.uuid4())}
        server = self._send("POST", "/v2.1/servers", body, (202,), key)["server"]["id"]
        with self.ledger.lock:
            self.ledger.status[server] = "ACTIVE"
            if with_port:
                self.ledger.with_port.add(server)
            if group:
                self.ledger.groups[group].add(server)
        return server

    def _plug(self, server: str, number: int) -> None:
        """One of three gets a volume, one of four (without a port so far) a port; half of them give it back."""
        if number % 3 == 1:
            volume = self._volume()
            self._attach(server, volume)
            if number % 2:
                self._detach(server, volume)
        if number % 4 == 2:
            port = self._port()
            self._plug_port(server, port)
            if number % 8 == 2:
                self._unplug_port(server, port)

    def _volume(self) -> str:
        path = f"{VOLUMES}/{self._client.project_id}/volumes"
        body = {"volume": {"size": 1, "name": "life"}}
        volume: str = self._send("POST", path, body, (202,))["volume"]["id"]
        self._until_volume(volume, "available")
        return volume

    def _attach(self, server: str, volume: str) -> None:
        """A repeat of what was answered nobody finds the volume attached, or on its way."""
        body = {"volumeAttachment": {"volumeId": volume}}
        path = f"/v2.1/servers/{server}/os-volume_attachments"
        with self.ledger.lock:
            self.ledger.attached[volume] = server
        self._send("POST", path, body, (200, 400))
        self._until_volume(volume, "in-use")

    def _detach(self, server: str, volume: str) -> None:
        path = f"/v2.1/servers/{server}/os-volume_attachments/{volume}"
        self._send("DELETE", path, None, (202, 400, 404))
        with self.ledger.lock:
            del self.ledger.attached[volume]
        self._until_volume(volume, "available")

    def _until_volume(self, volume: str, status: str) -> None:
        path = f"{VOLUMES}/{self._client.project_id}/volumes/{volume}"

        def reached() -> bool:
            found: str = self._send("GET", path, None, (200,))["volume"]["status"]
            return found == status

        wait_for(reached, seconds=PATIENCE, every=0.1, what=f"volume {volume} {status}")

    def _port(self) -> str:
        body = {"port": {"network_id": self._network}}
        port: str = self._send("POST", "/network/v2.0/ports", body, (201,))["port"]["id"]
        return port

    def _plug_port(self, server: str, port: str) -> None:
        body = {"interfaceAttachment": {"port_id": port}}
        with self.ledger.lock:
            self.ledger.with_port.add(server)
        self._send("POST", f"/v2.1/servers/{server}/os-interface", body, (200, 409))
        self._until_ports(server, 1)

    def _unplug_port(self, server: str, port: str) -> None:
        self._send("DELETE", f"/v2.1/servers/{server}/os-interface/{port}", None, (202, 404))
        with self.ledger.lock:
            self.ledger.with_port.discard(server)
        self._until_ports(server, 0)

    def _until_ports(self, server: str, count: int) -> None:
        def reached() -> bool:
            shown = self._send("GET", f"/v2.1/servers/{server}", None, (200,))["server"]["addresses"]
            return sum(map(len, shown.values())) == count

        wait_for(reached, seconds=PATIENCE, every=0.1, what=f"{server} with {count} ports")

    def _action(self, server: str, action: str, status: str) -> None:
        # A repeat of an action whose answer was lost finds the server busy with it, or done: 409 is fine then.
        self._send("POST", f"/v2.1/servers/{server}/action", {action: None}, (202, 409))
        with self.ledger.lock:
            self.ledger.status[server] = status
        self._until(server, status)

    def _resize(self, server: str, number: int) -> None:
        """Off or running, as it was. Where a kill made it fail the server is what it was before."""
        with self.ledger.lock:
            before = self.ledger.status[server]
        self._send("POST", _actions(server), {"resize": {"flavorRef": self._larger}}, (202, 409, 400))
        if self._until(server, "VERIFY_RESIZE", before) == before:
            return
        end, confirmed = ("confirmResize", True) if number % 8 < 4 else ("revertResize", False)
        self._end_resize(server, end, before)
        if confirmed:
            with self.ledger.lock:
                self.ledger.vcpus[server] = LARGER_VCPUS

    def _end_resize(self, server: str, end: str, before: str) -> None:
        """Asked for again while it has not happened: it is refused while a host cannot be heard."""

        def ended() -> bool:
            # Of a repeat there is nothing to confirm or to revert any more.
            self._send("POST", _actions(server), {end: None}, (202, 204, 400, 409))
            return self._until(server, "VERIFY_RESIZE", before) == before

        wait_for(ended, seconds=PATIENCE, every=0.5, what=f"{end} of {server}")

    def _migrate_live(self, server: str) -> None:
        """To wherever there is room; where a kill made it fail the server goes on where it was."""
        body = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
        version = {"OpenStack-API-Version": "compute 2.34"}
        self._send("POST", _actions(server), body, (202, 409), version)
        self._until(server, "ACTIVE")

    def _delete(self, server: str) -> None:
        self._send("DELETE", f"/v2.1/servers/{server}", None, (204, 404))
        with self.ledger.lock:
            del self.ledger.status[server]
            self.ledger.vcpus.pop(server, None)
            self.ledger.with_port.discard(server)
            for volume in [known for known, owner in self.ledger.attached.items() if owner == server]:
                del self.ledger.attached[volume]
            for members in self.ledger.groups.values():
                members.discard(server)
            self.ledger.deleted.add(server)

    def _until(self, server: str, *statuses: str) -> str:
        """The one of the statuses that the server has come to rest in."""

        def reached() -> str | None:
            now = self._send("GET", f"/v2.1/servers/{server}", None, (200,))["server"]
            if now["status"] == "ERROR":
                raise AssertionError(f"{server} is in ERROR: {now.get('fault')}")
            rests = now["status"] in statuses and now["OS-EXT-STS:task_state"] is None
            return now["status"] if rests else None

        found: str = wait_for(reached, seconds=PATIENCE, every=0.1, what=f"{server} {statuses}")
        return found

    def _send(
        self,
        method: str,
        path: str,
        body: Any,
        expect: tuple[int, ...],
        headers: dict[str, str] | None = None,
    ) -> Any:
        """Repeats what got no answer, or one that says that somebody is away just now."""
        answer = patiently(lambda: _answer(self._client, method, path, body, expect, headers), self._random)
        if method != "GET":
            with self.ledger.lock:
                self.answered += 1
        return answer


def _actions(server: str) -> str:
    return f"/v2.1/servers/{server}/action"


def patiently(ask: Callable[[], Any], dice: random.Random) -> Any:
    """Asks again while nobody answers, for as long as a user would."""
    deadline = time.monotonic() + PATIENCE
    pause = threading.Event()
    while True:
        try:
            return ask()
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
        except Refused as refused:
            if refused.status not in (500, 502, 503, 504) or time.monotonic() > deadline:
                raise
            if refused.status == 500:
                raise AssertionError(f"an internal error reached a user: {refused}") from refused
        pause.wait(0.05 + dice.random() * 0.2)


def _answer(
    client: Client,
    method: str,
    path: str,
    body: Any,
    expect: tuple[int, ...],
    headers: dict[str, str] | None,
) -> Any:
    import json

    status, _, data = client.exchange(method, path, body, headers)
    if status not in expect:
        raise Refused(f"{method} {path}: {status} {data[:500]!r}", status)
    return json.loads(data) if data else None
