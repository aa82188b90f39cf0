"""The deletion of a server: guest, ports, volumes, what it holds in placement, its place in the region, its row.

It preempts whatever is done to the server and expects any half-done state, so each step looks at the services
themselves for what there is of the server, not at the record alone.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Connection

from protonova.api.v1 import server_pb2 as api_pb2
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.conductor import actions, faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, claim, network, volume
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.servers.store import remove_tags
from protonova.services.conductor.states import IDLE
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Guest(Step):
    name = "guest"
    event = "compute_terminate_instance"

    def __init__(self, cell: Cell) -> None:
        # Long enough to see that a host which does not answer is down.
        super().__init__(timeout=cell.conf.conductor.guest_timeout + cell.conf.service_down_time)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["host"])

    def do(self, run: Run) -> Outcome:
        host = run.payload["host"]
        agent.destroy(self._cell, run, host)
        return Outcome(host=host)


class Ports(Step):
    name = "ports"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["ports"])

    def do(self, run: Run) -> Outcome | None:
        server, build = self._cell.db.read(
            lambda c: (self._cell.servers.get(c, run.subject), building.find(c, run.subject))
        )
        kept = {interface.port_id for interface in server.interfaces if not interface.created_for_server}
        network.release_ports(self._cell, server.id, kept | network.kept_ports(build))
        return None


class Volumes(Step):
    name = "volumes"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["volumes"])

    def do(self, run: Run) -> Outcome | None:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        volume.detach_volumes(self._cell, server.id)
        for device in server.block_devices:
            if device.volume_id and device.delete_on_termination:
                self._cell.outside.volumes.delete(device.volume_id)
            elif volume.made_unrecorded(device):
                volume.delete_made_volume(self._cell, server.id, device)
        return None


class Release(Step):
    """The last one: nobody can find the server any more once the api service has let it go."""

    name = "release"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        claim.release_claims(cell, run.subject)
        cell.outside.api.ReleaseServers(api_pb2.ReleaseServersRequest(server_ids=[run.subject]))

        def apply(connection: Connection) -> None:
            building.forget(connection, run.subject)
            server = cell.servers.write(connection, run.subject, _gone)
            remove_tags(connection, server.id, server.tags)
            cell.servers.tell(connection, server)

        return Outcome(apply=apply)


class Delete(Kind):
    name = "delete"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Guest(cell), Ports(cell), Volumes(cell), Release(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """What is deleted stays deleted; the rest is for another try."""

        def alter(server: Server) -> None:
            actions.settle(actions.DELETE, server, vm_state=VmState.VM_STATE_ERROR)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


def _gone(server: Server) -> None:
    server.vm_state = VmState.VM_STATE_DELETED
    server.task_state = IDLE
    server.power_state = PowerState.POWER_STATE_UNSPECIFIED
    server.terminated_at.CopyFrom(server.updated_at)
    server.deleted_at.CopyFrom(server.updated_at)


def payload(connection: Connection, server: Server) -> dict[str, Any]:
    """What a deletion is about, as it stands when the deletion begins: whatever it preempts commits no more."""
    build = building.find(connection, server.id)
    return {
        "host": server.host,
        "ports": bool(server.interfaces) or (build is not None and building.needs_ports(build)),
        "volumes": building.needs_volumes(server),
    }
