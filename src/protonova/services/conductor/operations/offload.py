"""A shelved server leaves its host: guest, what its ports and volumes know of the host, and its claim go.

Nothing is taken back: each step gives up a little more of what is kept elsewhere already, and a try that failed can
be made again.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.conductor import faults
from protonova.services.conductor.actions import OFFLOAD, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, claim
from protonova.services.numa import usage
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

KIND = OFFLOAD.operation


class Leave(Step):
    name = "guest"
    event = "compute_shelve_offload_instance"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout + cell.conf.service_down_time)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server = self._cell.db.read(lambda connection: self._cell.servers.get(connection, run.subject))
        agent.destroy(self._cell, run, server.host)
        return Outcome(host=server.host)


class Unbind(Step):
    """Ports stay the server's, on no host."""

    name = "ports"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        unbind(self._cell, run.subject)


class Disconnect(Step):
    """Volumes stay reserved for the server, connected to no host."""

    name = "volumes"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        return disconnect(cell, cell.db.read(lambda connection: cell.servers.get(connection, run.subject)))


class Release(Step):
    name = "release"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        claim.release_claims(cell, server.id)
        claim.place(cell, server, "")
        return Outcome(apply=lambda connection: _left(cell, connection, run.subject))


class Offload(Kind):
    name = KIND

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Leave(cell), Unbind(cell), Disconnect(cell), Release(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """It stays shelved where it is, and can be told to leave again."""

        def alter(server: Server) -> None:
            settle(OFFLOAD, server)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


def unbind(cell: Cell, server_id: str) -> None:
    """Its ports are on no host any more."""
    networks = cell.outside.networks
    for port in networks.ports_of(server_id):
        networks.leave_host(port.id)


def disconnect(cell: Cell, server: Server) -> Outcome:
    """Attachments without a host in place of those with one: the volumes are never free in between."""
    volumes = cell.outside.volumes
    known = volumes.attachment_ids(server.id)
    reserved: dict[str, str] = {}
    for device in server.block_devices:
        if not device.volume_id:
            continue
        others = [
            attachment_id
            for volume_id, attachment_id in known
            if volume_id == device.volume_id and attachment_id != device.attachment_id
        ]
        # An earlier try has reserved it, or was about to connect it elsewhere: nobody knows which.
        reserved[device.id] = volumes.create_attachment(device.volume_id, server.id)
        for attachment_id in (*others, device.attachment_id):
            volumes.delete_attachment(attachment_id)

    def apply(connection: Connection) -> None:
        def alter(changed: Server) -> None:
            for device in changed.block_devices:
                if device.id in reserved:
                    device.attachment_id = reserved[device.id]
                    device.ClearField("connection")

        cell.servers.change(connection, server.id, alter)

    return Outcome(apply=apply)


def _left(cell: Cell, connection: Connection, server_id: str) -> None:
    def alter(server: Server) -> None:
        settle(
            OFFLOAD,
            server,
            vm_state=VmState.VM_STATE_SHELVED_OFFLOADED,
            power_state=PowerState.POWER_STATE_UNSPECIFIED,
        )
        server.host = server.node = ""
        if server.HasField("numa_topology"):
            server.numa_topology.CopyFrom(usage.requested(server.numa_topology))

    cell.servers.change(connection, server_id, alter)
