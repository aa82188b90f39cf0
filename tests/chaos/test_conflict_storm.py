"""Many ask at once for the last room there is, while what placement knows of the hosts keeps changing."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import Any

import pytest

from benchmarks.load import spread
from tests.chaos.world import World, eventually, world

pytestmark = [pytest.mark.postgresql, pytest.mark.timeout(180)]

HOSTS, ROOM = 3, 8
_VERSION = {"OpenStack-API-Version": "placement 1.39"}
_CONFIG = f"vcpus = {ROOM}\n[virt]\ncpu_allocation_ratio = 1\n"


def test_the_last_room_is_given_away_once() -> None:
    with world("postgresql", computes=HOSTS, replicas=2, config=_CONFIG) as cloud, _Meddler(cloud) as meddler:
        placed, refused = _storm(cloud, asked=HOSTS * ROOM * 2)
        _check(cloud, placed, refused, expected=HOSTS * ROOM)
        # And again for the room that some have left.
        left = sorted(placed)[: ROOM - 2]
        for server in left:
            cloud.site.delete(server)
            del cloud.ledger.status[server]
        fresh, refused = _storm(cloud, asked=2 * ROOM)
        _check(cloud, fresh, refused, expected=len(left))
        print(f"{meddler.changes} changes of inventories and traits, {meddler.lost} lost to others")
        assert meddler.changes > 20


def _storm(cloud: World, asked: int) -> tuple[set[str], set[str]]:
    """Who got a host, and who did not, of servers asked for sixteen at a time, every fifth with a sibling."""
    ids: list[str] = []

    def ask(number: int) -> None:
        count = 2 if number % 5 == 4 else 1
        body = {
            "name": f"storm-{number}",
            "flavorRef": cloud.site.flavor,
            "imageRef": cloud.site.image,
            "networks": "none",
            "min_count": 1,
            "max_count": count,
            "return_reservation_id": True,
        }
        made = cloud.admin.call("POST", "/v2.1/servers", {"server": body})["reservation_id"]
        path = f"/v2.1/servers/detail?reservation_id={made}"
        ids.extend(server["id"] for server in cloud.admin.call("GET", path)["servers"])

    spread(ask, range(asked), workers=16)

    def settled() -> dict[str, str] | None:
        states = {server: cloud.state(server) for server in ids}
        busy = [one for one in states.values() if one[1] or one[0] == "BUILD"]
        return None if busy else {server: status for server, (status, _) in states.items()}

    states: dict[str, str] = eventually(settled, "all builds to end", 60)
    placed = {server for server, status in states.items() if status == "ACTIVE"}
    return placed, states.keys() - placed


def _check(cloud: World, placed: set[str], refused: set[str], expected: int) -> None:
    assert len(placed) == expected
    for server in refused:
        fault = cloud.site.show(server)["fault"]
        assert fault["message"].startswith("No valid host was found"), fault
        cloud.site.delete(server)
    for server in placed:
        cloud.promise(server, "ACTIVE")
    cloud.settle()
    for provider in cloud.admin.call("GET", "/placement/resource_providers")["resource_providers"]:
        path = f"/placement/resource_providers/{provider['uuid']}/usages"
        assert cloud.admin.call("GET", path)["usages"]["VCPU"] == ROOM


class _Meddler:
    """Rewrites inventories and traits, so that the generations others rely on keep moving; the room stays."""

    def __init__(self, cloud: World) -> None:
        self._admin = cloud.admin
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.changes = 0
        self.lost = 0
        self._failure: BaseException | None = None

    def __enter__(self) -> _Meddler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _run(self) -> None:
        seen: Counter[str] = Counter()
        try:
            while not self._stop.wait(0.02):
                for provider in self._get("/resource_providers")["resource_providers"]:
                    seen[provider["uuid"]] += 1
                    self._meddle(f"/resource_providers/{provider['uuid']}", seen[provider["uuid"]])
        except BaseException as error:  # noqa: BLE001 - raised by the test's own thread
            self._failure = error

    def _meddle(self, path: str, turn: int) -> None:
        kind = "inventories" if turn % 2 else "traits"
        document = self._get(f"{path}/{kind}")
        if kind == "inventories":
            document["inventories"]["VCPU"]["max_unit"] = ROOM if turn % 4 == 1 else ROOM + 1
        else:
            traits = set(document["traits"]) ^ {"HW_CPU_X86_SSE42"}
            document["traits"] = sorted(traits)
        if self._put(f"{path}/{kind}", document):
            self.changes += 1
        else:
            self.lost += 1

    def _get(self, path: str) -> Any:
        status, _, data = self._admin.exchange("GET", f"/placement{path}", None, _VERSION)
        assert status == 200, (path, status, data)
        return json.loads(data)

    def _put(self, path: str, document: Any) -> bool:
        """False when somebody else was faster."""
        status, _, data = self._admin.exchange("PUT", f"/placement{path}", document, _VERSION)
        assert status in (200, 409), (path, status, data)
        return status == 200
