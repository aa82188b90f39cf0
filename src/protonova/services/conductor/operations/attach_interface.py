"""Attaching an interface: a port, made for the server or given by its user, bound to the host and plugged in.

A port that was made goes with the server; one that was given stays when the interface is detached. When something
fails the one is deleted and the other unbound.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import NetworkInterface, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import network
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.network import Port
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Allocate(Step):
    name = "allocate"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        port = self._given(run, server) if run.payload["port"] else self._made(run, server)
        if port.vif_type == "binding_failed":
            raise errors.FailedPrecondition(
                f"Port {port.id} cannot be bound on host {server.host}.",
                reason="PORT_BINDING_FAILED",
                port_id=port.id,
                host=server.host,
            )
        return Outcome(memory={"port": port.id, "host": server.host})

    def undo(self, run: Run) -> None:
        networks = self._cell.outside.networks
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        for port in networks.ports_of(server.id):
            if port.id == run.payload["port"]:
                networks.unbind_port(port.id)
        if not run.payload["port"]:
            for port in self._unrecorded(run, server):
                networks.delete_port(port.id)

    def _given(self, run: Run, server: Server) -> Port:
        return self._cell.outside.networks.bind_port(
            run.payload["port"], server_id=server.id, host=server.host, hostname=server.hostname
        )

    def _made(self, run: Run, server: Server) -> Port:
        """The port an earlier try has made, or a new one."""
        port = next(self._unrecorded(run, server), None)
        if port is not None:
            return port
        try:
            return self._cell.outside.networks.create_port(
                network_id=run.payload["network"],
                project_id=server.project_id,
                server_id=server.id,
                host=server.host,
                fixed_address=run.payload["address"],
                hostname=server.hostname,
            )
        except errors.FailedPrecondition as error:
            raise errors.FailedPrecondition(
                f"Address {run.payload['address']} of network {run.payload['network']} cannot be had: "
                f"{error.message}",
                reason="ADDRESS_IN_USE",
                network_id=run.payload["network"],
            ) from error
        except errors.InvalidArgument as error:
            raise errors.InvalidArgument(
                f"Network {run.payload['network']} gives no such port: {error.message}",
                reason="NETWORK_UNUSABLE",
                network_id=run.payload["network"],
            ) from error

    def _unrecorded(self, run: Run, server: Server) -> Iterator[Port]:
        """Ports of this network that are the server's, and that its record does not know: this operation's."""
        known = {interface.port_id for interface in server.interfaces}
        for port in self._cell.outside.networks.ports_of(server.id):
            if port.id not in known and port.network_id == run.payload["network"]:
                yield port


class Plug(Step):
    name = "plug"
    event = "compute_attach_interface"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=max(own.guest_timeout, own.detach_timeout), undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, networks = self._cell, self._cell.outside.networks
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        ports = networks.ports_of(server.id)
        port = next((port for port in ports if port.id == run.memory["port"]), None)
        if port is None:
            raise errors.NotFound(
                f"Port {run.memory['port']} is gone.", reason="PORT_NOT_FOUND", port_id=run.memory["port"]
            )
        found = {one.id: one for one in networks.networks(server.project_id, [port.network_id])}
        interface = network.interface_of(
            port,
            found.get(port.network_id),
            tag=run.payload["tag"],
            created=not run.payload["port"],
            floating=networks.floating_ips_of([port.id]),
        )
        groups = network.group_names(cell, ports)
        Plugging(cell, run, run.memory["host"], self.timeout).attach_interface(interface)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                drop(changed, interface.port_id)
                changed.interfaces.append(interface)
                changed.security_groups[:] = groups

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=run.memory["host"])

    def undo(self, run: Run) -> None:
        if "port" in run.memory:
            plugging = Plugging(self._cell, run, run.memory["host"], self.timeout)
            if not plugging.untouched:
                plugging.detach_interface(run.memory["port"])


class AttachInterface(Kind):
    name = "attach_interface"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Allocate(cell), Plug(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        self._cell.servers.change(connection, run.subject, lambda server: faults.set_fault(server, error))

    def preempted(self, run: Run, connection: Connection) -> None:
        """Whoever deletes the server is told that a port given by its user is to stay."""
        given = run.payload["port"]

        def alter(server: Server) -> None:
            if given and all(interface.port_id != given for interface in server.interfaces):
                server.interfaces.append(NetworkInterface(port_id=given))

        self._cell.servers.change(connection, run.subject, alter)


def drop(server: Server, port_id: str) -> None:
    left = [interface for interface in server.interfaces if interface.port_id != port_id]
    del server.interfaces[:]
    server.interfaces.extend(left)
