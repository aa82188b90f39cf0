"""Members of server groups over the wire: where they go, what is kept of it, and what a repeat does."""

from __future__ import annotations

import threading

import pytest

from protonova.api.v1 import server_group_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.scheduler.region import SIZES, Region

TWO = {**SIZES, "VCPU": 2}


def hosts(region: Region, *names: str, sizes=SIZES) -> None:
    for name in names:
        region.host(name, sizes)


def ask(region: Region, group: str, servers: list[str], **fields) -> dict[str, str]:
    """Hosts by server, where there is one; the places must say the same."""
    selections = region.select(servers=servers, server_group_ids=[group], **fields)
    found = {one.server_id: one.destination.host for one in selections if one.HasField("destination")}
    for one in selections:
        assert bool(region.placement.held(one.server_id)) is one.HasField("destination")
        assert one.failure.startswith("No valid host was found.") is not one.HasField("destination")
    places = region.groups.places(group)
    assert {key: host for key, host in places.items() if key in servers} == found
    return found


def test_apart_in_one_request_and_over_several(region: Region):
    hosts(region, "h1", "h2", "h3", "h4")
    group, (a, b, c, d, e) = region.groups.make("ANTI_AFFINITY", 5)
    assert len(set(ask(region, group, [a, b, c]).values())) == 3
    found = ask(region, group, [d, e])
    assert len(found) == 1
    assert sorted(region.groups.places(group).values()) == ["h1", "h2", "h3", "h4"]


def test_at_most_so_many_a_host(region: Region):
    hosts(region, "h1", "h2")
    group, ids = region.groups.make("ANTI_AFFINITY", 5, max_server_per_host=2)
    assert len(ask(region, group, ids[:3])) == 3
    assert len(ask(region, group, ids[3:])) == 1
    assert sorted(region.groups.places(group).values()) == ["h1", "h1", "h2", "h2"]


def test_together_as_long_as_there_is_room(region: Region):
    hosts(region, "h1", "h2", sizes=TWO)
    group, (a, b, c) = region.groups.make("AFFINITY", 3)
    found = ask(region, group, [a])
    assert ask(region, group, [b])[b] == found[a]
    assert ask(region, group, [c]) == {}


@pytest.mark.parametrize(
    ("policy", "option", "count"),
    [("SOFT_AFFINITY", "soft_affinity", 1), ("SOFT_ANTI_AFFINITY", "soft_anti_affinity", 3)],
)
def test_soft_policies_weigh(new_region, policy, option, count):
    region = new_region(filter_scheduler={f"{option}_weight_multiplier": 100.0})
    hosts(region, "h1", "h2", sizes=TWO)
    region.host("large", {name: amount * 10 for name, amount in SIZES.items()})
    group, ids = region.groups.make(policy, 4)
    region.groups.place(group, places=[pb.MemberPlace(server_id=ids[0], host="h1")])
    found = {*ask(region, group, ids[1:2]).values(), *ask(region, group, ids[2:3]).values(), "h1"}
    assert len(found) == count
    # Nobody is refused: the group's own host is full, or all have one.
    assert len(ask(region, group, ids[3:])) == 1


def test_a_soft_policy_is_no_filter(region: Region):
    region.host("only", {**SIZES, "VCPU": 3})
    group, ids = region.groups.make("SOFT_ANTI_AFFINITY", 3)
    assert set(ask(region, group, ids).values()) == {"only"}


def test_a_repeat_replaces_places_and_claims(region: Region):
    """Own places and claims do not stand in the way, whether or not the first call got as far as claiming."""
    hosts(region, "h1", "h2", sizes={**SIZES, "VCPU": 1})
    group, (a, b) = region.groups.make("ANTI_AFFINITY", 2)
    assert len(ask(region, group, [a, b])) == 2
    assert len(ask(region, group, [a, b])) == 2
    for server in (a, b):
        region.placement.release(server)
    assert len(ask(region, group, [a, b])) == 2
    assert len(ask(region, group, [a])) == 1


def test_affinity_is_repeated_on_its_full_host(region: Region):
    hosts(region, "h1", "h2", sizes=TWO)
    group, (a, b) = region.groups.make("AFFINITY", 2)
    first = ask(region, group, [a, b])
    assert ask(region, group, [b]) == {b: first[b]}
    assert len(set(ask(region, group, [a, b]).values())) == 1


def test_of_two_calls_for_one_server_one_goes_on(region: Region):
    """Another call has claimed meanwhile: this one ends, and the next finds the place and begins anew."""
    node = region.host("h1")
    group, (a,) = region.groups.make("ANTI_AFFINITY", 1)
    region.placement.claim(a, {node: {"VCPU": 1}})
    with pytest.raises(errors.Aborted) as raised:
        region.select(servers=[a], server_group_ids=[group])
    assert raised.value.reason == "CONCURRENT_UPDATE"
    assert ask(region, group, [a]) == {a: "h1"}
    # Once the group is gone, a repeat is as of any server.
    region.groups.delete(group)
    (selection,) = region.select(servers=[a], server_group_ids=[group], memory_mb=77)
    assert region.placement.held(a)[node]["MEMORY_MB"] == 77
    assert selection.destination.host == "h1"


def test_who_gets_no_host_keeps_no_place(region: Region):
    hosts(region, "h1", sizes=TWO)
    group, (a, b) = region.groups.make("ANTI_AFFINITY", 2)
    region.groups.place(group, places=[pb.MemberPlace(server_id=b, host="h9")])
    assert ask(region, group, [a, b]) in ({a: "h1"}, {b: "h1"})


def test_a_group_or_member_that_is_gone(region: Region):
    node = region.host("h1")
    group, (a, b, c) = region.groups.make("ANTI_AFFINITY", 3)
    region.groups.place(group, places=[pb.MemberPlace(server_id=a, host="h1")])
    region.placement.claim(a, {node: {"VCPU": 1}})
    assert ask(region, group, [b]) == {}
    region.groups.leave(b)
    region.groups.leave(a)
    assert ask(region, group, [c]) == {c: "h1"}
    # No member any more: it is placed by nobody's rule, and nothing is kept of it.
    (selection,) = region.select(servers=[b], server_group_ids=[group])
    assert (selection.destination.host, region.groups.places(group)) == ("", {c: "h1"})
    region.groups.delete(group)
    (selection,) = region.select(servers=[b], server_group_ids=[group])
    assert selection.destination.host == "h1"


@pytest.mark.parametrize(
    "options", [{}, {"filter_scheduler": {"enabled_filters": ["ComputeFilter"]}}], ids=["all", "few"]
)
@pytest.mark.parametrize("skip", [False, True])
def test_no_way_round(new_region, options, skip):
    """Neither a forced host nor the operator's choice of filters lets a member go where it must not."""
    region = new_region(**options)
    hosts(region, "h1", "h2")
    group, (a, b) = region.groups.make("ANTI_AFFINITY", 2)
    assert ask(region, group, [a], host="h1", skip_filters=skip) == {a: "h1"}
    assert ask(region, group, [b], host="h1", skip_filters=skip) == {}
    assert ask(region, group, [b]) == {b: "h2"}


def test_a_place_without_a_claim_is_waited_for(region: Region):
    """Somebody has a place and is about to claim it, or to give it back."""
    hosts(region, "h1")
    group, (a, b) = region.groups.make("ANTI_AFFINITY", 2)
    region.groups.place(group, places=[pb.MemberPlace(server_id=a, host="h1")])
    region.start()
    found: list[dict[str, str]] = []
    asking = threading.Thread(target=lambda: found.append(ask(region, group, [b])))
    asking.start()
    asking.join(0.3)
    assert asking.is_alive()
    region.groups.place(group, clear_server_ids=[a])
    asking.join(20)
    assert found == [{b: "h1"}]


def test_waiting_for_a_place_ends(new_region):
    region = new_region(scheduler__group_patience_seconds=0.1)
    hosts(region, "h1")
    group, (a, b) = region.groups.make("AFFINITY", 2)
    region.groups.place(group, places=[pb.MemberPlace(server_id=a, host="elsewhere")])
    with pytest.raises(errors.Aborted) as raised:
        region.select(servers=[b], server_group_ids=[group])
    assert (raised.value.reason, raised.value.facts["group_id"]) == ("GROUP_BUSY", group)
    assert region.groups.places(group) == {a: "elsewhere"}
