"""Builds of servers that are in a group: their places move with their claims."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.api.v1.server_group_pb2 import MemberPlace
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.services.runtime import errors
from tests.support.conductor import Conductor, Edges, new_build, new_server, node_id
from tests.support.server_groups import ServerGroups

SPAWN = "SpawnGuest"


@pytest.fixture
def groups(tmp_path: Path) -> Iterator[ServerGroups]:
    made = ServerGroups(f"sqlite:///{tmp_path}/groups.sqlite")
    yield made
    made.close()


@pytest.fixture
def edges(tmp_path: Path, groups: ServerGroups) -> Iterator[Edges]:
    made = Edges(tmp_path, groups)
    yield made
    made.close()


def refuse(edges: Edges, *hosts: str) -> None:
    for host in hosts:
        refusal = errors.FailedPrecondition("No room for the guest.", reason="HOST_REFUSES")
        edges.guests.fail(SPAWN, refusal, host=host)


def build(cell: Conductor, group: str, server_id: str, *hosts: str) -> Server:
    """What becomes of a member whose first host the scheduler has placed it on."""
    cell.create(new_build(*hosts, server=new_server(id=server_id, server_group_ids=[group])))
    over = (VmState.VM_STATE_ACTIVE, VmState.VM_STATE_ERROR)
    return cell.wait(server_id, lambda server: server.vm_state in over and not server.task_state)


def at(groups: ServerGroups, group: str, **hosts: str) -> None:
    places = [MemberPlace(server_id=key, host=host) for key, host in hosts.items()]
    groups.place(group, places=places)


def test_the_place_goes_with_the_server_to_an_alternate(cell: Conductor, edges: Edges, groups: ServerGroups):
    group, (a, b) = groups.make("ANTI_AFFINITY", 2)
    at(groups, group, **{a: "host1", b: "host2"})
    refuse(edges, "host1")
    # The first alternate is the other member's.
    server = build(cell, group, a, "host1", "host2", "host3")
    assert (server.vm_state, server.host) == (VmState.VM_STATE_ACTIVE, "host3")
    assert groups.places(group) == {a: "host3", b: "host2"}
    assert edges.allocations.providers(a) == [node_id("host3")]


def test_a_build_that_fails_gives_its_place_back(cell: Conductor, edges: Edges, groups: ServerGroups):
    group, (a, b) = groups.make("AFFINITY", 2)
    at(groups, group, **{a: "host1", b: "host1"})
    refuse(edges, "host1")
    server = build(cell, group, a, "host1", "host2", "host3")
    assert (server.vm_state, server.host) == (VmState.VM_STATE_ERROR, "")
    assert server.fault.message.startswith("No valid host was found.")
    assert "GROUP_POLICY_VIOLATED" in server.fault.details
    assert groups.places(group) == {b: "host1"}
    assert edges.allocations.providers(a) == []


def test_a_full_alternate_gives_its_place_back(cell: Conductor, edges: Edges, groups: ServerGroups):
    group, (a,) = groups.make("AFFINITY", 1)
    at(groups, group, **{a: "host1"})
    refuse(edges, "host1")
    edges.allocations.full.add(node_id("host2"))
    assert build(cell, group, a, "host1", "host2", "host3").host == "host3"
    assert groups.places(group) == {a: "host3"}


def test_a_group_that_is_gone_forbids_nothing(cell: Conductor, edges: Edges, groups: ServerGroups):
    group, (a, b) = groups.make("ANTI_AFFINITY", 2)
    at(groups, group, **{a: "host1", b: "host2"})
    groups.delete(group)
    refuse(edges, "host1")
    assert build(cell, group, a, "host1", "host2").host == "host2"
