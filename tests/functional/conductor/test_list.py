"""Lists: every filter and every order, on every database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protonova.common.v1.server_pb2 import (
    FixedAddress,
    HostStatus,
    ImageSnapshot,
    NetworkInterface,
    Server,
    VmState,
)
from protonova.common.v1.server_query_pb2 import ServerFilter, ServerSort, ServerView, TextMatch
from protonova.conductor.v1 import host_pb2, server_pb2
from protonova.services.api import ordering
from protonova.services.runtime import errors
from tests.support.conductor import Conductor, Edges, new_server
from tests.support.databases import EVERY, fresh

EXACT = TextMatch.KIND_EXACT
REGEX = TextMatch.KIND_REGEX
# 2024-03-01T12:00:00Z
NOON = 1709294400


@pytest.fixture(scope="module", params=EVERY)
def cell(request, tmp_path_factory) -> Iterator[Conductor]:
    directory = tmp_path_factory.mktemp("cell")
    edges = Edges(directory)
    for url in fresh(request.param, directory):
        conductor = Conductor(directory, edges, url)
        conductor.report("host1", "host2", "host3", "host4")
        store(conductor, *SERVERS.values())
        yield conductor
        conductor.close()
        edges.close()


def store(cell: Conductor, *servers: Server) -> None:
    cell.store(*servers)


def made(name: str, seconds: int, **fields) -> Server:
    addresses = fields.pop("addresses", [])
    server = new_server(**fields)
    server.name = name
    server.created_at.seconds = NOON + seconds
    server.interfaces.append(
        NetworkInterface(addresses=[FixedAddress(address=address) for address in addresses])
    )
    return server


def moment(seconds: int) -> Timestamp:
    return Timestamp(seconds=NOON + seconds)


SERVERS = {
    server.name: server
    for server in [
        made(
            "alpha",
            0,
            vm_state="VM_STATE_ACTIVE",
            power_state="POWER_STATE_RUNNING",
            host="host1",
            node="node1",
            tags=["blue", "red"],
            addresses=["10.0.0.5", "fd00::5"],
            key_name="key-a",
            hostname="alpha-host",
            launched_at=moment(3600),
            image=ImageSnapshot(id="image-1", properties={"kernel_id": "k1", "ramdisk_id": "r1"}),
        ),
        made(
            "Beta",
            1,
            vm_state="VM_STATE_STOPPED",
            power_state="POWER_STATE_SHUTDOWN",
            host="host2",
            tags=["blue"],
            addresses=["10.0.0.15", "10.0.1.5"],
            locked_by="LOCK_HOLDER_ADMIN",
            config_drive=True,
            reservation_id="r-1",
            launch_index=12,
        ),
        made(
            "gamma",
            2,
            vm_state="VM_STATE_ERROR",
            task_state="TASK_STATE_DELETING",
            user_id="other-user",
            progress=50,
            description="one of a kind",
            access_ip_v4="192.0.2.1",
            access_ip_v6="2001:db8::1",
            auto_disk_config=True,
            root_device_name="/dev/vda",
        ),
        made("delta", 3, vm_state="VM_STATE_SOFT_DELETED", host="host3"),
        made(
            "epsilon",
            4,
            vm_state="VM_STATE_DELETED",
            deleted_at=moment(9),
            terminated_at=moment(8),
            tags=["red"],
        ),
        made("foreign", 5, vm_state="VM_STATE_ACTIVE", project_id="elsewhere", availability_zone="zone-2"),
    ]
}
LIVING = {"alpha", "Beta", "gamma", "foreign"}
EVERYONE = {*LIVING, "delta", "epsilon"}


def text(field: str, value: str, kind=REGEX) -> dict:
    return {"texts": [TextMatch(field=field, kind=kind, value=value)]}


CASES: list[tuple[str, dict, set[str]]] = [
    ("nothing", {}, LIVING),
    ("project", {"project_id": "project"}, {"alpha", "Beta", "gamma"}),
    (
        "ids",
        {"server_ids": [SERVERS["alpha"].id, SERVERS["gamma"].id, str(uuid.uuid4())]},
        {"alpha", "gamma"},
    ),
    ("vm states", {"vm_states": ["VM_STATE_STOPPED", "VM_STATE_ERROR"]}, {"Beta", "gamma"}),
    ("task state", {"task_states": ["TASK_STATE_DELETING"]}, {"gamma"}),
    ("no task state", {"task_states": ["TASK_STATE_UNSPECIFIED"]}, LIVING - {"gamma"}),
    ("power state", {"power_states": ["POWER_STATE_RUNNING"]}, {"alpha"}),
    ("locked", {"locked": True}, {"Beta"}),
    ("not locked", {"locked": False}, LIVING - {"Beta"}),
    ("deleted", {"deleted": True}, {"epsilon"}),
    ("deleted or softly so", {"deleted": True, "soft_deleted": True}, {"epsilon", "delta"}),
    ("not deleted", {"deleted": False}, LIVING),
    ("not deleted, softly deleted ones too", {"deleted": False, "soft_deleted": True}, {*LIVING, "delta"}),
    ("softly deleted by state", {"vm_states": ["VM_STATE_SOFT_DELETED"]}, {"delta"}),
    ("changed since long ago", {"changed_since": moment(0)}, EVERYONE),
    ("changed since, living", {"changed_since": moment(0), "deleted": False}, LIVING),
    ("changed before long ago", {"changed_before": moment(0)}, set()),
    ("changed since tomorrow", {"changed_since": moment(10**9)}, set()),
    ("name", text("name", "a$"), {"alpha", "Beta", "gamma"}),
    ("name, case counts", text("name", "^b"), set()),
    ("exact name", text("name", "alph", EXACT), set()),
    ("exact name that is there", text("name", "Beta", EXACT), {"Beta"}),
    ("description", text("description", "of a"), {"gamma"}),
    ("hostname", text("hostname", "^alpha-"), {"alpha"}),
    ("host", text("host", "host1", EXACT), {"alpha"}),
    ("node", text("node", "node[1-9]"), {"alpha"}),
    ("user", text("user_id", "other-user", EXACT), {"gamma"}),
    ("image", text("image.id", "image-1", EXACT), {"alpha"}),
    ("kernel", text("image.properties.kernel_id", "^k"), {"alpha"}),
    ("ramdisk", text("image.properties.ramdisk_id", "^r"), {"alpha"}),
    ("flavor", text("flavor.id", "1", EXACT), LIVING),
    ("reservation", text("reservation_id", "r-."), {"Beta"}),
    ("key", text("key_name", "key"), {"alpha"}),
    ("zone", text("availability_zone", "zone"), {"foreign"}),
    ("root device", text("root_device_name", "vda"), {"gamma"}),
    ("access v4", text("access_ip_v4", r"192\.0"), {"gamma"}),
    ("access v6", text("access_ip_v6", "db8"), {"gamma"}),
    ("launch index", text("launch_index", "^1"), {"Beta"}),
    ("progress", text("progress", "^50$"), {"gamma"}),
    ("locked by", text("locked_by", "admin", EXACT), {"Beta"}),
    ("config drive", text("config_drive", "True", EXACT), {"Beta"}),
    ("disk config", text("auto_disk_config", "1", EXACT), {"gamma"}),
    ("created at", text("created_at", "^2024-03-01 12:00:0[01]$"), {"alpha", "Beta"}),
    ("launched at", text("launched_at", "13:00"), {"alpha"}),
    ("never launched", text("launched_at", "", EXACT), LIVING - {"alpha"}),
    ("terminated at", {**text("terminated_at", "12:00:08"), "deleted": True}, {"epsilon"}),
    ("v4", {"ip_v4_regex": r"^10\.0\.0\.5$"}, {"alpha"}),
    ("v4, the second address", {"ip_v4_regex": r"^10\.0\.1\.5$"}, {"Beta"}),
    ("v4, anywhere", {"ip_v4_regex": r"0\.1?5"}, {"alpha", "Beta"}),
    ("v4, none has it", {"ip_v4_regex": "^$"}, set()),
    ("v6", {"ip_v6_regex": "^fd00::"}, {"alpha"}),
    ("all tags", {"tags_all": ["blue", "red"]}, {"alpha"}),
    ("all of one tag", {"tags_all": ["blue"]}, {"alpha", "Beta"}),
    ("any tag", {"tags_any": ["red", "green"]}, {"alpha"}),
    ("not all tags", {"tags_not_all": ["blue", "red"]}, LIVING - {"alpha"}),
    ("not any tag", {"tags_not_any": ["blue"]}, LIVING - {"alpha", "Beta"}),
    ("tags together", {"tags_any": ["blue"], "tags_not_any": ["red"]}, {"Beta"}),
    ("conditions together", {"vm_states": ["VM_STATE_ACTIVE"], "project_id": "project"}, {"alpha"}),
]


def page(cell: Conductor, *, size: int = 100, after=None, sort=(), view=ServerView.SERVER_VIEW_FULL, **query):
    request = server_pb2.ListServersRequest(
        filter=ServerFilter(**query), sort=sort, page_size=size, after=after, view=view
    )
    return list(cell.servers.ListServers(request).servers)


@pytest.mark.parametrize(("query", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_filters(cell: Conductor, query: dict, expected: set[str]):
    assert {server.name for server in page(cell, **query)} == expected
    assert {server.name for server in page(cell, view=ServerView.SERVER_VIEW_SUMMARY, **query)} == expected


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (text("name", "["), "name"),
        (text("name", ""), "name"),
        (text("name", "a" * 300), "name"),
        (text("password", "x"), "password"),
        (text("name", "x", TextMatch.KIND_UNSPECIFIED), "name"),
        ({"ip_v4_regex": "*"}, "ip"),
        ({"ip_v6_regex": "("}, "ip6"),
    ],
)
def test_filters_that_mean_nothing(cell: Conductor, query: dict, field: str):
    with pytest.raises(errors.InvalidArgument) as caught:
        page(cell, **query)
    assert caught.value.reason == "FILTER_INVALID"
    assert caught.value.facts["field"] == field


def test_a_regex_only_some_engines_know(cell: Conductor):
    """Python knows named groups, PostgreSQL does not: its refusal is told as any other."""
    query = text("name", "(?P<first>a)lpha")
    if cell.cell.db.dialect != "postgresql":
        assert [server.name for server in page(cell, **query)] == ["alpha"]
        return
    with pytest.raises(errors.InvalidArgument) as caught:
        page(cell, **query)
    assert caught.value.reason == "FILTER_INVALID"


ORDERS = [
    ([], ["foreign", "gamma", "Beta", "alpha"]),
    ([ServerSort(key="created_at")], ["alpha", "Beta", "gamma", "foreign"]),
    ([ServerSort(key="name")], ["Beta", "alpha", "foreign", "gamma"]),
    ([ServerSort(key="name", descending=True)], ["gamma", "foreign", "alpha", "Beta"]),
    (
        [ServerSort(key="launched_at", descending=True), ServerSort(key="name")],
        ["alpha", "Beta", "foreign", "gamma"],
    ),
    ([ServerSort(key="image.id"), ServerSort(key="created_at")], None),
    (
        [ServerSort(key="locked", descending=True), ServerSort(key="name")],
        ["Beta", "alpha", "foreign", "gamma"],
    ),
]


@pytest.mark.parametrize(("sort", "expected"), ORDERS)
def test_orders(cell: Conductor, sort, expected):
    names = [server.name for server in page(cell, sort=sort)]
    if expected:
        assert names == expected
    paged, after = [], None
    while found := page(cell, sort=sort, size=1, after=after, view=ServerView.SERVER_VIEW_SUMMARY):
        paged.append(found[0].name)
        after = found[0]
    assert paged == names


SORTABLE = [
    "access_ip_v4", "access_ip_v6", "auto_disk_config", "availability_zone", "config_drive", "created_at",
    "description", "name", "host", "hostname", "id", "image.id", "flavor.id", "kernel_id", "key_name",
    "launch_index", "launched_at", "locked", "locked_by", "node", "power_state", "progress", "project_id",
    "ramdisk_id", "root_device_name", "task_state", "terminated_at", "updated_at", "user_id", "vm_state",
    "memory_mb", "vcpus", "reservation_id", "deleted_at",
]  # fmt: skip


@pytest.mark.parametrize("key", SORTABLE)
def test_every_sort_key_pages(cell: Conductor, key: str):
    for descending in (False, True):
        sort = [ServerSort(key=key, descending=descending)]
        servers = page(cell, sort=sort, changed_since=moment(0))
        whole = [server.id for server in servers]
        # Lists of several cells are merged by what the api service says of the order. It does not know all keys.
        if key not in ("memory_mb", "vcpus"):
            assert sorted(servers, key=ordering.of(sort)) == servers
        paged, after = [], None
        while found := page(cell, sort=sort, size=2, after=after, changed_since=moment(0)):
            paged.extend(server.id for server in found)
            after = found[-1]
        assert paged == whole
        assert len(whole) == len(EVERYONE)


def test_an_unknown_sort_key(cell: Conductor):
    with pytest.raises(errors.InvalidArgument) as caught:
        page(cell, sort=[ServerSort(key="record")])
    assert caught.value.facts["field"] == "record"


def test_an_empty_page(cell: Conductor):
    assert page(cell, size=0) == []


def test_a_summary_holds_what_sorting_needs(cell: Conductor):
    (server,) = page(
        cell,
        view=ServerView.SERVER_VIEW_SUMMARY,
        sort=[ServerSort(key="image.id"), ServerSort(key="created_at")],
        **text("name", "alpha"),
    )
    assert server == Server(
        id=SERVERS["alpha"].id,
        name="alpha",
        project_id="project",
        image=ImageSnapshot(id="image-1"),
        created_at=moment(0),
    )


def test_the_full_view_is_the_whole_server(cell: Conductor):
    (server,) = page(cell, **text("name", "alpha"))
    assert server.image.properties["kernel_id"] == "k1"
    assert server.instance_name.startswith("instance-")
    assert server.tags == ["blue", "red"]
    assert server == cell.get(server.id)


def test_the_status_of_hosts(cell: Conductor):
    def status() -> list[int]:
        return [s.host_status for s in page(cell, sort=[ServerSort(key="created_at")], project_id="project")]

    def steer(**fields) -> None:
        cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", **fields))

    assert status() == [HostStatus.HOST_STATUS_UP, HostStatus.HOST_STATUS_UP, 0]
    steer(disabled=True, disabled_reason="broken fan")
    assert status()[0] == HostStatus.HOST_STATUS_MAINTENANCE
    steer(forced_down=True)
    assert status()[0] == HostStatus.HOST_STATUS_DOWN
    steer(disabled=False, forced_down=False)
    assert status()[0] == HostStatus.HOST_STATUS_UP
    hosts = cell.cell.hosts
    stale = hosts.db.write(
        lambda c: c.exec_driver_sql("UPDATE hosts SET heartbeat_at = 1 WHERE host = 'host1'").rowcount
    )
    assert stale == 1
    assert status()[0] == HostStatus.HOST_STATUS_UNKNOWN
    cell.hosts.ReportHosts(host_pb2.ReportHostsRequest(unchanged_hosts=["host1"]))
    assert status()[0] == HostStatus.HOST_STATUS_UP


# Name, moment of creation, state, and host and moment of its start: some never had one.
_LOOKS = st.tuples(
    st.sampled_from(["a", "b", "B", "é", "z"]),
    st.integers(0, 2),
    st.sampled_from([VmState.VM_STATE_ACTIVE, VmState.VM_STATE_STOPPED]),
    st.sampled_from([("", None), ("host1", 1), ("host1", 2), ("host2", None)]),
)
_KEYS = ["name", "vm_state", "created_at", "host", "launched_at"]


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sort=st.lists(
        st.builds(ServerSort, key=st.sampled_from(_KEYS), descending=st.booleans()),
        max_size=2,
        unique_by=lambda sort: sort.key,
    ),
    staying=st.lists(_LOOKS, max_size=6),
    leaving=st.lists(_LOOKS, max_size=4),
    # What happens after each page: its size, whether somebody leaves, who comes. All of it is drawn beforehand:
    # how many pages there are hangs on ids, which differ from run to run.
    turns=st.lists(st.tuples(st.integers(1, 3), st.booleans(), st.none() | _LOOKS), min_size=12, max_size=12),
)
def test_a_list_read_while_servers_come_and_go(cell: Conductor, sort, staying, leaving, turns):
    """Whoever is there all the time is seen exactly once; nobody is seen twice."""
    project = str(uuid.uuid4())

    def some(*looks: tuple[str, int, int, tuple[str, int | None]]) -> list[Server]:
        servers = []
        for name, created, state, (host, launched) in looks:
            servers.append(made(name, created, project_id=project, vm_state=state, host=host))
            if launched:
                servers[-1].launched_at.seconds = launched
        return servers

    stay, leave = some(*staying), some(*leaving)
    if stay or leave:
        store(cell, *stay, *leave)
    seen: list[str] = []
    after = None
    # Nobody comes once the turns are over, so that the list ends.
    for size, leaves, comes in (*turns, *[(3, False, None)] * 20):
        found = page(cell, sort=sort, size=size, after=after, project_id=project)
        if not found:
            break
        seen.extend(server.id for server in found)
        after = found[-1]
        if leave and leaves:
            remove(cell, leave.pop().id)
        if comes:
            store(cell, *some(comes))
    else:
        raise AssertionError("the list does not end")
    assert len(seen) == len(set(seen))
    assert {server.id for server in stay} <= set(seen)


def remove(cell: Conductor, server_id: str) -> None:
    def gone(server: Server) -> None:
        server.deleted_at.CopyFrom(server.updated_at)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server_id, gone))
