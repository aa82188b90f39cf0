"""Moves at the door of the region: what they refer to, what a resize is charged, and what is carried to the
cell."""

from __future__ import annotations

import pytest

from protonova.api.v1 import migration_pb2 as pb
from protonova.api.v1 import server_pb2 as server_pb
from protonova.api.v1 import transfer_pb2, transfer_pb2_grpc
from protonova.common.v1 import server_pb2 as common
from protonova.common.v1.migration_pb2 import Migration, MigrationType
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, OTHER


@pytest.fixture
def cell(region):
    return region.add_cell(hosts=2)


@pytest.fixture
def server(region, cell):
    """In its cell, and active."""
    answer = region.create()
    region.built(answer)
    made = cell.servers[answer.servers[0].id]
    made.vm_state, made.task_state = common.VM_STATE_ACTIVE, 0
    return made


def resize(region, server, flavor: str, **fields) -> None:
    region.api.moves.ResizeServer(pb.ResizeServerRequest(server_id=server.id, flavor_id=flavor, **fields))


def settle(region, server, migration_id: str, flavor) -> None:
    region.api.moves.SettleServerUsage(
        pb.SettleServerUsageRequest(server_id=server.id, migration_id=migration_id, flavor=flavor)
    )


def used(region) -> tuple[int, int, int]:
    found = region.used()
    return found["instances"], found["cores"], found["ram"]


def test_what_a_cell_is_asked(region, cell, server):
    larger = region.add_flavor("larger", vcpus=4, memory_mb=2048, extra_specs={"hw:numa_nodes": "2"})
    resize(region, server, "larger", auto_disk_config=True)
    (asked,) = cell.moves.requests
    assert (asked.server_id, asked.type) == (server.id, MigrationType.MIGRATION_TYPE_RESIZE)
    assert asked.auto_disk_config
    assert asked.spec.flavor.id == larger.id
    assert asked.spec.flavor.number == 2
    assert len(asked.spec.numa_topology.cells) == 2
    assert (asked.spec.project_id, asked.spec.image.id) == ("project", server.image.id)
    region.api.moves.MigrateServer(pb.MigrateServerRequest(server_id=server.id, host="cell1-host1"))
    asked = cell.moves.requests[-1]
    assert (asked.type, asked.spec.host) == (MigrationType.MIGRATION_TYPE_MIGRATION, "cell1-host1")
    assert (asked.spec.flavor.id, asked.spec.HasField("numa_topology")) == ("small", False)
    region.api.moves.ConfirmResize(pb.ConfirmResizeRequest(server_id=server.id))
    assert cell.moves.requests[-1].server_id == server.id


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"root_gb": 0}, "FLAVOR_TOO_SMALL"),
        ({"memory_mb": 16}, "FLAVOR_TOO_SMALL"),
        ({"disabled": True}, "FLAVOR_NOT_FOUND"),
        ({"extra_specs": {"hw:numa_nodes": "3"}, "vcpus": 4}, "NUMA_INVALID"),
    ],
)
def test_flavors_a_server_does_not_get(region, cell, server, fields, reason):
    server.image.min_memory_mb = 64
    region.add_flavor("other", **fields)
    before = used(region)
    with pytest.raises(errors.InvalidArgument) as refused:
        resize(region, server, "other")
    assert refused.value.reason == reason
    assert cell.moves.requests == []
    assert used(region) == before


def test_the_same_flavor_and_one_there_is_not(region, cell, server):
    for flavor, reason in (("small", "FLAVOR_UNCHANGED"), ("none", "FLAVOR_NOT_FOUND")):
        with pytest.raises(errors.InvalidArgument) as refused:
            resize(region, server, flavor)
        assert refused.value.reason == reason


def test_a_root_disk_that_is_a_volume_has_no_size_of_a_flavor(region, cell, server):
    server.block_devices.add(
        source=common.BLOCK_DEVICE_SOURCE_VOLUME,
        destination=common.BLOCK_DEVICE_DESTINATION_VOLUME,
        boot_index=0,
    )
    region.add_flavor("diskless", root_gb=0)
    resize(region, server, "diskless")
    assert cell.moves.requests[0].spec.boots_from_volume


def test_a_resize_is_charged_for_what_it_has_more(region, cell, server):
    larger = region.add_flavor("larger", vcpus=3, memory_mb=256)
    resize(region, server, "larger")
    migration = cell.moves.requests[0].migration_id
    # More CPUs at once; less memory only when it is sure.
    assert used(region) == (1, 3, 512)
    for _ in range(2):
        settle(region, server, migration, larger)
        assert used(region) == (1, 3, 256)
    region.release(server.id)
    assert used(region) == (0, 0, 0)


def test_a_resize_that_came_to_nothing_is_given_back(region, cell, server):
    small = server.flavor
    region.add_flavor("larger", vcpus=3, memory_mb=1024)
    resize(region, server, "larger")
    assert used(region) == (1, 3, 1024)
    for _ in range(2):
        settle(region, server, cell.moves.requests[0].migration_id, small)
        assert used(region) == (1, 1, 512)


def test_a_server_that_is_deleted_while_it_is_resized(region, cell, server):
    larger = region.add_flavor("larger", vcpus=3, memory_mb=1024)
    resize(region, server, "larger")
    region.release(server.id)
    assert used(region) == (0, 0, 0)
    with pytest.raises(errors.NotFound):
        settle(region, server, cell.moves.requests[0].migration_id, larger)
    assert used(region) == (0, 0, 0)


@pytest.mark.parametrize("limit", [{"cores": 2}, {"ram": 1000}])
def test_no_room_in_the_quota(region, cell, server, limit):
    region.add_flavor("larger", vcpus=3, memory_mb=1024)
    with context.use(ADMIN):
        region.limit(**limit)
    with pytest.raises(errors.QuotaExceeded) as refused:
        resize(region, server, "larger")
    assert refused.value.facts["resource"] == next(iter(limit))
    assert cell.moves.requests == []
    assert used(region) == (1, 1, 512)


def test_what_the_cell_refuses_is_not_charged(region, cell, server):
    region.add_flavor("larger", vcpus=3)
    cell.moves.refuse = errors.FailedPrecondition("Busy.", reason="SERVER_STATE")
    with pytest.raises(errors.FailedPrecondition):
        resize(region, server, "larger")
    assert used(region) == (1, 1, 512)


@pytest.mark.parametrize("known", [True, False])
def test_an_answer_that_was_not_heard(region, server, known):
    """A charge stands if and only if the cell knows the move, whoever learned of that."""
    (cell,) = region.cells
    api = region.add_replica(api__lost_move_seconds=2.0)
    region.add_flavor("larger", vcpus=3)
    away = errors.Unavailable("Away.", reason="SERVICE_UNREACHABLE")
    setattr(cell.moves, "lose" if known else "refuse", away)
    with pytest.raises(errors.Unavailable) as refused:
        api.moves.ResizeServer(pb.ResizeServerRequest(server_id=server.id, flavor_id="larger"))
    assert refused.value.reason == "CELL_UNAVAILABLE"
    assert used(region) == (1, 3, 512)
    operation = region.operations(cell.moves.requests[0].migration_id)[0]
    assert api.engine.wait(operation.id, 10).state == "done"
    assert used(region) == (1, 3 if known else 1, 512)


def test_hosts_that_are_named(region, cell, server):
    server.host = "cell1-host0"
    region.add_cell("cell2")
    for host, reason in (
        ("nowhere", "HOST_NOT_FOUND"),
        ("cell1-host0", "HOST_UNCHANGED"),
        ("cell2-host0", "HOST_IN_OTHER_CELL"),
    ):
        for ask in (
            lambda host=host: region.api.moves.MigrateServer(
                pb.MigrateServerRequest(server_id=server.id, host=host)
            ),
            lambda host=host: region.api.moves.LiveMigrateServer(
                pb.LiveMigrateServerRequest(server_id=server.id, host=host)
            ),
        ):
            with pytest.raises(errors.InvalidArgument) as refused:
                ask()
            assert refused.value.reason == reason
    with pytest.raises(errors.NotFound) as missing:
        region.api.moves.EvacuateServer(pb.EvacuateServerRequest(server_id=server.id, host="nowhere"))
    assert missing.value.reason == "HOST_NOT_FOUND"
    assert cell.moves.requests == []


def test_a_server_that_may_leave_its_cell(region, cell, server):
    """The conductor of its cell is told so, and may be given a host of another one."""
    server.host = "cell1-host0"
    region.add_cell("cell2")
    region.add_flavor("larger", vcpus=3)
    region.api.moves.MigrateServer(
        pb.MigrateServerRequest(server_id=server.id, host="cell2-host0", may_leave_cell=True)
    )
    resize(region, server, "larger", may_leave_cell=True)
    resize(region, server, "larger")
    assert [each.may_leave_cell for each in cell.moves.requests] == [True, True, False]
    assert cell.moves.requests[0].spec.host == "cell2-host0"


def test_a_server_that_was_switched_to_another_cell(region, cell, server):
    """Whoever remembers where it was is told so by the cell that has let it go."""
    other = region.add_cell("cell2")
    replica = region.add_replica()
    for api in (region.api, replica):
        assert api.servers.GetServer(server_pb.GetServerRequest(id=server.id)).server.id == server.id
    transfers = transfer_pb2_grpc.TransferServiceStub(replica.channel)
    switch = transfer_pb2.SwitchServerCellRequest(
        server_id=server.id, from_cell_id=cell.id, to_cell_id=other.id
    )
    other.put(server)
    for _ in range(2):
        transfers.SwitchServerCell(switch)
    cell.drop(server.id)
    for api in (region.api, replica):
        assert api.servers.GetServer(server_pb.GetServerRequest(id=server.id)).server.id == server.id
        api.moves.ConfirmResize(pb.ConfirmResizeRequest(server_id=server.id))
    assert len(other.moves.requests) == 2
    assert cell.moves.requests == []
    switch.from_cell_id, switch.to_cell_id = cell.id, "nowhere"
    with pytest.raises(errors.FailedPrecondition) as refused:
        transfers.SwitchServerCell(switch)
    assert refused.value.reason == "SERVER_IN_OTHER_CELL"
    switch.server_id = "unknown"
    with pytest.raises(errors.NotFound):
        transfers.SwitchServerCell(switch)
    with pytest.raises(errors.InvalidArgument) as unknown:
        transfers.CarryTransfer(transfer_pb2.CarryTransferRequest(cell_id=cell.id, method="Anything"))
    assert unknown.value.reason == "METHOD_UNKNOWN"


def test_passwords_of_evacuated_servers(region, cell, server):
    ask = region.api.moves.EvacuateServer
    made = ask(pb.EvacuateServerRequest(server_id=server.id, host="cell1-host1", force=True)).admin_password
    assert len(made) == 12
    asked = cell.moves.requests[-1]
    assert (asked.admin_password, asked.spec.skip_filters, asked.stop) == (made, True, False)
    assert ask(pb.EvacuateServerRequest(server_id=server.id, admin_password="own")).admin_password == "own"
    assert ask(pb.EvacuateServerRequest(server_id=server.id, on_shared_storage=True)).admin_password == ""
    assert cell.moves.requests[-1].on_shared_storage


def test_migrations_of_all_cells_in_one_order(region, cell, server):
    other = region.add_cell("cell2")
    for number, home in enumerate((cell, other, cell, other)):
        home.moves.migrations.insert(
            0,
            common_migration(home, number, "project" if number else "elsewhere", server.id),
        )
    with context.use(ADMIN):
        listing = region.api.moves.ListMigrations
        everything = listing(pb.ListMigrationsRequest()).migrations
        assert [each.created_at.seconds for each in everything] == [3, 2, 1, 0]
        page = listing(pb.ListMigrationsRequest(page_size=2)).migrations
        assert [each.created_at.seconds for each in page] == [3, 2]
        following = listing(pb.ListMigrationsRequest(page_size=2, page_token=page[-1].id)).migrations
        assert [each.created_at.seconds for each in following] == [1, 0]
        with pytest.raises(errors.InvalidArgument) as refused:
            listing(pb.ListMigrationsRequest(page_token="none"))
        assert refused.value.reason == "MARKER_NOT_FOUND"
        other.stop()
        assert [each.created_at.seconds for each in listing(pb.ListMigrationsRequest()).migrations] == [2, 0]
    own = region.api.moves.ListMigrations(pb.ListMigrationsRequest()).migrations
    assert [each.created_at.seconds for each in own] == [2]
    with pytest.raises(errors.InvalidArgument):
        region.api.moves.ListMigrations(pb.ListMigrationsRequest(page_token=everything[-1].id))


def common_migration(cell, number: int, project: str, server_id: str):
    return Migration(
        id=f"00000000-0000-4000-8000-{number:012}",
        number=number + 1,
        server_id=server_id,
        project_id=project,
        created_at={"seconds": number},
    )


def test_one_migration(region, cell, server):
    region.api.moves.MigrateServer(pb.MigrateServerRequest(server_id=server.id))
    found = region.api.moves.GetMigration(pb.GetMigrationRequest(server_id=server.id, number=1)).migration
    assert found.server_id == server.id
    with pytest.raises(errors.NotFound) as missing:
        region.api.moves.GetMigration(pb.GetMigrationRequest(server_id=server.id, number=7))
    assert missing.value.reason == "MIGRATION_NOT_FOUND"
    with context.use(OTHER), pytest.raises(errors.NotFound) as hidden:
        region.api.moves.GetMigration(pb.GetMigrationRequest(server_id=server.id, number=1))
    assert hidden.value.reason == "SERVER_NOT_FOUND"


def test_what_is_being_built_does_not_move(region):
    server = region.create().servers[0]
    with pytest.raises(errors.FailedPrecondition) as refused:
        resize(region, server, "small")
    assert refused.value.reason == "SERVER_STATE"
    with pytest.raises(errors.NotFound) as missing:
        region.api.moves.GetMigration(pb.GetMigrationRequest(server_id=server.id, number=1))
    assert missing.value.reason == "MIGRATION_NOT_FOUND"
