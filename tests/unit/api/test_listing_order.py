"""The order of servers, what filters admit, and lists joined as bytes."""

import random
import uuid

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerFilter, ServerSort, TextMatch
from protonova.services.api import matching, ordering, wire
from protonova.services.runtime import errors


def server(name="x", second=1, **fields):
    return Server(id=str(uuid.uuid4()), name=name, created_at=Timestamp(seconds=second), **fields)


def test_the_newest_come_first_and_ids_decide_between_equals():
    servers = [server(second=second) for second in (1, 2, 2, 2, 3)]
    random.shuffle(servers)
    ordered = sorted(servers, key=ordering.of([]))
    assert [one.created_at.seconds for one in ordered] == [3, 2, 2, 2, 1]
    assert [one.id for one in ordered[1:4]] == sorted((one.id for one in ordered[1:4]), reverse=True)


def test_several_keys_in_their_directions():
    servers = [server("b", 1), server("a", 1), server("a", 2)]
    sort = [ServerSort(key="name"), ServerSort(key="created_at", descending=True)]
    ordered = sorted(servers, key=ordering.of(sort))
    assert [(one.name, one.created_at.seconds) for one in ordered] == [("a", 2), ("a", 1), ("b", 1)]


@pytest.mark.parametrize("key", ["nonsense", "flavor.nonsense", "name.more"])
def test_unknown_keys_are_refused(key):
    with pytest.raises(errors.InvalidArgument) as raised:
        ordering.of([ServerSort(key=key)])
    assert (raised.value.reason, raised.value.facts["field"]) == ("FILTER_INVALID", key)


def exact(field, value):
    return TextMatch(field=field, kind=TextMatch.KIND_EXACT, value=value)


def regex(field, value):
    return TextMatch(field=field, kind=TextMatch.KIND_REGEX, value=value)


@pytest.mark.parametrize(
    ("wanted", "admitted"),
    [
        (ServerFilter(), True),
        (ServerFilter(project_id="other"), False),
        (ServerFilter(vm_states=[common.VM_STATE_BUILDING]), True),
        (ServerFilter(vm_states=[common.VM_STATE_ACTIVE]), False),
        (ServerFilter(texts=[regex("name", "^we")]), True),
        (ServerFilter(texts=[exact("name", "we")]), False),
        (ServerFilter(texts=[exact("flavor.id", "f1"), exact("image.id", "i1")]), True),
        (ServerFilter(texts=[exact("locked_by", "admin")]), True),
        (ServerFilter(texts=[exact("created_at", "1970-01-01 00:00:07")]), True),
        (ServerFilter(tags_all=["a", "b"]), True),
        (ServerFilter(tags_any=["c", "b"]), True),
        (ServerFilter(tags_not_all=["a", "c"]), True),
        (ServerFilter(tags_not_any=["a", "c"]), False),
        (ServerFilter(locked=False), False),
        (ServerFilter(changed_since=Timestamp(seconds=9)), False),
        (ServerFilter(changed_before=Timestamp(seconds=9)), True),
        (ServerFilter(deleted=True), None),
        (ServerFilter(ip_v4_regex="10"), None),
    ],
)
def test_build_requests_are_matched_like_servers(wanted, admitted):
    building = server(
        "web",
        7,
        project_id="mine",
        vm_state=common.VM_STATE_BUILDING,
        tags=["a", "b"],
        locked_by=common.LOCK_HOLDER_ADMIN,
        updated_at=Timestamp(seconds=8),
    )
    building.flavor.id, building.image.id = "f1", "i1"
    condition = matching.building(wanted)
    assert (None if condition is None else condition(building)) == admitted


def test_of_silent_cells_only_known_fields_can_be_asked():
    known = server(project_id="mine")
    assert matching.partial(ServerFilter(project_id="mine", deleted=False))(known)
    assert matching.partial(ServerFilter(vm_states=[common.VM_STATE_ACTIVE])) is None
    assert matching.partial(ServerFilter(texts=[regex("name", "x")])) is None


def test_a_bad_regular_expression_is_refused():
    with pytest.raises(errors.InvalidArgument):
        matching.building(ServerFilter(texts=[regex("name", "(")]))


def page(*servers):
    return pb.ListServersResponse(servers=servers).SerializeToString()


def test_a_page_is_put_behind_build_requests_and_cut():
    old = [server(str(second), second, user_data="x" * 300) for second in (5, 4, 3)]
    new = [server("new", 9)]
    joined = pb.ListServersResponse.FromString(wire.join(new, page(*old), 3, ordering.of([])))
    assert [one.name for one in joined.servers] == ["new", "5", "4"]
    whole = pb.ListServersResponse.FromString(wire.join(new, page(*old), 10, ordering.of([])))
    assert [one.name for one in whole.servers] == ["new", "5", "4", "3"]
    assert (
        pb.ListServersResponse.FromString(wire.join(new, b"", 10, ordering.of([]))).servers[0].name == "new"
    )


def test_what_overlaps_or_is_out_of_order_is_not_joined():
    old, new = server("old", 5), server("new", 9)
    assert wire.join([old], page(new), 10, ordering.of([])) is None
    assert wire.join([new], page(new, old), 10, ordering.of([])) is None
