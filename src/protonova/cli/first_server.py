"""The first server of a cloud: boots it, or finds it again, and follows it until it runs and speaks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from protonova.cli.rest import Refused, Rest
from protonova.cli.seed import Seeds

NAME = "first-server"
PAUSE = 0.1
# Said by the guest of `tools/make-image.sh` when it has come up.
LAST_WORDS = "tiny-init: finished"


class BootFailed(Exception):
    """The server did not become ACTIVE; the text says why."""


class FirstServer:
    """One server, by its name, in the member's project."""

    def __init__(self, member: Rest, seeds: Seeds) -> None:
        self.member = member
        self.seeds = seeds
        self.created = False

    def ensure(self) -> dict[str, Any]:
        """The server as it is now: found again and started if it was off, or created."""
        for entry in self.member.get("compute", "/servers/detail", name=f"^{NAME}$")["servers"]:
            server: dict[str, Any] = entry
            if server["status"] == "ERROR":
                self._delete(server["id"])
                continue
            if server["status"] == "SHUTOFF" and not server["OS-EXT-STS:task_state"]:
                self.member.post("compute", f"/servers/{server['id']}/action", {"os-start": None})
            return server
        self.created = True
        body = {
            "server": {
                "name": NAME,
                "flavorRef": self.seeds.flavor,
                "imageRef": self.seeds.image,
                "key_name": self.seeds.key,
                "networks": [{"uuid": self.seeds.network}],
            }
        }
        created: dict[str, Any] = self.member.post("compute", "/servers", body)["server"]
        return created

    def follow(self, server_id: str, seconds: float = 300) -> Iterator[dict[str, Any]]:
        """The server each time it is looked at, until it is ACTIVE; raises BootFailed."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while True:
            server = self.member.get("compute", f"/servers/{server_id}")["server"]
            yield server
            if server["status"] == "ACTIVE" and not server["OS-EXT-STS:task_state"]:
                return
            if server["status"] == "ERROR":
                raise BootFailed(server.get("fault", {}).get("message", "it is in ERROR"))
            if time.monotonic() > deadline:
                raise BootFailed(f"it is still {server['status']} after {seconds:.0f} s")
            pause.wait(PAUSE)

    def boot_messages(self, server_id: str, *, real: bool, seconds: float = 90) -> str:
        """The console log; of a real guest, once it has come up or has been given time to."""
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while True:
            text = self._console(server_id)
            if not real or LAST_WORDS in text or time.monotonic() > deadline:
                return text
            pause.wait(5 * PAUSE)

    def _console(self, server_id: str) -> str:
        try:
            path = f"/servers/{server_id}/action"
            answer = self.member.post("compute", path, {"os-getConsoleOutput": {"length": 200}})
        except Refused as refused:
            if refused.status in (404, 409):
                return ""
            raise
        return str(answer["output"])

    def _delete(self, server_id: str) -> None:
        self.member.call("DELETE", "compute", f"/servers/{server_id}")
        self._wait_until(lambda: self.member.request("GET", "compute", f"/servers/{server_id}")[0] == 404)

    def _wait_until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not done() and time.monotonic() < deadline:
            pause.wait(PAUSE)


def addresses(server: dict[str, Any]) -> str:
    return ", ".join(
        f"{network}={entry['addr']}" for network, entries in server["addresses"].items() for entry in entries
    )
