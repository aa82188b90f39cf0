"""Calls that go on to the server's cell, and who may see which server."""

import pytest

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, OTHER


@pytest.fixture
def server(region):
    """One that its cell has."""
    cell = region.add_cell()
    answer = region.create()
    region.built(answer)
    server = cell.servers[answer.servers[0].id]
    server.vm_state, server.task_state = common.VM_STATE_ACTIVE, common.TASK_STATE_UNSPECIFIED
    return server


def test_every_call_reaches_the_cell(region, server):
    calls = region.api.servers
    calls.StopServer(pb.StopServerRequest(id=server.id))
    assert region.get(server.id).vm_state == common.VM_STATE_STOPPED
    calls.StartServer(pb.StartServerRequest(id=server.id))
    assert region.get(server.id).vm_state == common.VM_STATE_ACTIVE
    calls.RebootServer(pb.RebootServerRequest(id=server.id, hard=True))
    calls.RebootServer(pb.RebootServerRequest(id=server.id))
    gates = region.cells[0].gates
    assert (gates.calls["hard"], gates.calls["soft"]) == (1, 1)
    console = calls.GetConsoleOutput(pb.GetConsoleOutputRequest(id=server.id, length=3))
    assert console.output == b"web says hello"
    update = pb.UpdateServerRequest(server=common.Server(id=server.id, name="renamed"))
    update.update_mask.paths.append("name")
    assert calls.UpdateServer(update).server.name == "renamed"
    merged = calls.UpdateServerMetadata(pb.UpdateServerMetadataRequest(id=server.id, metadata={"a": "1"}))
    assert dict(merged.metadata) == {"a": "1"}
    assert gates.calls["max_items"] == 128
    calls.DeleteServerMetadataItem(pb.DeleteServerMetadataItemRequest(id=server.id, key="a"))
    with pytest.raises(errors.NotFound) as raised:
        calls.DeleteServerMetadataItem(pb.DeleteServerMetadataItemRequest(id=server.id, key="a"))
    assert raised.value.reason == "METADATA_NOT_FOUND"
    tags = calls.UpdateServerTags(pb.UpdateServerTagsRequest(id=server.id, add=["x", "y"]))
    assert (list(tags.tags), list(tags.added)) == (["x", "y"], ["x", "y"])
    [action] = calls.ListServerActions(pb.ListServerActionsRequest(server_id=server.id)).actions
    assert action.request_id == "req-cell"
    shown = calls.GetServerAction(pb.GetServerActionRequest(server_id=server.id, request_id="req-cell"))
    assert shown.action == action
    region.delete(server.id)
    with pytest.raises(errors.NotFound):
        region.get(server.id)


def test_what_a_cell_refuses_comes_through(region, server):
    region.api.servers.StopServer(pb.StopServerRequest(id=server.id))
    with pytest.raises(errors.FailedPrecondition) as raised:
        region.api.servers.StopServer(pb.StopServerRequest(id=server.id))
    assert (raised.value.reason, raised.value.facts["value"]) == ("SERVER_STATE", "stopped")


def test_metadata_beyond_the_quota(region, server):
    region.limit(metadata_items=1)
    request = pb.UpdateServerMetadataRequest(id=server.id, metadata={"a": "1", "b": "2"})
    with pytest.raises(errors.QuotaExceeded) as raised:
        region.api.servers.UpdateServerMetadata(request)
    assert raised.value.facts["resource"] == "metadata_items"


def test_servers_of_other_projects_are_not_there(region, server):
    for caller in (OTHER, ADMIN):
        with context.use(caller):
            if caller.is_admin:
                assert region.get(server.id).id == server.id
                continue
            for call in (
                lambda: region.get(server.id),
                lambda: region.delete(server.id),
                lambda: region.api.servers.StopServer(pb.StopServerRequest(id=server.id)),
                lambda: region.api.servers.ListServerActions(
                    pb.ListServerActionsRequest(server_id=server.id)
                ),
            ):
                with pytest.raises(errors.NotFound) as raised:
                    call()
                assert raised.value.reason == "SERVER_NOT_FOUND"
    with pytest.raises(errors.NotFound):
        region.get("no-such-server")


def test_a_silent_cell_says_so_or_is_told_of_in_part(region, server):
    [cell] = region.cells
    cell.stop()
    with pytest.raises(errors.Unavailable) as raised:
        region.get(server.id)
    assert (raised.value.reason, raised.value.facts["cell_id"]) == ("CELL_UNAVAILABLE", cell.id)
    partial = region.get(server.id, allow_partial=True)
    assert partial.partial
    assert (partial.id, partial.flavor.id, partial.image.name) == (server.id, "small", "cirros")
    assert (partial.project_id, partial.user_id, partial.cell_id) == ("project", "user", cell.id)
    assert (partial.created_at, partial.name) == (server.created_at, "")
    cell.start()
    region.until(lambda: not region.get(server.id, allow_partial=True).partial)


def test_a_cell_that_moves_is_found(region, server):
    [cell] = region.cells
    cell.stop()
    cell._listen = "127.0.0.1:0"
    cell.start()
    from protonova.api.v1 import cell_pb2

    moved = cell_pb2.Cell(id=cell.id, name=cell.name, conductor_target=cell.target)
    region.api.cells.RegisterCell(cell_pb2.RegisterCellRequest(cell=moved))
    assert region.get(server.id).id == server.id


def test_a_release_gives_back_once(any_region):
    region = any_region
    region.add_cell()
    answer = region.create(min_count=2)
    region.built(answer)
    ids = [server.id for server in answer.servers]
    region.release(ids[0], "unknown")
    region.release(*ids[:1])
    assert region.used()["instances"] == 1
    region.release(*ids)
    assert {name: region.used()[name] for name in ("instances", "cores", "ram")} == {
        "instances": 0,
        "cores": 0,
        "ram": 0,
    }
