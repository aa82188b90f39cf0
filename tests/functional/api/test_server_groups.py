"""Server groups over the wire: who is in them, what they count for, which hosts they allow."""

from __future__ import annotations

from collections import Counter

import pytest
from google.protobuf.struct_pb2 import Struct

from protonova.api.v1 import server_group_pb2 as pb
from protonova.common.v1 import server_group_pb2 as policies
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, OTHER, in_parallel
from tests.support.gates import Gate

NOWHERE = "20984fad-aa12-47f5-bd0a-72e8e7e76c92"


def hint(group_id) -> Struct:
    hints = Struct()
    hints.update({"group": group_id})
    return hints


def boot(region, group_id, **fields) -> list[str]:
    answer = region.create(scheduler_hints=hint(group_id), **fields)
    return [server.id for server in answer.servers]


def get(region, group_id, **fields):
    return region.api.groups.GetServerGroup(pb.GetServerGroupRequest(id=group_id, **fields)).group


def listed(region, page_size=-1, **fields):
    request = pb.ListServerGroupsRequest(page_size=page_size, **fields)
    return [group.id for group in region.api.groups.ListServerGroups(request).groups]


def delete(region, group_id, **fields):
    region.api.groups.DeleteServerGroup(pb.DeleteServerGroupRequest(id=group_id, **fields))


def refused(kind, act) -> errors.Error:
    with pytest.raises(kind) as raised:
        act()
    return raised.value


# ---- groups ------------------------------------------------------------------------------------------------


def test_a_group_is_made_shown_listed_and_deleted(any_region):
    region = any_region
    group = region.add_group(max_server_per_host=3)
    assert (group.name, group.project_id, group.user_id) == ("together", "project", "user")
    assert group.policy == policies.SERVER_GROUP_POLICY_ANTI_AFFINITY
    assert (group.max_server_per_host, list(group.member_ids)) == (3, [])
    assert group.created_at.seconds > 0
    assert get(region, group.id) == group
    plain = region.add_group("SOFT_AFFINITY")
    assert not plain.HasField("max_server_per_host")
    assert listed(region) == [group.id, plain.id]
    assert listed(region, 1) == [group.id]
    assert listed(region, 1, offset=1) == listed(region, offset=1) == [plain.id]
    assert listed(region, 0) == []
    assert region.used()["server_groups"] == region.used(user_id="user")["server_groups"] == 2
    delete(region, group.id)
    assert listed(region) == [plain.id]
    assert region.used()["server_groups"] == region.used(user_id="user")["server_groups"] == 1
    for gone in (get, delete):
        assert refused(errors.NotFound, lambda gone=gone: gone(region, group.id)).reason == "GROUP_NOT_FOUND"
    assert region.used()["server_groups"] == 1


def test_groups_of_another_project_are_not_there(region):
    group = region.add_group()
    with context.use(OTHER):
        for act in (
            lambda: get(region, group.id),
            lambda: get(region, group.id, all_projects=True),
            lambda: delete(region, group.id, all_projects=True),
        ):
            assert refused(errors.NotFound, act).facts["group_id"] == group.id
        assert listed(region) == listed(region, project_id="project") == []
    with context.use(ADMIN):
        assert refused(errors.NotFound, lambda: get(region, group.id)).reason == "GROUP_NOT_FOUND"
        assert get(region, group.id, all_projects=True).id == group.id
        assert listed(region) == listed(region, project_id="project") == [group.id]
        delete(region, group.id, all_projects=True)
    assert region.used()["server_groups"] == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "n" * 256}, "name"),
        ({"policy": 0}, "policy"),
        ({"policy": 99}, "policy"),
        ({"policy": policies.SERVER_GROUP_POLICY_AFFINITY, "max_server_per_host": 1}, "max_server_per_host"),
        ({"max_server_per_host": 0}, "max_server_per_host"),
    ],
)
def test_what_is_no_group(region, fields, field):
    usual = {"name": "n", "policy": policies.SERVER_GROUP_POLICY_ANTI_AFFINITY}
    request = pb.CreateServerGroupRequest(group=pb.ServerGroup(**{**usual, **fields}))
    error = refused(errors.InvalidArgument, lambda: region.api.groups.CreateServerGroup(request))
    assert (error.reason, error.facts["field"]) == ("GROUP_INVALID", field)
    assert region.used()["server_groups"] == 0


def test_the_quota_of_groups_holds_under_a_race(any_region):
    region = any_region
    region.limit(server_groups=3)
    found = in_parallel(8, lambda _: region.add_group())
    assert sum(isinstance(each, pb.ServerGroup) for each in found) == 3
    assert {each.reason for each in found if isinstance(each, Exception)} == {"QUOTA_EXCEEDED"}
    assert region.used()["server_groups"] == 3
    region.limit(server_groups=5)
    region.limit(user_id="user", server_groups=3)
    error = refused(errors.QuotaExceeded, region.add_group)
    assert (error.facts["resource"], error.facts["limit"], error.facts["user_id"]) == (
        "server_groups",
        "3",
        "user",
    )
    assert region.used()["server_groups"] == 3


# ---- members -----------------------------------------------------------------------------------------------


def test_servers_join_when_they_are_made_and_leave_when_they_are_gone(any_region):
    region = any_region
    region.add_cell()
    group = region.add_group()
    answer = region.create(scheduler_hints=hint(group.id), min_count=2)
    ids = [server.id for server in answer.servers]
    assert region.members(group.id) == ids
    assert [list(server.server_group_ids) for server in answer.servers] == [[group.id]] * 2
    region.built(answer)
    assert region.claims.specs[-1].server_group_ids == [group.id]
    ids += boot(region, [group.id])
    assert region.members(group.id) == ids
    assert list(region.get(ids[0]).server_group_ids) == [group.id]
    region.give_places(group.id, {ids[0]: "a", ids[1]: "b"})
    region.release(ids[0])
    assert region.members(group.id) == ids[1:]
    assert region.places(group.id) == {ids[1]: "b"}
    region.release(ids[0])
    delete(region, group.id)
    assert list(region.get(ids[1]).server_group_ids) == []
    # A server that is in no group any more can go, too.
    region.release(ids[1])


def test_a_build_request_that_is_deleted_leaves(region):
    gate = region.claims.gates.before["SelectDestinations"] = Gate()
    group = region.add_group()
    (server,) = boot(region, group.id)
    region.give_places(group.id, {server: "a"})
    assert list(region.get(server).server_group_ids) == [group.id]
    region.delete(server)
    assert (region.members(group.id), region.places(group.id)) == ([], {})
    # Whoever decided meanwhile can leave nothing behind.
    region.give_places(group.id, {server: "a"})
    assert region.places(group.id) == {}
    gate.open()


def test_a_server_without_a_host_stays_a_member_without_a_place(region):
    gate = region.claims.gates.before["SelectDestinations"] = Gate()
    group = region.add_group()
    answer = region.create(scheduler_hints=hint(group.id))
    server = answer.servers[0].id
    region.give_places(group.id, {server: "a"})
    gate.open()
    region.built(answer)
    assert (region.members(group.id), region.places(group.id)) == ([server], {})


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (NOWHERE, "GROUP_NOT_FOUND"),
        ("together", "GROUP_NOT_FOUND"),
        (["x"], "GROUP_NOT_FOUND"),
        ([NOWHERE, NOWHERE], "HINT_INVALID"),
        (7, "HINT_INVALID"),
        ([True], "HINT_INVALID"),
    ],
)
def test_groups_that_cannot_be_joined(region, value, reason):
    region.add_group()
    assert refused(errors.InvalidArgument, lambda: boot(region, value)).reason == reason
    assert region.used()["instances"] == 0


def test_a_group_of_another_project_cannot_be_joined(region):
    group = region.add_group()
    for caller in (OTHER, ADMIN):
        with context.use(caller):
            error = refused(errors.InvalidArgument, lambda: boot(region, group.id))
        assert error.reason == "GROUP_NOT_FOUND"
    assert region.members(group.id) == []
    # An empty list names none.
    boot(region, [])


def test_a_group_that_goes_while_a_server_joins(region, monkeypatch):
    """The group is there when the request is looked at, and gone when it is written."""
    from protonova.services.api.creation.plan import Planner

    group, plan = region.add_group(), Planner.plan

    def slow(*args):
        delete(region, group.id)
        return plan(*args)

    monkeypatch.setattr(Planner, "plan", slow)
    assert refused(errors.InvalidArgument, lambda: boot(region, group.id)).reason == "GROUP_NOT_FOUND"
    assert region.used()["instances"] == 0


def test_the_quota_of_members_holds_under_a_race(any_region):
    """It is counted for each user and each group."""
    region = any_region
    group = region.add_group("SOFT_ANTI_AFFINITY")
    region.limit(server_group_members=3, instances=-1, cores=-1, ram=-1)
    found = in_parallel(8, lambda _: boot(region, group.id))
    lost = [each for each in found if isinstance(each, Exception)]
    assert len(lost) == 5
    assert {each.facts["resource"] for each in lost} == {"server_group_members"}
    assert len(region.members(group.id)) == region.used()["instances"] == 3
    error = refused(errors.QuotaExceeded, lambda: boot(region, group.id, min_count=2))
    assert (error.facts["limit"], error.facts["used"], error.facts["requested"]) == ("3", "3", "2")
    boot(region, region.add_group().id)
    colleague = context.RequestContext(request_id="req-3", user_id="colleague", project_id="project")
    with context.use(colleague):
        boot(region, group.id, min_count=3)
    assert len(region.members(group.id)) == 6
    assert region.used()["instances"] == 7


def test_a_repeated_create_joins_once(region):
    group = region.add_group()
    first = boot(region, group.id, idempotency_key="k")
    assert boot(region, group.id, idempotency_key="k") == first
    assert region.members(group.id) == first


# ---- places ------------------------------------------------------------------------------------------------


def grouped(region, policy, count, **fields):
    """A group with members that found no host: their places are the test's."""
    group = region.add_group(policy, **fields)
    answer = region.create(scheduler_hints=hint(group.id), min_count=count)
    region.built(answer)
    return group.id, [server.id for server in answer.servers]


def violates(region, group_id, places, *clear, **fields) -> str:
    before = region.places(group_id)
    error = refused(errors.FailedPrecondition, lambda: region.give_places(group_id, places, *clear, **fields))
    assert (error.reason, error.facts["group_id"]) == ("GROUP_POLICY_VIOLATED", group_id)
    assert region.places(group_id) == before
    return error.facts["host"]


def test_affinity_keeps_all_on_one_host(region):
    group, (a, b, c) = grouped(region, "AFFINITY", 3)
    assert violates(region, group, {a: "h1", b: "h2"}) in ("h1", "h2")
    region.give_places(group, {a: "h1", b: "h1"})
    assert violates(region, group, {c: "h2"}) == "h2"
    assert violates(region, group, {c: "h2"}, a) == "h2"
    region.give_places(group, {c: "h2"}, a, b)
    assert region.places(group) == {c: "h2"}


def test_anti_affinity_keeps_one_a_host(region):
    group, (a, b, c) = grouped(region, "ANTI_AFFINITY", 3)
    assert violates(region, group, {a: "h1", b: "h1"}) == "h1"
    region.give_places(group, {a: "h1", b: "h2"})
    assert violates(region, group, {c: "h2"}) == "h2"
    region.give_places(group, {a: "h2", b: "h1"})
    region.give_places(group, {c: "h1"}, b)
    assert region.places(group) == {a: "h2", c: "h1"}


def test_anti_affinity_keeps_as_many_a_host_as_it_says(region):
    group, (a, b, c) = grouped(region, "ANTI_AFFINITY", 3, max_server_per_host=2)
    assert violates(region, group, {a: "h1", b: "h1", c: "h1"}) == "h1"
    region.give_places(group, {a: "h1", b: "h1"})
    assert violates(region, group, {c: "h1"}) == "h1"


@pytest.mark.parametrize("policy", ["SOFT_AFFINITY", "SOFT_ANTI_AFFINITY"])
def test_soft_policies_refuse_nothing(region, policy):
    group, (a, b, c) = grouped(region, policy, 3)
    region.give_places(group, {a: "h1", b: "h1", c: "h2"})
    assert region.places(group) == {a: "h1", b: "h1", c: "h2"}


def test_places_are_a_compare_and_set(region):
    group, (a, b) = grouped(region, "SOFT_AFFINITY", 2)
    before = region.api.groups.GetServerGroupPlaces(pb.GetServerGroupPlacesRequest(id=group))
    assert (before.policy, before.max_server_per_host) == (policies.SERVER_GROUP_POLICY_SOFT_AFFINITY, 1)
    after = region.give_places(group, {a: "h1"}, generation=before.generation)
    assert after > before.generation
    late = lambda: region.give_places(group, {b: "h1"}, generation=before.generation)  # noqa: E731
    assert refused(errors.Aborted, late).reason == "GROUP_MOVED_ON"
    # A repeat changes nothing, whatever it was decided by.
    assert region.give_places(group, {a: "h1"}, generation=before.generation) == after
    assert region.give_places(group, {}, b) == after
    assert region.places(group) == {a: "h1"}


def test_a_member_may_have_two_places_while_it_moves(region):
    group, (a, b) = grouped(region, "ANTI_AFFINITY", 2)
    places = [pb.MemberPlace(server_id=a, host=host) for host in ("h1", "h2")]
    region.api.groups.PlaceServerGroupMembers(pb.PlaceServerGroupMembersRequest(id=group, places=places))
    assert violates(region, group, {b: "h1"}) == "h1"
    assert violates(region, group, {b: "h2"}) == "h2"
    region.give_places(group, {a: "h2", b: "h1"})


def test_places_that_name_nothing(region):
    group, (a,) = grouped(region, "AFFINITY", 1)
    for places in ({a: ""}, {"": "h1"}):
        error = refused(errors.InvalidArgument, lambda places=places: region.give_places(group, places))
        assert error.reason == "GROUP_INVALID"
    for act in (lambda: region.give_places(NOWHERE, {a: "h1"}), lambda: region.places(NOWHERE)):
        assert refused(errors.NotFound, act).reason == "GROUP_NOT_FOUND"
    region.give_places(group, {NOWHERE: "h9"})
    assert region.places(group) == {}


@pytest.mark.parametrize(
    ("policy", "fields", "placed"),
    [("ANTI_AFFINITY", {}, 8), ("ANTI_AFFINITY", {"max_server_per_host": 2}, 16), ("AFFINITY", {}, 2)],
)
def test_no_race_breaks_a_policy(any_region, policy, fields, placed):
    """Two want each of eight hosts, at once."""
    region = any_region
    region.limit(instances=-1, cores=-1, ram=-1, server_group_members=-1)
    group, ids = grouped(region, policy, 16, **fields)
    found = in_parallel(16, lambda number: region.give_places(group, {ids[number]: f"h{number % 8}"}))
    places = Counter(region.places(group).values())
    assert places.total() == sum(isinstance(each, int) for each in found) == placed
    assert set(places.values()) == {fields.get("max_server_per_host", 1) if policy[:4] == "ANTI" else 2}
