"""What runs on each host, as watchers of the host feed are told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import host_pb2 as pb
from protonova.services.runtime import errors
from tests.support.conductor import SECONDS, Conductor, Edges, new_build, new_server, node_id
from tests.support.databases import EVERY, fresh

REFUSAL = errors.FailedPrecondition("No room.", reason="HOST_REFUSES")


@pytest.fixture(params=EVERY)
def cell(request, tmp_path, edges: Edges) -> Iterator[Conductor]:
    for url in fresh(request.param, tmp_path):
        conductor = Conductor(tmp_path, edges, url)
        conductor.report("host1", "host2")
        yield conductor
        conductor.close()


class Watcher:
    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.loads: dict[str, pb.HostLoad] = {}
        self.revision = 0
        self.order: list[str] = []

    def until(self, reached: Callable[[dict[str, pb.HostLoad]], object]) -> None:
        """Reads until the loads, by host, are as wanted."""
        while not reached(self.loads):
            self._take(next(self._stream))

    def snapshot(self) -> dict[str, pb.HostLoad]:
        while "snapshot_end" not in self.order:
            self._take(next(self._stream))
        return self.loads

    def _take(self, change: pb.WatchHostsResponse) -> None:
        self.order.append(str(change.WhichOneof("change")))
        self.revision = change.revision or self.revision
        if change.WhichOneof("change") == "load":
            assert change.revision == 0
            name = {node_id(name): name for name in ("host1", "host2", "host3")}[change.load.node_id]
            self.loads[name] = change.load


@contextlib.contextmanager
def watching(cell: Conductor, revision: int = 0) -> Iterator[Watcher]:
    stream = cell.hosts.WatchHosts(pb.WatchHostsRequest(resume_revision=revision), timeout=SECONDS)
    yield Watcher(stream)
    stream.cancel()


def put(cell: Conductor, host: str, **fields: Any) -> Server:
    server = new_server(host=host, **{"vm_state": "VM_STATE_ACTIVE", **fields})
    cell.store(server)
    return server


def change(cell: Conductor, server: Server, **fields: Any) -> None:
    def alter(changed: Server) -> None:
        changed.MergeFrom(Server(**fields))

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, alter))


def test_a_stream_begins_with_the_loads(cell: Conductor):
    put(cell, "host1", image={"id": "image", "properties": {"os_distro": "debian"}})
    put(cell, "host1", task_state="TASK_STATE_IMAGE_SNAPSHOT")
    put(cell, "host1", task_state="TASK_STATE_REBOOTING", flavor={"id": "2", "vcpus": 1})
    put(cell, "host2", vm_state="VM_STATE_BUILDING")
    put(cell, "host2", vm_state="VM_STATE_SHELVED_OFFLOADED")
    put(cell, "host2", deleted_at={"seconds": 1})
    put(cell, "")
    with watching(cell) as watcher:
        loads = watcher.snapshot()
        assert watcher.order == ["host", "host", "load", "load", "snapshot_end"]
    one, two = loads["host1"], loads["host2"]
    assert (one.servers, one.io_operations, one.failed_builds) == (3, 1, 0)
    assert dict(one.flavors) == {"1": 2, "2": 1}
    assert dict(one.image_properties) == {"os_distro=debian": 1}
    assert (two.servers, two.io_operations) == (1, 1)


def test_servers_come_move_and_go(cell: Conductor):
    with watching(cell) as watcher:
        watcher.snapshot()
        server = put(cell, "host1", vm_state="VM_STATE_BUILDING")
        watcher.until(lambda loads: "host1" in loads and loads["host1"].io_operations == 1)
        change(cell, server, vm_state="VM_STATE_ACTIVE")
        watcher.until(lambda loads: loads["host1"].io_operations == 0 and loads["host1"].servers == 1)
        change(cell, server, host="host2")
        watcher.until(lambda loads: loads["host1"].servers == 0 and "host2" in loads)
        assert loads_of(watcher, "host2") == (1, {"1": 1})
        change(cell, server, deleted_at={"seconds": 1})
        watcher.until(lambda loads: loads["host2"].servers == 0)
        assert loads_of(watcher, "host2") == (0, {})


def loads_of(watcher: Watcher, host: str) -> tuple[int, dict[str, int]]:
    return watcher.loads[host].servers, dict(watcher.loads[host].flavors)


def test_another_watcher_and_one_that_resumes_are_told_all(cell: Conductor):
    put(cell, "host1")
    with watching(cell) as first:
        first.snapshot()
    put(cell, "host2")
    with watching(cell, first.revision) as second:
        second.until(lambda loads: len(loads) == 2)
        assert set(second.order) == {"load"}
        # A host nobody has told of yet: first it, then its load.
        put(cell, "host3")
        cell.report("host3")
        second.until(lambda loads: "host3" in loads)
        assert second.order.index("host") < len(second.order) - 1


def test_what_scheduling_needs_of_a_host_is_told(cell: Conductor):
    guest = {"architecture": "x86_64", "hypervisor_type": "kvm", "vm_mode": "hvm"}
    cell.report(
        "host1",
        host_ip="192.0.2.7",
        cpu_info='{"a": 1}',
        metrics={"cpu.percent": 5},
        supported_guests=[guest],
    )
    stream = cell.hosts.WatchHosts(pb.WatchHostsRequest(), timeout=SECONDS)
    state = next(change.host for change in stream if change.host.host == "host1")
    stream.cancel()
    assert (state.host_ip, state.cpu_info, dict(state.metrics)) == (
        "192.0.2.7",
        '{"a": 1}',
        {"cpu.percent": 5.0},
    )
    assert [each.hypervisor_type for each in state.supported_guests] == ["kvm"]


def test_builds_that_a_host_refuses_count_until_one_succeeds(cell: Conductor, edges: Edges):
    edges.guests.fail("SpawnGuest", REFUSAL, "host1", times=2)
    with watching(cell) as watcher:
        watcher.snapshot()
        for count in (1, 2):
            cell.boot(new_build("host1", "host2"))
            watcher.until(
                lambda loads, count=count: "host1" in loads and loads["host1"].failed_builds == count
            )
        with watching(cell) as other:
            assert other.snapshot()["host1"].failed_builds == 2
        cell.boot(new_build("host1"))
        watcher.until(lambda loads: loads["host1"].failed_builds == 0 and loads["host1"].servers == 1)
        assert watcher.loads["host2"].failed_builds == 0


def test_a_failure_that_is_not_the_hosts_does_not_count(cell: Conductor, edges: Edges):
    edges.guests.fail(
        "SpawnGuest", errors.InvalidArgument("Bad image.", reason="IMAGE_UNACCEPTABLE"), "host1"
    )
    build = new_build("host1")
    cell.create(build)
    cell.wait(build.server.id, lambda server: server.HasField("fault"))
    with watching(cell) as watcher:
        assert all(load.failed_builds == 0 for load in watcher.snapshot().values())
