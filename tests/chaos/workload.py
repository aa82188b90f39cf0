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


@dataclass
class Ledger:
    """What the cloud has promised: server ids with the status each must have, and those that must be gone."""

    status: dict[str, str] = field(default_factory=dict)
    with_port: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Workload:
    """Workers, each taking servers through create, stop, start and (two of three) delete."""

    def __init__(self, client: Client, *, flavor: str, image: str, network: str, seed: int) -> None:
        self._client = client
        self._flavor, self._image, self._network = flavor, image, network
        self._random = random.Random(seed)
        self.ledger = Ledger()
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
        self._action(server, "os-stop", "SHUTOFF")
        if number % 2:
            self._action(server, "os-start", "ACTIVE")
        if number % 3:
            # Now and then while something else is still being done to the server.
            if number % 5 == 1:
                self._send("POST", f"/v2.1/servers/{server}/action", {"os-start": None}, (202, 409))
            self._delete(server)

    def _create(self, number: int) -> str:
        with_port = number % 4 == 0
        body = {
            "server": {
                "name": f"life-{number}",
                "flavorRef": self._flavor,
                "imageRef": self._image,
                "networks": [{"uuid": self._network}] if with_port else "none",
            }
        }
        key = {"Idempotency-Key": str(uuid.uuid4())}
        server = self._send("POST", "/v2.1/servers", body, (202,), key)["server"]["id"]
        with self.ledger.lock:
            self.ledger.status[server] = "ACTIVE"
            if with_port:
                self.ledger.with_port.add(server)
        return server

    def _action(self, server: str, action: str, status: str) -> None:
        # A repeat of an action whose answer was lost finds the server busy with it, or done: 409 is fine then.
        self._send("POST", f"/v2.1/servers/{server}/action", {action: None}, (202, 409))
        with self.ledger.lock:
            self.ledger.status[server] = status
        self._until(server, status)

    def _delete(self, server: str) -> None:
        self._send("DELETE", f"/v2.1/servers/{server}", None, (204, 404))
        with self.ledger.lock:
            del self.ledger.status[server]
            self.ledger.with_port.discard(server)
            self.ledger.deleted.add(server)

    def _until(self, server: str, status: str) -> None:
        def reached() -> bool:
            now = self._send("GET", f"/v2.1/servers/{server}", None, (200,))["server"]
            if now["status"] == "ERROR":
                raise AssertionError(f"{server} is in ERROR: {now.get('fault')}")
            return now["status"] == status and now["OS-EXT-STS:task_state"] is None

        wait_for(reached, seconds=PATIENCE, every=0.1, what=f"{server} {status}")

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
