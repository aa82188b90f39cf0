"""Destinations of servers that are on a host: both places are held, and policies hold however the move ends."""

from __future__ import annotations

import uuid

import pytest

from protonova.api.v1 import server_group_pb2 as pb
from protonova.scheduler.v1.scheduler_pb2 import Move
from protonova.services.runtime import errors
from tests.functional.scheduler.region import SIZES, Region


def hosts(region: Region, *names: str) -> None:
    for name in names:
        region.host(name, SIZES)


def settle(region: Region, group: str, **places: str) -> None:
    """Members as they are on their hosts, with what they hold there."""
    for server, host in places.items():
        region.select(servers=[server], host=host, server_group_ids=[group])


def move(region: Region, server: str, source: str, group: str = "", migration: str = "", **fields):
    """Where a server would go; empty when nowhere."""
    (one,) = region.select(
        servers=[migration or str(uuid.uuid4())],
        move=Move(server_id=server, source_host=source),
        server_group_ids=[group] if group else [],
        **{"ignore_hosts": [source], **fields},
    )
    return one.destination.host


def places(region: Region, group: str) -> set[tuple[str, str]]:
    request = pb.GetServerGroupPlacesRequest(id=group)
    found = region.groups.service.GetServerGroupPlaces(request, None).places
    return {(place.server_id, place.host) for place in found}


def test_a_move_holds_both_hosts_and_a_repeat_replaces_the_destination_alone(region: Region):
    hosts(region, "h1", "h2")
    server, migration = str(uuid.uuid4()), str(uuid.uuid4())
    region.select(servers=[server], host="h1")
    held = region.placement.held(server)
    for _ in range(2):
        assert move(region, server, "h1", migration=migration) == "h2"
        assert region.placement.held(server) == held
        assert list(region.placement.held(migration)) != list(held)


def test_a_refused_move_costs_the_server_nothing(region: Region):
    hosts(region, "h1")
    group, (a,) = region.groups.make("ANTI_AFFINITY", 1)
    settle(region, group, **{a: "h1"})
    held = region.placement.held(a)
    migration = str(uuid.uuid4())
    assert move(region, a, "h1", group, migration) == ""
    assert region.placement.held(a) == held
    assert not region.placement.held(migration)
    assert places(region, group) == {(a, "h1")}


def test_apart_from_where_others_are_and_from_where_they_may_come_back_to(region: Region):
    hosts(region, "h1", "h2", "h3")
    group, (a, b) = region.groups.make("ANTI_AFFINITY", 2)
    settle(region, group, **{a: "h1", b: "h2"})
    assert move(region, a, "h1", group) == "h3"
    assert places(region, group) == {(a, "h1"), (a, "h3"), (b, "h2")}
    # The host it has left is not free before the move is over.
    assert move(region, b, "h2", group) == ""


def test_one_of_several_together_goes_nowhere_alone(region: Region):
    hosts(region, "h1", "h2")
    group, (a, b) = region.groups.make("AFFINITY", 2)
    settle(region, group, **{a: "h1"})
    assert move(region, a, "h1", group) == "h2"
    region.groups.place(group, places=[pb.MemberPlace(server_id=a, host="h1")])
    settle(region, group, **{b: "h1"})
    assert move(region, a, "h1", group) == ""
    assert places(region, group) == {(a, "h1"), (b, "h1")}


def test_the_own_host_counts_for_nobody_else(region: Region):
    hosts(region, "h1")
    group, (a,) = region.groups.make("ANTI_AFFINITY", 1)
    settle(region, group, **{a: "h1"})
    assert move(region, a, "h1", group, ignore_hosts=[]) == "h1"
    assert places(region, group) == {(a, "h1")}


def test_servers_are_moved_one_by_one(region: Region):
    with pytest.raises(errors.InvalidArgument) as refused:
        region.select(2, move=Move(server_id=str(uuid.uuid4()), source_host="h1"))
    assert refused.value.facts == {"field": "server_ids"}
