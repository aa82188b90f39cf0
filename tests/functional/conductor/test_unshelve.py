"""Shelved servers start again: where they are, or from what they were kept as."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from protonova.common.v1.server_pb2 import NetworkRequest, PowerState, Server, TaskState
from protonova.conductor.v1 import server_image_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.runtime import config, errors
from protonova.services.runtime.server import Server as GrpcServer
from tests.functional.conductor.test_delete import assert_nothing_left, delete
from tests.functional.conductor.test_images import (
    OFFLOADED,
    REFUSAL,
    SHELVED,
    eventually_gone,
    from_volume,
    shelve,
)
from tests.functional.conductor.test_power import ACTIVE, idle
from tests.support.conductor import LOOPBACK, Conductor, Edges, new_build, unblocked
from tests.support.scheduler import Scheduler


@pytest.fixture
def scheduler(edges: Edges) -> Iterator[Scheduler]:
    scheduler = Scheduler(edges.allocations, ["host2", "host3"])
    server = GrpcServer(config.load(files=[]), "scheduler", LOOPBACK)
    server.add(scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server, scheduler)
    server.start()
    scheduler.address = server.address
    yield scheduler
    server.stop(0)


@pytest.fixture
def make(tmp_path: Path, edges: Edges, scheduler: Scheduler):
    made: list[Conductor] = []

    def make(**options) -> Conductor:
        cell = Conductor(tmp_path, edges, scheduler__target=scheduler.address, **options)
        cell.report("host1", "host2", "host3")
        made.append(cell)
        return cell

    yield make
    for cell in made:
        cell.close()


def unshelve(cell: Conductor, server: Server, **fields) -> None:
    spec = RequestSpec(flavor=server.flavor, image=server.image, cell_id=server.cell_id)
    cell.images.UnshelveServer(pb.UnshelveServerRequest(id=server.id, spec=spec, **fields))


def shelved(cell: Conductor, **fields) -> Server:
    server = cell.boot(new_build("host1", **fields))
    shelve(cell, server.id)
    return cell.wait(server.id, lambda s: s.vm_state == OFFLOADED)


def test_one_that_is_still_on_its_host(make, edges: Edges):
    cell = make(shelved_offload_time=-1)
    server = cell.boot()
    shelve(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == SHELVED and idle(s))
    unshelve(cell, server)
    after = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert (after.host, after.power_state, after.shelved_image_id) == (
        "host1",
        PowerState.POWER_STATE_RUNNING,
        "",
    )
    assert not after.HasField("shelved_at")
    eventually_gone(cell, edges)


def test_one_that_has_left(make, edges: Edges):
    cell = make()
    network = edges.networks.add_network("private")
    server = shelved(cell, networks=[NetworkRequest(network_id=network.id)])
    unshelve(cell, server, pinned_availability_zone="zone")
    after = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert (after.host, after.node, after.availability_zone) == ("host2", "host2", "nova")
    assert after.pinned_availability_zone == "zone"
    assert edges.guests.where(server.id) == ["host2"]
    # It is of the image it was before; what it was made of now is only how it was kept.
    assert after.image == server.image
    assert edges.guests.spawned[-1].server.image.id == server.shelved_image_id
    (port,) = edges.networks.ports.values()
    assert (port.host, after.interfaces[0].port_id) == ("host2", port.id)
    assert server.id in edges.allocations.held
    eventually_gone(cell, edges)
    delete(cell, server.id)
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)


def test_one_on_volumes(make, edges: Edges):
    cell = make()
    server = shelved(cell, server=from_volume(edges))
    unshelve(cell, server)
    after = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    (attachment,) = edges.volumes.attachments
    assert attachment == after.block_devices[0].attachment_id
    assert edges.volumes.connected[attachment]["host"] == "host2"
    assert edges.guests.spawned[-1].server.image.id == ""


def test_the_next_host_when_one_refuses(make, edges: Edges, scheduler: Scheduler):
    cell = make()
    server = shelved(cell)
    edges.guests.fail("SpawnGuest", REFUSAL)
    unshelve(cell, server)
    after = cell.wait(server.id, lambda s: s.vm_state == ACTIVE)
    assert after.host == "host3"
    assert edges.guests.where(server.id) == ["host3"]
    assert list(scheduler.requests[-1].spec.ignore_hosts) == ["host2"]


def test_it_stays_kept_when_nobody_takes_it(make, edges: Edges, scheduler: Scheduler):
    cell = make()
    network = edges.networks.add_network("private")
    server = shelved(cell, server=from_volume(edges), networks=[NetworkRequest(network_id=network.id)])
    edges.guests.always_fail("SpawnGuest", REFUSAL)
    unshelve(cell, server)
    after = cell.wait(server.id, lambda s: idle(s) and s.HasField("fault"))
    assert (after.vm_state, after.host) == (OFFLOADED, "")
    assert "No valid host was found" in after.fault.message
    assert edges.guests.where(server.id) == []
    assert server.id not in edges.allocations.held
    (port,) = edges.networks.ports.values()
    assert (port.device_id, port.host) == (server.id, "")
    (attachment,) = edges.volumes.attachments
    assert attachment not in edges.volumes.connected
    assert attachment == after.block_devices[0].attachment_id


def test_deleted_while_it_starts(make, edges: Edges):
    cell = make()
    server = shelved(cell)
    gate = edges.guests.gate("SpawnGuest")
    unshelve(cell, server)
    unblocked(gate.reached)
    assert cell.get(server.id).task_state == TaskState.TASK_STATE_SPAWNING
    delete(cell, server.id)
    gate.open.set()
    cell.wait_gone(server.id)
    assert_nothing_left(edges, server.id)
    eventually_gone(cell, edges)


def test_one_that_is_not_shelved(make):
    cell = make()
    server = cell.boot()
    with pytest.raises(errors.FailedPrecondition) as caught:
        unshelve(cell, server)
    assert caught.value.facts["action"] == "unshelve"
