"""Changes of a server's own description: fields, lock, metadata, tags."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import LockHolder, Server, VmState
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import server_pb2 as pb
from protonova.services.runtime import errors
from tests.support.conductor import Conductor, as_user, new_server


@pytest.fixture
def server(cell: Conductor) -> Server:
    server = new_server(
        vm_state="VM_STATE_ACTIVE",
        host="host1",
        description="old",
        pinned_availability_zone="nova",
        metadata={"a": "1", "b": "2"},
        tags=["blue", "red"],
        launched_at={"seconds": 1},
    )
    cell.store(server)
    return cell.get(server.id)


def update(cell: Conductor, server_id: str, *paths: str, **fields) -> Server:
    request = pb.UpdateServerRequest(server=Server(id=server_id, **fields))
    request.update_mask.paths.extend(paths)
    return cell.servers.UpdateServer(request).server


def metadata(cell: Conductor, server: Server, items: dict, **options) -> dict:
    request = pb.UpdateServerMetadataRequest(id=server.id, metadata=items, **options)
    return dict(cell.servers.UpdateServerMetadata(request).metadata)


def tags(cell: Conductor, server: Server, **change):
    return cell.servers.UpdateServerTags(pb.UpdateServerTagsRequest(id=server.id, **change))


def tagged(cell: Conductor, tag: str) -> list[str]:
    request = pb.ListServersRequest(filter=ServerFilter(tags_any=[tag]), page_size=10)
    return [server.id for server in cell.servers.ListServers(request).servers]


def test_what_the_mask_names_is_changed(cell: Conductor, server: Server):
    after = update(
        cell,
        server.id,
        "name",
        "hostname",
        "access_ip_v4",
        "auto_disk_config",
        name="new",
        hostname="new-host",
        access_ip_v4="192.0.2.7",
        auto_disk_config=True,
        description="not in the mask",
    )
    assert (after.name, after.hostname, after.access_ip_v4, after.auto_disk_config) == (
        "new",
        "new-host",
        "192.0.2.7",
        True,
    )
    assert after.description == "old"
    assert after.generation == server.generation + 1
    assert after.updated_at.ToNanoseconds() > server.updated_at.ToNanoseconds()
    assert after.created_at == server.created_at
    assert after == cell.get(server.id)


def test_optional_fields_can_be_cleared(cell: Conductor, server: Server):
    after = update(cell, server.id, "description", "pinned_availability_zone")
    assert not after.HasField("description")
    assert not after.HasField("pinned_availability_zone")
    assert update(cell, server.id, "description", description="").HasField("description")


def test_nothing_changed_is_nothing_written(cell: Conductor, server: Server):
    assert update(cell, server.id, "name", name=server.name) == server


@pytest.mark.parametrize("path", ["host", "vm_state", "nonsense"])
def test_other_fields_are_not_changed_this_way(cell: Conductor, server: Server, path: str):
    with pytest.raises(errors.InvalidArgument) as caught:
        update(cell, server.id, path)
    assert caught.value.reason == "FIELD_NOT_CHANGEABLE"


def test_lock_and_unlock_are_remembered(cell: Conductor, server: Server):
    with as_user(request_id="req-lock"):
        locked = update(
            cell,
            server.id,
            "locked_by",
            "locked_reason",
            locked_by=LockHolder.LOCK_HOLDER_OWNER,
            locked_reason="mine",
        )
    assert (locked.locked_by, locked.locked_reason) == (LockHolder.LOCK_HOLDER_OWNER, "mine")
    unlocked = update(cell, server.id, "locked_by")
    assert (unlocked.locked_by, unlocked.locked_reason) == (LockHolder.LOCK_HOLDER_UNSPECIFIED, "")
    actions = cell.servers.ListServerActions(pb.ListServerActionsRequest(server_id=server.id)).actions
    assert [action.action for action in actions] == ["unlock", "lock"]
    assert (actions[1].request_id, actions[1].user_id, actions[1].message) == ("req-lock", "user", "")


def test_no_such_server(cell: Conductor):
    missing = new_server()
    for call in (
        lambda: update(cell, missing.id, "name", name="x"),
        lambda: metadata(cell, missing, {}),
        lambda: tags(cell, missing, add=["x"]),
        lambda: cell.servers.DeleteServerMetadataItem(
            pb.DeleteServerMetadataItemRequest(id=missing.id, key="a")
        ),
    ):
        with pytest.raises(errors.NotFound) as caught:
            call()
        assert caught.value.reason == "SERVER_NOT_FOUND"


def test_metadata(cell: Conductor, server: Server):
    assert metadata(cell, server, {"b": "3", "c": "4"}) == {"a": "1", "b": "3", "c": "4"}
    assert metadata(cell, server, {"z": "9"}, replace=True) == {"z": "9"}
    cell.servers.DeleteServerMetadataItem(pb.DeleteServerMetadataItemRequest(id=server.id, key="z"))
    assert dict(cell.get(server.id).metadata) == {}
    with pytest.raises(errors.NotFound) as caught:
        cell.servers.DeleteServerMetadataItem(pb.DeleteServerMetadataItemRequest(id=server.id, key="z"))
    assert caught.value.reason == "METADATA_NOT_FOUND"


def test_metadata_has_a_limit(cell: Conductor, server: Server):
    assert metadata(cell, server, {"c": "3"}, max_items=3)
    with pytest.raises(errors.QuotaExceeded) as caught:
        metadata(cell, server, {"d": "4"}, max_items=3)
    assert caught.value.reason == "QUOTA_EXCEEDED"
    assert caught.value.facts["resource"] == "metadata_items"
    assert len(cell.get(server.id).metadata) == 3


def test_tags(cell: Conductor, server: Server):
    answer = tags(cell, server, add=["blue", "amber"])
    assert (list(answer.tags), list(answer.added)) == (["amber", "blue", "red"], ["amber"])
    assert tagged(cell, "amber") == [server.id]
    answer = tags(cell, server, remove=["red"])
    assert (list(answer.tags), list(answer.added)) == (["amber", "blue"], [])
    assert tagged(cell, "red") == []
    answer = tags(cell, server, replace=True, add=["blue", "Blue"])
    assert (list(answer.tags), list(answer.added)) == (["Blue", "blue"], ["Blue"])
    assert list(tags(cell, server, replace=True).tags) == []
    assert tagged(cell, "blue") == []
    with pytest.raises(errors.NotFound) as caught:
        tags(cell, server, remove=["blue"])
    assert caught.value.reason == "TAG_NOT_FOUND"


def test_too_many_tags(cell: Conductor, server: Server):
    tags(cell, server, replace=True, add=[f"tag{number}" for number in range(50)])
    with pytest.raises(errors.InvalidArgument) as caught:
        tags(cell, server, add=["one more"])
    assert caught.value.reason == "TOO_MANY_TAGS"
    assert len(cell.get(server.id).tags) == 50


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({"vm_state": VmState.VM_STATE_BUILDING}, {"metadata": "SERVER_STATE", "tags": "SERVER_STATE"}),
        ({"locked_by": LockHolder.LOCK_HOLDER_ADMIN}, {"metadata": "SERVER_LOCKED"}),
    ],
)
def test_state_and_lock(cell: Conductor, server: Server, fields: dict, refused: dict):
    def alter(changed: Server) -> None:
        for name, value in fields.items():
            setattr(changed, name, value)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, alter))
    calls = {
        "metadata": lambda: metadata(cell, server, {"x": "y"}),
        "tags": lambda: tags(cell, server, add=["x"]),
    }
    with as_user():
        for name, call in calls.items():
            if name not in refused:
                call()
                continue
            with pytest.raises(errors.FailedPrecondition) as caught:
                call()
            assert caught.value.reason == refused[name]
