"""Changes of ports and floating addresses, and what a server's record knows of them.

A change says of each port, and of each floating address, what it was and what it is to be: so it can be done and
undone again and again. Then the record is read anew from the network service, and the guest's host is told which
addresses the guest has now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import NetworkInterface, Server
from protonova.services.conductor import faults
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import network
from protonova.services.conductor.operations.plugging import Plugging
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step


class Change(Step):
    """Payload: `ports` and `floating`, by id, each with `before` and `after`."""

    name = "change"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        try:
            self._set(run, "after")
        except (errors.InvalidArgument, errors.FailedPrecondition) as error:
            raise errors.InvalidArgument(
                error.message, reason=run.payload["refusal"], server_id=run.subject
            ) from error

    def undo(self, run: Run) -> None:
        self._set(run, "before")

    def _set(self, run: Run, which: str) -> None:
        networks = self._cell.outside.networks
        ports: dict[str, Any] = run.payload.get("ports", {})
        floating: dict[str, Any] = run.payload.get("floating", {})
        for port_id, change in ports.items():
            try:
                networks.change_port(port_id, change[which])
            except errors.NotFound:
                continue  # it went with whatever it had
        for floating_id, change in floating.items():
            networks.lead_floating_ip(floating_id, *change[which])


@dataclass(frozen=True)
class Told:
    """What the network service says of a server's interfaces, by port, and the names of their groups."""

    interfaces: dict[str, NetworkInterface]
    groups: list[str]


def as_told(cell: Cell, server: Server) -> Told:
    """Of those interfaces that the network service has a port for."""
    networks = cell.outside.networks
    ports = {port.id: port for port in networks.ports_of(server.id)}
    kept = [interface for interface in server.interfaces if interface.port_id in ports]
    wanted = sorted({ports[interface.port_id].network_id for interface in kept})
    found = {one.id: one for one in networks.networks(server.project_id, wanted)} if wanted else {}
    floating = networks.floating_ips_of([interface.port_id for interface in kept])
    interfaces: dict[str, NetworkInterface] = {}
    for interface in kept:
        port = ports[interface.port_id]
        now = network.interface_of(
            port,
            found.get(port.network_id),
            tag=interface.tag,
            created=interface.created_for_server,
            floating=floating,
        )
        if port.network_id not in found:
            now.network_name, now.mtu = interface.network_name, interface.mtu
        interfaces[port.id] = now
    return Told(interfaces, list(network.group_names(cell, ports.values())))


class Refresh(Step):
    """Interfaces whose port is gone stay as they are: the network service tells of that by an event of its own."""

    name = "refresh"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.network_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        told = as_told(cell, server)
        for interface in server.interfaces:
            now = told.interfaces.get(interface.port_id)
            if now is not None and _fixed(now) != _fixed(interface):
                self._tell(run, server, now)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                for interface in changed.interfaces:
                    if interface.port_id in told.interfaces:
                        interface.CopyFrom(told.interfaces[interface.port_id])
                changed.security_groups[:] = told.groups

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)

    def _tell(self, run: Run, server: Server, interface: NetworkInterface) -> None:
        """A host that is down serves nobody an address."""
        plugging = Plugging(self._cell, run, server.host, self._cell.conf.conductor.guest_timeout)
        if not server.host or not plugging.is_up:
            return
        try:
            plugging.attach_interface(interface)
        except errors.NotFound as error:
            if error.reason != "GUEST_NOT_FOUND":
                raise


class _Addresses(Kind):
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        self._cell.servers.change(connection, run.subject, lambda server: faults.set_fault(server, error))


class ChangeAddresses(_Addresses):
    name = "change_addresses"

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.steps = [Change(cell), Refresh(cell)]


class RefreshNetwork(_Addresses):
    name = "refresh_network"

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        self.steps = [Refresh(cell)]


def _fixed(interface: NetworkInterface) -> list[str]:
    return sorted(fixed.address for fixed in interface.addresses)
