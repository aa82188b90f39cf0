"""Conductors that die while a guest is paused, rescued, rebuilt and the like, and those that finish it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from protonova.common.v1.server_pb2 import VmState
from protonova.conductor.v1 import server_pb2
from tests.functional.conductor.test_password import PASSWORD as KEPT_PASSWORD
from tests.functional.conductor.test_password import kept
from tests.functional.conductor.test_power import ACTIVE, idle
from tests.functional.conductor.test_rebuild import IMAGE, on_volume, rebuild
from tests.functional.conductor.test_rescue import rescue, unrescue
from tests.functional.conductor.test_states import act
from tests.functional.conductor.test_takeover import Dying, dying, lose, replica
from tests.support.conductor import Conductor, Edges, new_build, unblocked

__all__ = ["dying", "replica"]  # fixtures

SOFTLY = {"reclaim_instance_interval": 3600}
PAUSED = VmState.VM_STATE_PAUSED
SUSPENDED = VmState.VM_STATE_SUSPENDED
RESCUED = VmState.VM_STATE_RESCUED
SOFT = VmState.VM_STATE_SOFT_DELETED


def delete(cell: Conductor, server_id: str) -> None:
    cell.servers.DeleteServer(server_pb2.DeleteServerRequest(id=server_id))


def restore(cell: Conductor, server_id: str) -> None:
    cell.servers.RestoreServer(server_pb2.RestoreServerRequest(id=server_id))


def named(name: str) -> Callable[[Conductor, str], None]:
    return lambda cell, server_id: act(cell, name, server_id)


# what is done before, and the state then; what is done, the call under way when its conductor dies, the state after
LIVES = {
    "pause": (None, ACTIVE, named("Pause"), "PauseGuest", PAUSED),
    "unpause": (named("Pause"), PAUSED, named("Unpause"), "UnpauseGuest", ACTIVE),
    "suspend": (None, ACTIVE, named("Suspend"), "SuspendGuest", SUSPENDED),
    "resume": (named("Suspend"), SUSPENDED, named("Resume"), "ResumeGuest", ACTIVE),
    "rescue": (None, ACTIVE, rescue, "RescueGuest", RESCUED),
    "unrescue": (rescue, RESCUED, unrescue, "UnrescueGuest", ACTIVE),
    "rebuild": (None, ACTIVE, rebuild, "RebuildGuest", ACTIVE),
    "soft delete": (None, ACTIVE, delete, "StopGuest", SOFT),
    "restore": (delete, SOFT, restore, "StartGuest", ACTIVE),
}


@pytest.mark.parametrize("name", LIVES)
def test_another_replica_finishes_it(replica, edges: Edges, name: str):
    prepare, before, begin, call, after = LIVES[name]
    first = replica(**SOFTLY)
    server = first.boot()
    if prepare is not None:
        prepare(first, server.id)
        first.wait(server.id, lambda s: s.vm_state == before and idle(s))
    gate = edges.guests.gate(call)
    begin(first, server.id)
    unblocked(gate.reached)
    lose(first)
    for run in first.engine.held():
        first.engine.lose(run)
    gate.open.set()
    second = replica(**SOFTLY)
    found = second.wait(server.id, lambda s: s.vm_state == after and idle(s))
    assert not found.HasField("fault")
    generations = [fence.generation for fence in edges.guests.fences]
    assert max(generations) == 2
    if name == "rebuild":
        assert found.image.id == IMAGE.id
        assert KEPT_PASSWORD not in kept(second)


def test_a_rebuild_outlives_its_process(dying: Dying, replica, edges: Edges):
    build = new_build("host1")
    dying.servers.CreateServers(server_pb2.CreateServersRequest(builds=[build]))
    survivor = replica()
    survivor.wait(build.server.id, lambda s: s.vm_state == ACTIVE)
    gate = edges.guests.gate("RebuildGuest")
    rebuild(dying, build.server.id)
    unblocked(gate.reached)
    dying.end(signal.SIGKILL)
    gate.open.set()
    found = survivor.wait(build.server.id, lambda s: s.vm_state == ACTIVE and idle(s))
    assert found.image.id == IMAGE.id
    steps = {fence.step for fence in edges.guests.fences if fence.generation == 2}
    assert steps == {"rebuild_spawning"}


@pytest.mark.parametrize("after", ["create_attachment", "delete_attachment", "reimage"])
def test_a_volume_is_written_over_once_more_and_held_once(replica, edges: Edges, after: str):
    first = replica()
    server, volume_id = on_volume(first, edges)
    inner = getattr(edges.volumes, after)

    def die(*given):
        outcome = inner(*given)
        setattr(edges.volumes, after, inner)
        lose(first)
        for run in first.engine.held():
            first.engine.lose(run)
        return outcome

    setattr(edges.volumes, after, die)
    rebuild(first, server.id, reimage=True)
    second = replica()
    found = second.wait(server.id, lambda s: s.vm_state == ACTIVE and idle(s))
    held = edges.volumes.attachments_between(volume_id, server.id)
    assert held == [device.attachment_id for device in found.block_devices if device.volume_id == volume_id]
    assert edges.volumes.volumes[volume_id].image_properties == {"image_id": IMAGE.id}
