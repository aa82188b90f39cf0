"""A process dies in the middle of a build, at a moment the test has chosen: the build goes on without it."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest

from tests.chaos.world import World, eventually, world

pytestmark = pytest.mark.timeout(120)

_FOR_EVER = 600


@pytest.fixture(scope="module")
def cloud() -> Iterator[World]:
    # A stopping agent waits so long for a guest that is being made.
    with world(config="[DEFAULT]\ngraceful_shutdown_timeout = 2\n") as made:
        yield made


@pytest.fixture(autouse=True)
def _clean(cloud: World) -> Iterator[None]:
    yield
    cloud.calm()
    cloud.delete_all()


def test_an_agent_that_dies_in_mid_spawn_costs_nothing(cloud: World) -> None:
    cloud.disturb({"call": "spawn", "stage": "define", "delay": _FOR_EVER})
    server = cloud.accepted(port=True)
    eventually(lambda: server in cloud.guests(), "a half made guest")
    assert cloud.state(server) == ("BUILD", "spawning")

    cloud.calm()
    pid = cloud.cloud.kill("compute")
    cloud.wait(server, "ACTIVE")
    assert cloud.cloud.process("compute")["pid"] != pid
    assert cloud.guests() == {server}
    cloud.settle()


def test_a_conductor_that_dies_in_mid_build_is_replaced(cloud: World) -> None:
    cloud.disturb({"call": "spawn", "stage": "define", "delay": _FOR_EVER})
    server = cloud.accepted(port=True)
    eventually(lambda: server in cloud.guests(), "a half made guest")
    before = cloud.wait_step("conductor", "spawning")

    cloud.cloud.kill("conductor")
    cloud.calm()
    cloud.wait(server, "ACTIVE")
    after = next(one for one in cloud.operations("conductor") if one.id == before.id)
    assert after.generation > before.generation
    assert cloud.guests() == {server}
    cloud.settle()


@pytest.mark.parametrize(("step", "held"), [("schedule", "scheduler"), ("hand_over", "conductor")])
def test_an_api_that_dies_between_accepting_and_handing_over_forgets_nothing(
    cloud: World, step: str, held: str
) -> None:
    cloud.cloud.kill(held, signal.SIGSTOP)
    try:
        key = str(uuid.uuid4())
        server = cloud.accepted(key=key)
        cloud.wait_step("api", step)
        cloud.cloud.kill("api")
        # Whoever never heard the answer asks again: of the same server, built or not.
        assert cloud.accepted(key=key) == server
    finally:
        cloud.cloud.kill(held, signal.SIGCONT)
    cloud.wait(server, "ACTIVE")
    assert cloud.accepted(key=key) == server
    cloud.settle()


def test_a_server_deleted_while_its_agent_is_dead_is_gone_when_it_returns(cloud: World) -> None:
    cloud.disturb({"call": "spawn", "stage": "define", "delay": _FOR_EVER})
    server = cloud.accepted(port=True)
    eventually(lambda: server in cloud.guests(), "a half made guest")

    cloud.cloud.halt("compute")
    assert cloud.ask("DELETE", f"/v2.1/servers/{server}")[0] == 204
    cloud.wait_step("conductor", "guest")
    cloud.calm()
    cloud.cloud.resume("compute")
    cloud.ledger.status.pop(server)
    cloud.ledger.with_port.clear()
    cloud.settle()
    assert cloud.ask("GET", f"/v2.1/servers/{server}")[0] == 404


def test_an_api_that_dies_between_a_change_of_an_aggregate_and_its_mirror(cloud: World) -> None:
    """Placement is held, so that the mirror is under way for certain when the process dies."""

    def ask(method: str, path: str, body: object = None) -> dict:
        status, answer = cloud.ask(
            method, f"/v2.1/os-aggregates{path}", body, {"X-OpenStack-Nova-API-Version": "2.41"}
        )
        assert status == 200, answer
        return answer["aggregate"] if answer else {}

    (node, *_) = cloud.ask(
        "GET", "/v2.1/os-hypervisors/detail", None, {"X-OpenStack-Nova-API-Version": "2.53"}
    )[1]["hypervisors"]
    host = node["service"]["host"]
    made = ask("POST", "", {"aggregate": {"name": "breakable", "availability_zone": "breakable"}})

    def mirrored() -> bool:
        path = f"/placement/resource_providers/{node['id']}/aggregates"
        _, answer = cloud.ask("GET", path, None, {"OpenStack-API-Version": "placement 1.19"})
        return made["uuid"] in answer["aggregates"]

    for action, member in (("add_host", True), ("remove_host", False)):
        cloud.cloud.kill("placement", signal.SIGSTOP)
        try:
            ask("POST", f"/{made['id']}/action", {action: {"host": host}})
            before = cloud.wait_step("api", "mirror")
            cloud.cloud.kill("api")
        finally:
            cloud.cloud.kill("placement", signal.SIGCONT)
        eventually(lambda member=member: mirrored() is member, f"the mirror of {action}")
        (after,) = [one for one in cloud.operations("api") if one.id == before.id]
        assert after.generation > before.generation
    ask("DELETE", f"/{made['id']}")
