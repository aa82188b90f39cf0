"""The conductor as a process: its place in the region, its schema, its operations for operators."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from protonova.common.v1 import operation_pb2 as pb
from protonova.common.v1.operation_pb2 import OperationState
from protonova.common.v1.server_pb2 import NetworkRequest
from protonova.services.conductor import main, tables
from protonova.services.runtime import config, errors, migration
from protonova.services.runtime.database import Database
from tests.functional.conductor.test_create import is_active, is_error
from tests.support.conductor import LOOPBACK, Conductor, Edges, new_build, unblocked
from tests.support.databases import EVERY, fresh


def test_the_cell_makes_itself_known(tmp_path, edges: Edges):
    edges.cells.errors = [errors.Unavailable("Not yet.")]
    conductor = Conductor(tmp_path, edges, conductor__listen=LOOPBACK, cell__name="cell7")
    unblocked(edges.cells.registered)
    (known,) = edges.cells.cells.values()
    assert (known.name, known.conductor_target) == ("cell7", conductor.server.address)
    assert known.id == conductor.cell.id
    edges.cells.registered.clear()
    edges.cells.cells.clear()
    unblocked(edges.cells.registered)
    assert edges.cells.cells.keys() == {known.id}
    conductor.close()


def test_a_cell_says_where_it_is_to_be_reached(tmp_path, edges: Edges):
    conductor = Conductor(
        tmp_path,
        edges,
        conductor__target="conductors.example:8781",
        cell__id="11111111-1111-1111-1111-111111111111",
    )
    unblocked(edges.cells.registered)
    (known,) = edges.cells.cells.values()
    assert known.id == "11111111-1111-1111-1111-111111111111"
    assert known.conductor_target == "conductors.example:8781"
    conductor.close()


@pytest.mark.parametrize("kind", EVERY)
def test_the_schema_is_what_the_code_expects(tmp_path, kind: str):
    for url in fresh(kind, tmp_path):
        db = Database(url, metadata=tables.metadata)
        assert migration.upgrade(db, main.MIGRATIONS)
        assert not migration.upgrade(db, main.MIGRATIONS)
        db.close()
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = [
                item
                for item in compare_metadata(context, tables.metadata)
                if not (item[0] == "remove_table" and item[1].name == "alembic_version")
            ]
        engine.dispose()
        assert differences == []


@pytest.mark.parametrize("kind", EVERY[1:])
def test_a_server_lives_on_every_database(tmp_path, edges: Edges, kind: str):
    """On SQLite all other tests say the same."""
    from tests.functional.conductor.test_delete import assert_nothing_left, delete

    for url in fresh(kind, tmp_path):
        conductor = Conductor(tmp_path, edges, url)
        conductor.report("host1", "host2")
        network = edges.networks.add_network("private")
        edges.guests.fail("SpawnGuest", errors.FailedPrecondition("No.", reason="HOST_REFUSES"))
        build = new_build("host1", "host2", networks=[NetworkRequest(network_id=network.id)])
        server = conductor.boot(build)
        assert server.host == "host2"
        delete(conductor, server.id)
        conductor.wait_gone(server.id)
        assert_nothing_left(edges, server.id)
        conductor.close()


def test_many_servers_at_once(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    builds = [
        new_build(f"host{number % 3 + 1}", networks=[NetworkRequest(network_id=network.id)])
        for number in range(40)
    ]
    cell.create(*builds)
    for build in builds:
        cell.wait(build.server.id, is_active)
    assert len(edges.guests.guests) == 40
    assert len(edges.networks.ports) == 40


@pytest.fixture
def stuck(tmp_path, edges: Edges):
    """A build whose undoing cannot go on."""
    conductor = Conductor(tmp_path, edges, conductor__cleanup_timeout=1.0)
    conductor.report("host1")
    edges.guests.always_fail("SpawnGuest", errors.FailedPrecondition("No.", reason="HOST_REFUSES"))
    edges.allocations.errors = [errors.Internal("Confused.")] * 200
    build = new_build("host1", "host1")
    conductor.create(build)
    yield conductor, build.server.id
    conductor.close()


def operation(conductor: Conductor, server_id: str) -> pb.Operation:
    found = conductor.operations.ListOperations(pb.ListOperationsRequest(subject=server_id)).operations
    return found[0]


def wait_stuck(conductor: Conductor, server_id: str) -> pb.Operation:
    found = operation(conductor, server_id)
    assert conductor.engine.wait(found.id, 15).state == "stuck"
    return operation(conductor, server_id)


def test_operators_see_what_is_stuck_and_let_it_go_on(stuck, edges: Edges):
    conductor, server_id = stuck
    found = wait_stuck(conductor, server_id)
    assert found.state == OperationState.OPERATION_STATE_STUCK
    assert (found.kind, found.step) == ("create", "claim")
    assert "Confused." in found.error
    listed = conductor.operations.ListOperations(
        pb.ListOperationsRequest(states=[OperationState.OPERATION_STATE_STUCK])
    ).operations
    assert [item.id for item in listed] == [found.id]
    edges.allocations.errors.clear()
    edges.guests._always.clear()
    conductor.operations.RetryOperation(pb.RetryOperationRequest(id=found.id))
    assert conductor.wait(server_id, is_active).host == "host1"
    with pytest.raises(errors.FailedPrecondition) as caught:
        conductor.operations.RetryOperation(pb.RetryOperationRequest(id=found.id))
    assert caught.value.reason == "OPERATION_NOT_STUCK"


def test_operators_give_up_what_is_stuck(stuck):
    conductor, server_id = stuck
    found = wait_stuck(conductor, server_id)
    ended = conductor.operations.GiveUpOperation(pb.GiveUpOperationRequest(id=found.id)).operation
    assert ended.state == OperationState.OPERATION_STATE_FAILED
    assert ended.finished_at.seconds
    server = conductor.wait(server_id, is_error)
    assert server.fault.message.startswith("No valid host was found.")


def test_lists_of_operations_page(cell: Conductor):
    servers = [cell.boot() for _ in range(3)]
    first = cell.operations.ListOperations(pb.ListOperationsRequest(page_size=2))
    second = cell.operations.ListOperations(
        pb.ListOperationsRequest(page_size=2, page_token=first.next_page_token)
    )
    subjects = [item.subject for item in (*first.operations, *second.operations)]
    assert subjects == [server.id for server in reversed(servers)]
    assert second.next_page_token == ""
    with pytest.raises(errors.InvalidArgument):
        cell.operations.ListOperations(pb.ListOperationsRequest(page_token="x"))
    with pytest.raises(errors.NotFound) as caught:
        cell.operations.GetOperation(pb.GetOperationRequest(id="x"))
    assert caught.value.reason == "OPERATION_NOT_FOUND"


def test_the_options_an_operator_may_set():
    groups = dict(config.list_opts())
    assert {"guest_timeout", "registration_interval"} <= {option.name for option in groups["conductor"]}
    assert {"instance_name_template", "shutdown_timeout"} <= {option.name for option in groups["DEFAULT"]}
