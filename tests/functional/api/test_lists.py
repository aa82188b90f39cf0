"""Lists of servers over several cells."""

import random
import uuid
from dataclasses import replace

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import insert

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.common.v1.server_query_pb2 import ServerFilter, ServerSort
from protonova.services.api import tables
from protonova.services.runtime import context, errors
from protonova.services.runtime.database import Database
from tests.functional.api.conftest import ADMIN, OTHER
from tests.support.gates import Gate


def page(region, **fields):
    return region.api.servers.ListServers(pb.ListServersRequest(**{"page_size": 1000, **fields}))


def names(region, **fields):
    return [server.name for server in page(region, **fields).servers]


def walk(region, size, **fields):
    """All pages; `between(id of the last server)` them something may happen."""
    between = fields.pop("between", lambda last: None)
    seen, token = [], ""
    while True:
        found = page(region, page_size=size, page_token=token, **fields).servers
        seen += found
        if len(found) < size:
            return seen
        token = found[-1].id
        between(token)


def fill(region, cell, count, first=0, **fields):
    """Puts servers into a cell, mapped, each a second younger than the one before."""
    database = Database(region.url, metadata=tables.metadata)
    servers = []
    for number in range(first, first + count):
        server = common.Server(
            id=str(uuid.uuid4()),
            name=f"{cell.name}-{number}",
            created_at=Timestamp(seconds=number),
            **{"project_id": "project", "user_id": "user", "vm_state": common.VM_STATE_ACTIVE, **fields},
        )
        cell.servers[server.id] = server
        servers.append(server)
    summary = ("id", "project_id", "user_id")
    rows = [
        {
            **{field: getattr(server, field) for field in summary},
            "cell_id": cell.id,
            "reservation_id": "r-1",
            "vcpus": 1,
            "memory_mb": 1,
            "created_at": server.created_at.seconds * 1_000_000,
            "summary": common.Server(
                partial=True,
                created_at=server.created_at,
                **{field: getattr(server, field) for field in summary},
            ).SerializeToString(),
        }
        for server in servers
    ]
    database.write(lambda connection: connection.execute(insert(tables.instance_mappings), rows) and None)
    database.close()
    return servers


@pytest.fixture
def three(region):
    cells = [region.add_cell(name) for name in ("a", "b", "c")]
    for offset, cell in enumerate(cells):
        fill(region, cell, 7, first=10 * offset)
    return cells


def test_an_empty_region(region):
    assert names(region) == []
    region.add_cell()
    assert names(region) == []
    assert names(region, page_size=0) == []


def test_all_cells_are_merged_the_newest_first(region, three):
    found = page(region)
    assert [server.created_at.seconds for server in found.servers] == [
        *range(26, 19, -1),
        *range(16, 9, -1),
        *range(6, -1, -1),
    ]
    assert list(found.missing_cell_ids) == []


@pytest.mark.parametrize("size", [1, 2, 5, 21])
@pytest.mark.parametrize(
    "sort", [[], [ServerSort(key="name")], [ServerSort(key="vm_state"), ServerSort(key="name")]]
)
def test_pages_make_up_the_whole(region, three, size, sort):
    assert [s.id for s in walk(region, size, sort=sort)] == [s.id for s in page(region, sort=sort).servers]


def test_equal_servers_are_neither_lost_nor_doubled(region):
    cells = [region.add_cell(name) for name in ("a", "b")]
    for cell in cells:
        for server in fill(region, cell, 6):
            server.created_at.seconds = 1
    seen = [server.id for server in walk(region, 5)]
    assert len(seen) == len(set(seen)) == 12


@pytest.mark.parametrize("key", ["created_at", "launched_at", "host", "description", "task_state"])
def test_pages_under_churn_keep_what_stays(region, three, key):
    """Servers come, go and move from build request to cell between pages: those that stay are seen once, also where
    many have nothing that the list is sorted by."""
    sort = [ServerSort(key=key, descending=True)]
    for cell in three:
        for number, server in enumerate(cell.servers.values()):
            if number % 3:
                server.launched_at.seconds, server.host = number // 3, f"host{number // 3}"
                server.description = f"words {number // 3}"
                server.task_state = number // 3
    stay = {server.id for cell in three for server in cell.servers.values()}
    shuffled = random.Random(7)

    def churn(last):
        region.built(region.create())
        fill(region, three[0], 1, first=shuffled.randrange(30))
        cell = shuffled.choice(three)
        gone = shuffled.choice([server_id for server_id in cell.servers if server_id in stay - {last}])
        stay.discard(gone)
        del cell.servers[gone]

    seen = [server.id for server in walk(region, 4, sort=sort, between=churn)]
    assert len(seen) == len(set(seen))
    assert stay <= set(seen)


def test_a_silent_cell_costs_only_its_own(region, three):
    whole = [server.id for server in page(region).servers]
    three[1].stop()
    rest = page(region)
    assert [server.name[0] for server in rest.servers] == ["c"] * 7 + ["a"] * 7
    assert list(rest.missing_cell_ids) == [three[1].id]
    partly = page(region, allow_partial=True)
    assert [server.id for server in partly.servers] == whole
    assert [server.partial for server in partly.servers] == [False] * 7 + [True] * 7 + [False] * 7
    assert [server.id for server in walk(region, 4, allow_partial=True)] == whole
    wanted = ServerFilter(vm_states=[common.VM_STATE_ACTIVE])
    assert len(page(region, allow_partial=True, filter=wanted).servers) == 14


@pytest.fixture
def uneven(region):
    """What is newest is nearly all in one cell, and no cell holds all of a long page."""
    cells = [region.add_cell(name) for name in ("a", "b", "c")]
    fill(region, cells[0], 210, first=1000)
    fill(region, cells[1], 130, first=100)
    for server in fill(region, cells[2], 60, first=2000):
        server.name = "c-1"
    return cells


@pytest.mark.parametrize("size", [101, 150, 399])
@pytest.mark.parametrize(
    "sort", [[], [ServerSort(key="name", descending=True), ServerSort(key="created_at")]]
)
def test_a_cell_is_asked_on_when_its_portion_is_used_up(region, uneven, size, sort):
    whole = [s.id for s in page(region, sort=sort).servers]
    assert len(whole) == len(set(whole)) == 400
    assert [s.id for s in walk(region, size, sort=sort)] == whole
    before = sum(cell.gates.calls["ListServers"] for cell in uneven)
    page(region, sort=sort, page_size=150)
    # One of the three had to be asked on.
    assert sum(cell.gates.calls["ListServers"] for cell in uneven) - before == 4


def test_a_cell_that_falls_silent_when_asked_on(region, uneven):
    whole = [server.id for server in page(region).servers]
    uneven[0].gates.before["ListServers"] = Once()
    found = page(region, page_size=300, allow_partial=True)
    assert [server.id for server in found.servers] == whole[:300]
    assert list(found.missing_cell_ids) == [uneven[0].id]
    assert [server.partial for server in found.servers] == [False] * 60 + [True] * 210 + [False] * 30


class Once:
    """Lets one call pass, and no other."""

    def __init__(self):
        self.passed = 0

    def passing(self):
        self.passed += 1
        if self.passed > 1:
            raise errors.Unavailable("Away.", reason="SERVICE_UNREACHABLE")


def test_a_cell_that_hangs_is_not_waited_for(tmp_path, region, three):
    hasty = region.add_replica(api__cell_timeout=0.2)
    gate = three[2].gates.before["ListServers"] = Gate()
    found = hasty.servers.ListServers(pb.ListServersRequest(page_size=100))
    assert list(found.missing_cell_ids) == [three[2].id]
    assert len(found.servers) == 14
    gate.open()


def test_operators_may_have_lists_fail_instead(region, three):
    strict = region.add_replica(api__list_records_by_skipping_down_cells=False)
    three[0].stop()
    with pytest.raises(errors.Unavailable) as raised:
        strict.servers.ListServers(pb.ListServersRequest(page_size=100))
    assert raised.value.reason == "CELL_UNAVAILABLE"


def test_build_requests_take_their_place(region):
    [cell] = [region.add_cell()]
    fill(region, cell, 3)
    region.claims.room = 0
    failed = [region.create(name=f"failed-{number}") for number in range(2)]
    for answer in failed:
        region.built(answer)
    assert names(region) == ["failed-1", "failed-0", "cell1-2", "cell1-1", "cell1-0"]
    assert names(region, page_size=3) == ["failed-1", "failed-0", "cell1-2"]
    assert names(region, page_size=1) == ["failed-1"]
    by_name = [ServerSort(key="name")]
    assert names(region, sort=by_name) == ["cell1-0", "cell1-1", "cell1-2", "failed-0", "failed-1"]
    for size in (1, 2, 3):
        assert [server.name for server in walk(region, size)] == names(region)
        assert [server.name for server in walk(region, size, sort=by_name)] == names(region, sort=by_name)
    assert (
        names(
            region,
            filter=ServerFilter(vm_states=[common.VM_STATE_ERROR], server_ids=[failed[0].servers[0].id]),
        )[0]
        == "failed-0"
    )


def test_a_server_on_its_way_is_listed_once(region):
    cell = region.add_cell()
    gate = cell.gates.after["CreateServers"] = Gate()
    answer = region.create()
    gate.wait_reached()
    assert [server.id for server in page(region).servers] == [answer.servers[0].id]
    gate.open()
    region.built(answer)
    assert [server.id for server in page(region).servers] == [answer.servers[0].id]


def test_lists_are_of_the_callers_project(region, three):
    fill(region, three[0], 1, first=99, project_id="elsewhere")
    assert len(page(region, filter=ServerFilter(project_id="elsewhere")).servers) == 21
    with context.use(OTHER):
        assert names(region) == ["a-99"]
    with context.use(ADMIN):
        assert len(page(region).servers) == 22
        assert names(region, filter=ServerFilter(project_id="elsewhere")) == ["a-99"]


def test_who_has_no_project_sees_nothing(region, three):
    with context.use(replace(OTHER, project_id="")), pytest.raises(errors.PermissionDenied):
        page(region)


def test_unknown_markers_and_keys(region, three):
    for wrong, reason in (
        ({"page_token": "gone"}, "MARKER_NOT_FOUND"),
        ({"sort": [ServerSort(key="colour")]}, "FILTER_INVALID"),
    ):
        with pytest.raises(errors.InvalidArgument) as raised:
            page(region, **wrong)
        assert raised.value.reason == reason
    with context.use(OTHER), pytest.raises(errors.InvalidArgument):
        page(region, page_token=next(iter(three[0].servers)))


def test_one_cell_answers_as_it_is(region):
    cell = region.add_cell()
    fill(region, cell, 5)
    cell.stop()
    assert list(page(region).missing_cell_ids) == [cell.id]
    cell.start()
    region.until(lambda: len(page(region).servers) == 5)
