"""The server feed and the history of servers."""

from __future__ import annotations

import contextlib
import uuid

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1.server_pb2 import Server, VmState
from protonova.common.v1.server_query_pb2 import ServerFilter
from protonova.conductor.v1 import server_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import STOPPED, start, stop
from tests.support.conductor import SECONDS, Conductor, Edges, as_user, new_server


def store(cell: Conductor, **fields) -> Server:
    server = new_server(vm_state="VM_STATE_ACTIVE", **fields)
    cell.store(server)
    return server


def alter(cell: Conductor, server: Server, **fields) -> None:
    def change(changed: Server) -> None:
        for name, value in fields.items():
            setattr(changed, name, value)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, change))


def end(cell: Conductor, server: Server) -> None:
    def gone(changed: Server) -> None:
        changed.deleted_at.CopyFrom(changed.updated_at)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, gone))


@contextlib.contextmanager
def watching(cell: Conductor, revision: int = 0, **query):
    request = pb.WatchServersRequest(filter=ServerFilter(**query), resume_revision=revision)
    stream = cell.servers.WatchServers(request, timeout=SECONDS)
    yield stream
    stream.cancel()


def snapshot(stream) -> set[str]:
    found = set()
    for change in stream:
        kind = change.WhichOneof("change")
        if kind == "snapshot_end":
            return found
        assert kind == "server"
        found.add(change.server.id)
    raise AssertionError("The feed ended.")


def test_a_snapshot_then_changes(cell: Conductor):
    mine, other = store(cell), store(cell, project_id="elsewhere")
    gone = store(cell)
    end(cell, gone)
    with watching(cell, project_id="project") as stream:
        assert snapshot(stream) == {mine.id}
        alter(cell, other, name="not told")
        alter(cell, mine, name="told")
        change = next(stream)
        assert (change.server.id, change.server.name) == (mine.id, "told")
        later = store(cell)
        assert next(stream).server.id == later.id
        end(cell, mine)
        last = next(stream)
        assert last.deleted_server_id == mine.id
    assert last.revision > change.revision > 0


def test_who_matches_no_longer_is_gone(cell: Conductor):
    server = store(cell)
    with watching(cell, vm_states=[VmState.VM_STATE_ACTIVE]) as stream:
        assert snapshot(stream) == {server.id}
        alter(cell, server, vm_state=VmState.VM_STATE_STOPPED)
        assert next(stream).deleted_server_id == server.id
        alter(cell, server, name="nobody is told")
        alter(cell, server, vm_state=VmState.VM_STATE_ACTIVE)
        assert next(stream).server.name == "nobody is told"


def test_resuming_misses_nothing_and_tells_nobody_of_others(cell: Conductor):
    first, second, other = store(cell), store(cell), store(cell, project_id="elsewhere")
    with watching(cell, project_id="project") as stream:
        assert snapshot(stream) == {first.id, second.id}
        alter(cell, first, name="seen")
        revision = next(stream).revision
    alter(cell, second, name="missed")
    end(cell, first)
    end(cell, other)
    with watching(cell, revision, project_id="project") as stream:
        changes = [next(stream), next(stream)]
    assert {change.WhichOneof("change") for change in changes} == {"server", "deleted_server_id"}
    assert {change.server.id or change.deleted_server_id for change in changes} == {first.id, second.id}


def test_a_filter_that_means_nothing(cell: Conductor):
    with pytest.raises(errors.InvalidArgument) as caught, watching(cell, ip_v4_regex="[") as stream:
        next(stream)
    assert caught.value.reason == "FILTER_INVALID"


def history(cell: Conductor, server_id: str, **fields):
    return list(
        cell.servers.ListServerActions(pb.ListServerActionsRequest(server_id=server_id, **fields)).actions
    )


def test_the_history_of_a_server(cell: Conductor, edges: Edges):
    with as_user(request_id="req-0"):
        server = cell.boot()
    for number in range(1, 5):
        with as_user(request_id=f"req-{number}"):
            (stop if number % 2 else start)(cell, server.id)
        wanted = STOPPED if number % 2 else VmState.VM_STATE_ACTIVE
        cell.wait(server.id, lambda s, wanted=wanted: s.vm_state == wanted)
    actions = history(cell, server.id)
    assert [action.request_id for action in actions] == ["req-4", "req-3", "req-2", "req-1", "req-0"]
    assert [action.action for action in actions] == ["start", "stop", "start", "stop", "create"]
    assert all(action.user_id == "user" and action.project_id == "project" for action in actions)
    assert all(not action.events for action in actions)

    assert [a.request_id for a in history(cell, server.id, page_size=2)] == ["req-4", "req-3"]
    paged = history(cell, server.id, page_size=2, page_token="req-3")
    assert [a.request_id for a in paged] == ["req-2", "req-1"]
    since = history(cell, server.id, changed_since=actions[1].updated_at)
    assert [a.request_id for a in since] == ["req-4", "req-3"]
    assert history(cell, server.id, changed_before=Timestamp(seconds=1)) == []


def test_a_history_that_is_not_there(cell: Conductor):
    server = store(cell)
    assert history(cell, server.id) == []
    with pytest.raises(errors.NotFound) as caught:
        history(cell, str(uuid.uuid4()))
    assert caught.value.reason == "SERVER_NOT_FOUND"
    with pytest.raises(errors.InvalidArgument) as unknown:
        history(cell, server.id, page_token="req-x")
    assert unknown.value.reason == "MARKER_NOT_FOUND"
    with pytest.raises(errors.NotFound) as missing:
        cell.servers.GetServerAction(pb.GetServerActionRequest(server_id=server.id, request_id="req-x"))
    assert missing.value.reason == "ACTION_NOT_FOUND"
    end(cell, server)
    with pytest.raises(errors.NotFound):
        history(cell, server.id)
    assert history(cell, server.id, include_deleted=True) == []
