"""The networking step of a build: ports for the server, bound to its host."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import FixedAddress, HostRoute, NetworkInterface, NetworkRequest, Server
from protonova.conductor.v1.server_pb2 import ServerBuild
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import build as building
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.network import FloatingIp, Network, Port
from protonova.services.runtime.operations import Outcome, Run, Step

# What users call "the default group" is what the network service takes when none is named.
_DEFAULT_GROUPS: tuple[list[str], ...] = ([], ["default"])


class Networking(Step):
    name = "networking"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.network_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["ports"])

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, build = cell.db.read(
            lambda c: (cell.servers.get(c, run.subject), building.load(c, run.subject))
        )
        host = building.destination(build, run).host
        ports = self._ports(run, server, build, host)
        interfaces = self._interfaces(server, ports)
        groups = self._bound_groups(server, ports)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                del changed.interfaces[:]
                changed.interfaces.extend(interfaces)
                changed.security_groups[:] = groups
                changed.task_state = building.task_state_before("block_device_mapping", build, changed)

            cell.servers.change(connection, run.subject, alter)

        return Outcome(memory={"groups": list(server.security_groups)}, apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        if not self.needed(run):
            return None
        cell = self._cell
        build = cell.db.read(lambda c: building.load(c, run.subject))
        release_ports(cell, run.subject, kept_ports(build))

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                del changed.interfaces[:]
                if "groups" in run.memory:
                    changed.security_groups[:] = run.memory["groups"]

            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply)

    def _ports(
        self, run: Run, server: Server, build: ServerBuild, host: str
    ) -> list[tuple[NetworkRequest, Port]]:
        networks = self._cell.outside.networks
        requests = list(build.networks) or [self._automatic(server.project_id)]
        # Ports that an earlier try has made are taken up again, not made twice.
        made = {port.id: port for port in networks.ports_of(server.id)}
        named = {request.port_id for request in requests if request.port_id}
        groups = self._groups(server)
        ports: list[tuple[NetworkRequest, Port]] = []
        for request in requests:
            run.check()
            if request.port_id:
                port = networks.bind_port(
                    request.port_id, server_id=server.id, host=host, hostname=server.hostname
                )
            else:
                port = _take(made, request, named) or networks.create_port(
                    network_id=request.network_id,
                    project_id=server.project_id,
                    server_id=server.id,
                    host=host,
                    security_groups=groups,
                    fixed_address=request.fixed_address,
                    hostname=server.hostname,
                )
                if port.host != host:
                    port = networks.bind_port(
                        port.id, server_id=server.id, host=host, hostname=server.hostname
                    )
            if port.vif_type == "binding_failed":
                raise errors.FailedPrecondition(
                    f"Port {port.id} cannot be bound on host {host}.",
                    reason="PORT_BINDING_FAILED",
                    port_id=port.id,
                    host=host,
                )
            ports.append((request, port))
        return ports

    def _interfaces(self, server: Server, ports: list[tuple[NetworkRequest, Port]]) -> list[NetworkInterface]:
        plugged = sorted({port.network_id for _, port in ports})
        found = self._cell.outside.networks.networks(server.project_id, plugged)
        by_id = {network.id: network for network in found}
        return [
            interface_of(port, by_id.get(port.network_id), tag=request.tag, created=not request.port_id)
            for request, port in ports
        ]

    def _bound_groups(self, server: Server, ports: list[tuple[NetworkRequest, Port]]) -> list[str]:
        """Names of the groups its ports are in. Where all ports are new and in the default group, that is known."""
        names = list(server.security_groups)
        if names in _DEFAULT_GROUPS and not any(request.port_id for request, _ in ports):
            return names
        return group_names(self._cell, [port for _, port in ports])

    def _groups(self, server: Server) -> Iterable[str]:
        names = list(server.security_groups)
        if names in _DEFAULT_GROUPS:
            return ()
        ids = self._cell.outside.networks.security_groups(server.project_id, names)
        if missing := [name for name in names if name not in ids]:
            raise errors.NotFound(
                f"Security group '{missing[0]}' could not be found.",
                reason="SECURITY_GROUP_NOT_FOUND",
                security_group=missing[0],
            )
        return [ids[name] for name in names]

    def _automatic(self, project_id: str) -> NetworkRequest:
        found = [
            network
            for network in self._cell.outside.networks.networks(project_id)
            if not network.external and network.subnets
        ]
        own = [network for network in found if not network.shared] or found
        if len(own) != 1:
            raise errors.FailedPrecondition(
                "The project has no network that could be chosen."
                if not own
                else "The project has several networks, so none can be chosen for it.",
                reason="NETWORK_UNUSABLE",
                networks=len(own),
            )
        return NetworkRequest(network_id=own[0].id)


def group_names(cell: Cell, ports: Iterable[Port]) -> list[str]:
    """Names of the security groups ports are in."""
    ids = list(dict.fromkeys(group for port in ports for group in port.security_groups))
    known = cell.outside.networks.security_group_names(ids)
    return [known.get(group, group) for group in ids]


def kept_ports(build: ServerBuild | None) -> set[str]:
    """Ports that were there before the server, and stay."""
    return {request.port_id for request in build.networks if request.port_id} if build else set()


def release_ports(cell: Cell, server_id: str, kept: set[str]) -> None:
    """Gives back every port the server has: those that were its user's are unbound, the others go with it."""
    networks = cell.outside.networks
    for port in networks.ports_of(server_id):
        if port.id in kept:
            networks.unbind_port(port.id)
        else:
            networks.delete_port(port.id)


def _take(made: dict[str, Port], request: NetworkRequest, named: set[str]) -> Port | None:
    for port in made.values():
        if port.id in named or port.network_id != request.network_id:
            continue
        if request.fixed_address and request.fixed_address not in {ip.address for ip in port.fixed_ips}:
            continue
        return made.pop(port.id)
    return None


def interface_of(
    port: Port,
    network: Network | None,
    *,
    tag: str = "",
    created: bool = False,
    floating: Iterable[FloatingIp] = (),
) -> NetworkInterface:
    """A port as a server has it; `floating` are the addresses that lead to the port."""
    leading: dict[str, list[str]] = {}
    for one in floating:
        if one.port_id == port.id:
            leading.setdefault(one.fixed_address, []).append(one.address)
    return NetworkInterface(
        port_id=port.id,
        network_id=port.network_id,
        network_name=network.name if network else "",
        mac_address=port.mac,
        addresses=[
            FixedAddress(
                address=ip.address,
                subnet_id=ip.subnet_id,
                cidr=ip.cidr,
                gateway=ip.gateway,
                dns_servers=ip.dns_servers,
                host_routes=[
                    HostRoute(destination=destination, next_hop=hop) for destination, hop in ip.host_routes
                ],
                dhcp=ip.dhcp,
                floating_addresses=sorted(leading.get(ip.address, ())),
            )
            for ip in port.fixed_ips
        ],
        tag=tag,
        created_for_server=created,
        vif_type=port.vif_type,
        vnic_type=port.vnic_type,
        bridge=str(port.vif_details.get("bridge_name") or ""),
        mtu=network.mtu if network else 0,
        vif_details={name: _detail(value) for name, value in port.vif_details.items()},
    )


def _detail(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
