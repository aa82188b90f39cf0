"""Interfaces of servers: what is asked for is looked at with the network service, then the operation begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protonova.common.v1.server_device_pb2 import ServerInterface
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations.network import interface_of
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.waiting import raise_failure
from protonova.services.runtime import context, errors
from protonova.services.runtime.openstack.network import Network, Port
from protonova.services.runtime.operations import Engine

# What the caller can do something about; all else is told as a failure of ours.
_TOLD = {
    "ADDRESS_IN_USE",
    "NETWORK_UNUSABLE",
    "PORT_NOT_FOUND",
    "EXTERNAL_QUOTA_EXCEEDED",
    "HOST_NOT_READY",
}


class Interfaces:
    def __init__(self, cell: Cell, engine: Engine, beginnings: Beginnings) -> None:
        self._cell = cell
        self._engine = engine
        self._begin = beginnings

    def list(self, server_id: str) -> Sequence[ServerInterface]:
        """As the network service knows them just now."""
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, server_id))
        tags = {interface.port_id: interface.tag for interface in server.interfaces}
        return [
            _shown(port, tags.get(port.id, "")) for port in self._cell.outside.networks.ports_of(server_id)
        ]

    def get(self, server_id: str, port_id: str) -> ServerInterface:
        for interface in self.list(server_id):
            if interface.interface.port_id == port_id:
                return interface
        raise _not_found(server_id, port_id)

    def attach(self, request: pb.AttachInterfaceRequest) -> ServerInterface:
        """Returns when it is plugged in. Raises what the contract says."""
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, request.server_id))
        actions.check(actions.ATTACH_INTERFACE, server, context.current())
        payload: dict[str, Any] = {"port": "", "network": "", "address": "", "tag": request.tag}
        if request.port_id:
            payload["port"] = self._usable_port(request.port_id, server).id
        else:
            payload["network"] = self._usable_network(request, server).id
            payload["address"] = request.fixed_address
        operation = self._begin.action(actions.ATTACH_INTERFACE, server.id, payload)
        found = self._engine.wait(operation, cell.conf.conductor.answer_timeout)
        try:
            raise_failure(found)
        except errors.Error as error:
            if error.reason in _TOLD:
                raise
            raise errors.Internal(
                f"The interface could not be attached: {error.message}", reason="INTERFACE_ATTACH_FAILED"
            ) from error
        if not found.finished_at:
            raise errors.Unavailable(
                "The interface is still being attached.", reason="INTERFACE_ATTACH_UNFINISHED"
            )
        return self.get(server.id, found.memory["port"])

    def detach(self, request: pb.DetachInterfaceRequest) -> None:
        """Raises INTERFACE_NOT_FOUND."""
        payload: dict[str, Any] = {"port": request.port_id}

        def alter(server: Server) -> None:
            payload["created"] = _interface(server, request.port_id).created_for_server

        server = self._cell.db.read(lambda c: self._cell.servers.get(c, request.server_id))
        _interface(server, request.port_id)
        self._begin.action(actions.DETACH_INTERFACE, request.server_id, payload, alter=alter)

    # ---- checks

    def _usable_port(self, port_id: str, server: Server) -> Port:
        ctx = context.current()
        try:
            port = self._cell.outside.networks.port(port_id)
        except (errors.NotFound, errors.InvalidArgument):
            port = None
        if port is None or not (ctx.is_admin or port.project_id in (ctx.project_id, server.project_id)):
            raise errors.NotFound(
                f"Port {port_id} could not be found.", reason="PORT_NOT_FOUND", port_id=port_id
            )
        if port.device_id:
            raise errors.FailedPrecondition(
                f"Port {port_id} is still in use.",
                reason="PORT_IN_USE",
                port_id=port_id,
                server_id=port.device_id,
            )
        if not port.fixed_ips:
            raise _unusable(f"Port {port_id} requires a fixed address.")
        if any((port.resource_request or {}).values()):
            raise _unusable(f"Port {port_id} asks for resources of its own, which no server at rest can get.")
        return port

    def _usable_network(self, request: pb.AttachInterfaceRequest, server: Server) -> Network:
        if not request.network_id:
            return self._only_network(server)
        networks = self._cell.outside.networks
        found = [
            n
            for n in networks.networks(server.project_id, [request.network_id])
            if n.id == request.network_id
        ]
        if not found:
            raise errors.NotFound(
                f"Network {request.network_id} could not be found.",
                reason="NETWORK_NOT_FOUND",
                network_id=request.network_id,
            )
        network = found[0]
        foreign = network.project_id != server.project_id and not network.shared
        if network.external and foreign and not request.allow_external_network:
            raise errors.PermissionDenied(
                f"It is not allowed to create an interface on external network {network.id}.",
                reason="EXTERNAL_NETWORK_FORBIDDEN",
                network_id=network.id,
            )
        if not network.subnets:
            raise _unusable(f"Network {network.id} has no subnet, so it gives no addresses.")
        return network

    def _only_network(self, server: Server) -> Network:
        found = [
            network
            for network in self._cell.outside.networks.networks(server.project_id)
            if network.admin_state_up
            and network.subnets
            and (network.project_id == server.project_id or (network.shared and not network.external))
        ]
        if len(found) != 1:
            raise _unusable(
                "Several networks could be meant; one must be named."
                if found
                else "There is no network that could be chosen."
            )
        return found[0]


def _interface(server: Server, port_id: str) -> Any:
    for interface in server.interfaces:
        if interface.port_id == port_id:
            return interface
    raise _not_found(server.id, port_id)


def _shown(port: Port, tag: str) -> ServerInterface:
    return ServerInterface(interface=interface_of(port, None, tag=tag), port_state=port.status)


def _not_found(server_id: str, port_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Port {port_id} is not attached to server {server_id}.",
        reason="INTERFACE_NOT_FOUND",
        server_id=server_id,
        port_id=port_id,
    )


def _unusable(text: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(text, reason="NETWORK_UNUSABLE")
