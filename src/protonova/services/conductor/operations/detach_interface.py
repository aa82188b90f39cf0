"""Detaching an interface: taken from the guest, then its port is deleted, or unbound where its user gave it.

A port that was deleted meanwhile, or is why the interface goes, is no hindrance.
"""

from __future__ import annotations

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import NetworkInterface, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import network
from protonova.services.conductor.operations.attach_interface import drop
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


def _interface(server: Server, run: Run) -> NetworkInterface | None:
    return next((one for one in server.interfaces if one.port_id == run.payload["port"]), None)


class Unplug(Step):
    name = "unplug"
    event = "compute_detach_interface"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.detach_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        if server.host:
            Plugging(self._cell, run, server.host, self.timeout).detach_interface(run.payload["port"])
        return Outcome(host=server.host)

    def undo(self, run: Run) -> None:
        """The guest has it again."""
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        plugging = Plugging(self._cell, run, server.host, self.timeout)
        interface = _interface(server, run)
        if interface is not None and server.host and not plugging.untouched:
            plugging.attach_interface(interface)


class Release(Step):
    name = "release"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.cleanup_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, networks = self._cell, self._cell.outside.networks
        if run.payload["created"]:
            networks.delete_port(run.payload["port"])
        else:
            networks.unbind_port(run.payload["port"])
        groups = network.group_names(cell, networks.ports_of(run.subject))

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                drop(changed, run.payload["port"])
                changed.security_groups[:] = groups

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        """Binds the port again; where it is gone for good, so is the interface."""
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        if _interface(server, run) is None:
            return None
        try:
            cell.outside.networks.bind_port(
                run.payload["port"], server_id=server.id, host=server.host, hostname=server.hostname
            )
        except errors.NotFound:

            def apply(connection: Connection) -> None:
                cell.servers.change(connection, run.subject, lambda s: drop(s, run.payload["port"]))

            return Outcome(apply=apply)
        return None


class DetachInterface(Kind):
    name = "detach_interface"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Unplug(cell), Release(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        self._cell.servers.change(connection, run.subject, lambda server: faults.set_fault(server, error))
