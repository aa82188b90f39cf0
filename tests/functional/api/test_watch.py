"""The server feeds of all cells as one stream."""

import threading
from queue import Queue

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import MEMBER, OTHER, PATIENCE


class Watcher:
    def __init__(self, region, token="", caller=MEMBER):
        with context.use(caller):
            self._stream = region.api.servers.WatchServers(pb.WatchServersRequest(resume_token=token))
        self._events = Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        try:
            for event in self._stream:
                self._events.put(event)
        except errors.Error as error:
            self._events.put(error)

    def next(self):
        return self._events.get(timeout=PATIENCE)

    def until_end(self):
        seen = []
        while (event := self.next()).WhichOneof("change") != "snapshot_end":
            seen.append(event)
        return seen, event.resume_token

    def until(self, condition):
        while not condition(event := self.next()):
            pass
        return event

    def leave(self):
        self._stream.cancel()


def server(server_id, **fields):
    return common.Server(id=server_id, **{"project_id": "project", **fields})


def test_a_snapshot_of_all_then_every_change(region):
    cells = [region.add_cell("one"), region.add_cell("two")]
    for cell in cells:
        cell.put(server(f"in-{cell.name}"))
    watcher = Watcher(region)
    seen, token = watcher.until_end()
    assert {event.server.id for event in seen} == {"in-one", "in-two"}
    cells[1].put(server("new"))
    assert watcher.next().server.id == "new"
    cells[0].drop("in-one")
    gone = watcher.next()
    assert gone.deleted_server_id == "in-one"
    watcher.leave()
    cells[0].put(server("later"))
    resumed = Watcher(region, gone.resume_token)
    assert resumed.next().server.id == "later"
    resumed.leave()
    again = Watcher(region, token)
    assert {again.next().WhichOneof("change") for _ in range(3)} == {"server", "deleted_server_id"}
    again.leave()


def test_a_build_is_seen_from_its_acceptance_to_its_cell(region):
    region.add_cell()
    watcher = Watcher(region)
    assert watcher.until_end()[0] == []
    server_id = region.create().servers[0].id
    seen = []
    watcher.until(lambda event: seen.append(event) or event.server.host)
    assert seen[0].server.task_state == common.TASK_STATE_SCHEDULING
    assert {event.server.id for event in seen} == {server_id}
    watcher.leave()


def test_a_failed_build_and_its_deletion_are_told(region):
    watcher = Watcher(region)
    watcher.until_end()
    answer = region.create()
    failed = watcher.until(lambda event: event.server.vm_state == common.VM_STATE_ERROR)
    region.delete(failed.server.id)
    assert watcher.next().deleted_server_id == answer.servers[0].id
    watcher.leave()


def test_cells_that_come_later_or_come_back(region):
    silent = region.add_cell("silent")
    silent.put(server("there"))
    silent.stop()
    watcher = Watcher(region)
    assert watcher.until_end()[0] == []
    silent.start()
    assert watcher.next().server.id == "there"
    late = region.add_cell("late")
    late.put(server("late"))
    assert watcher.until(lambda event: event.server.id == "late")
    watcher.leave()


def test_nothing_of_other_projects_builds_is_told(region):
    region.add_cell()
    watcher = Watcher(region, caller=OTHER)
    watcher.until_end()
    mine = region.create()
    region.claims.room = 0
    region.built(mine)
    with context.use(OTHER):
        theirs = region.create()
    seen = watcher.until(lambda event: event.server.project_id == "elsewhere")
    assert seen.server.id == theirs.servers[0].id
    watcher.leave()


def test_a_token_of_somebody_else(region):
    error = Watcher(region, token="nonsense").next()
    assert (type(error), error.reason) == (errors.InvalidArgument, "RESUME_TOKEN_INVALID")
