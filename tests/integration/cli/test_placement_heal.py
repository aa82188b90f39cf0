"""`protonova placement heal` on a running cloud of two cells, whose placement was led astray over its REST API."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from protonova.cli.cloud import Options
from protonova.cli.layout import StateDirectory
from protonova.cli.main import cli
from tests.chaos.world import World, eventually, world

pytestmark = pytest.mark.timeout(180)

SOME_LEFT, REFUSED, UNHEARD = 1, 2, 3
_FOR_EVER = 600


class Placement:
    """The Placement API of a cloud, and the operator's command beside it."""

    def __init__(self, cloud: World) -> None:
        self._admin = cloud.admin
        state = StateDirectory.at(cloud.cloud.state)
        files = Options.remembered(state).files(state)
        self._config = [word for file in files for word in ("--config-file", file)]

    def ask(self, method: str, path: str, body: Any = None, version: str = "1.39") -> Any:
        headers = {"OpenStack-API-Version": f"placement {version}"}
        status, _, data = self._admin.exchange(method, f"/placement{path}", body, headers)
        assert status < 300, (method, path, status, data)
        return json.loads(data) if data else None

    def provider(self, name: str) -> str:
        (found,) = self.ask("GET", f"/resource_providers?name={name}")["resource_providers"]
        return str(found["uuid"])

    def holds(self, provider: str, amounts: dict[str, int], type_: str = "INSTANCE") -> str:
        """Makes a consumer that no service knows of; one without a type as older clients do."""
        consumer = str(uuid.uuid4())
        body: dict[str, Any] = {
            "allocations": {provider: {"resources": amounts}},
            "project_id": "p",
            "user_id": "u",
        }
        if type_:
            body |= {"consumer_type": type_, "consumer_generation": None}
        self.ask("PUT", f"/allocations/{consumer}", body, "1.39" if type_ else "1.12")
        return consumer

    def held(self, consumer: str) -> dict[str, dict[str, int]]:
        found = self.ask("GET", f"/allocations/{consumer}")["allocations"]
        return {provider: held["resources"] for provider, held in found.items()}

    def take(self, consumer: str) -> dict[str, dict[str, int]]:
        """Removes what it holds; answers what that was."""
        held = self.held(consumer)
        self.ask("DELETE", f"/allocations/{consumer}")
        return held

    def run(self, *words: str) -> tuple[int, str]:
        """Exit status and output."""
        answer = CliRunner().invoke(
            cli, ["placement", "heal", "--json", *self._config, *words], catch_exceptions=False
        )
        return answer.exit_code, answer.output

    def heal(self, *words: str, expect: int = 0) -> dict[str, str]:
        """Outcomes, by the consumers they are about."""
        status, output = self.run(*words)
        assert status == expect, output
        document = json.JSONDecoder().raw_decode(output[output.index("{") :])[0]
        assert bool(document["unheard"]) is (expect == UNHEARD)
        return {entry["text"].split()[1]: entry["outcome"] for entry in document["entries"]}


@pytest.fixture(scope="module")
def cloud() -> Iterator[World]:
    with world(computes=4, cells=2) as made:
        yield made


@pytest.fixture
def placement(cloud: World) -> Iterator[Placement]:
    yield Placement(cloud)
    cloud.calm()
    cloud.delete_all()


@pytest.fixture
def servers(cloud: World, placement: Placement) -> dict[str, str]:
    """A server in each cell, by its name."""
    found: dict[str, str] = {}
    for server in [cloud.accepted() for _ in range(4)]:
        cloud.wait(server, "ACTIVE")
        host = str(cloud.site.show(server)["OS-EXT-SRV-ATTR:host"])
        found.setdefault("cell1" if host in ("compute-1", "compute-3") else "cell2", server)
    assert found.keys() == {"cell1", "cell2"}
    return found


def test_what_is_left_over_and_what_is_lacking(
    cloud: World, placement: Placement, servers: dict[str, str]
) -> None:
    first, second = placement.provider("compute-1"), placement.provider("compute-2")
    amounts = {"VCPU": 1, "MEMORY_MB": 64}
    one, other = placement.holds(first, amounts), placement.holds(second, amounts)
    # Whoever else holds something: another type, one that does not say, one that is on no host of ours.
    elsewhere = str(placement.ask("POST", "/resource_providers", {"name": "elsewhere"})["uuid"])
    inventory = {"inventories": {"VCPU": {"total": 8}}, "resource_provider_generation": 0}
    placement.ask("PUT", f"/resource_providers/{elsewhere}/inventories", inventory)
    others = [
        placement.holds(first, amounts, "MIGRATION"),
        placement.holds(first, amounts, ""),
        placement.holds(elsewhere, {"VCPU": 1}),
    ]
    cloud.disturb({"call": "spawn", "stage": "define", "delay": _FOR_EVER})
    building = cloud.accepted()
    eventually(lambda: building in cloud.guests(), "a half made guest")
    claimed = placement.held(building)
    assert claimed

    here, there = servers["cell1"], servers["cell2"]
    held = placement.take(here)

    assert placement.heal("--dry-run", "--grace", "0", expect=SOME_LEFT) == {
        one: "left", other: "left", here: "left",
    }  # fmt: skip
    assert placement.held(here) == {}
    # They are too young to be called left over.
    assert placement.heal() == {here: "mended"}
    assert placement.held(here) == held

    placement.take(here)
    assert placement.heal("--grace", "0", "--cell", "cell2") == {other: "mended"}
    assert placement.held(other) == {}
    status, output = placement.run("--grace", "0", "--cell", "cell9")
    assert (status, "no cell cell9" in output) == (REFUSED, True)
    found = placement.heal("--grace", "0", "--max-count", "1", expect=SOME_LEFT)
    assert found.keys() == {one, here}
    assert sorted(found.values()) == ["left", "mended"]
    assert len(placement.heal("--grace", "0")) == 1
    assert placement.heal("--grace", "0") == {}
    assert placement.held(one) == {}
    assert placement.held(here) == held
    assert placement.held(there)
    assert placement.held(building) == claimed
    assert all(placement.held(consumer) for consumer in others)

    for consumer in others:
        placement.take(consumer)
    placement.ask("DELETE", f"/resource_providers/{elsewhere}")
    cloud.calm()
    pid = cloud.cloud.kill("compute-1")
    cloud.cloud.wait_restarted("compute-1", pid)
    pid = cloud.cloud.kill("compute-2")
    cloud.cloud.wait_restarted("compute-2", pid)
    cloud.wait(building, "ACTIVE")
    cloud.settle()


def test_what_a_silent_cell_may_know_of_is_left_alone(
    cloud: World, placement: Placement, servers: dict[str, str]
) -> None:
    here, there = servers["cell1"], servers["cell2"]
    left_over = placement.holds(placement.provider("compute-1"), {"VCPU": 1})
    held = placement.take(here), placement.take(there)
    cloud.cloud.halt("conductor-2")
    try:
        assert placement.heal("--grace", "0", expect=UNHEARD) == {here: "mended"}
        assert placement.held(left_over)
        assert placement.held(there) == {}
    finally:
        cloud.cloud.resume("conductor-2")
    # The scheduler places nothing in the cell until it has heard of it again.
    eventually(lambda: placement.run("--grace", "0")[0] == 0, "both cells to be healed")
    assert placement.held(left_over) == {}
    assert (placement.held(here), placement.held(there)) == held
    cloud.settle()


def test_what_cannot_be_mended_is_told_and_left(
    cloud: World, placement: Placement, servers: dict[str, str]
) -> None:
    """A host without room for the server it has, and a server that holds something elsewhere."""
    full, astray = servers["cell1"], servers["cell2"]
    ((host, amounts),) = placement.take(full).items()
    total = placement.ask("GET", f"/resource_providers/{host}/inventories")["inventories"]["MEMORY_MB"]
    used = placement.ask("GET", f"/resource_providers/{host}/usages")["usages"]["MEMORY_MB"]
    taker = placement.holds(host, {"MEMORY_MB": total["total"] - total["reserved"] - used}, "MIGRATION")
    before = placement.take(astray)
    about = placement.ask("GET", f"/resource_providers?name={cloud.site.show(full)['OS-EXT-SRV-ATTR:host']}")
    assert about["resource_providers"][0]["uuid"] == host
    (elsewhere,) = {placement.provider("compute-2"), placement.provider("compute-4")} - before.keys()
    body = {
        "allocations": {elsewhere: {"resources": {"VCPU": 1}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_type": "INSTANCE",
        "consumer_generation": None,
    }
    placement.ask("PUT", f"/allocations/{astray}", body)

    assert placement.heal("--grace", "0", expect=REFUSED) == {full: "refused", astray: "refused"}
    assert placement.held(full) == {}
    assert placement.held(astray) == {elsewhere: {"VCPU": 1}}

    placement.take(taker)
    placement.take(astray)
    assert placement.heal() == {full: "mended", astray: "mended"}
    assert placement.held(full) == {host: amounts}
    assert placement.held(astray) == before
    cloud.settle()
