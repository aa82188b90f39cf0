"""A network service in memory, with the surface of the runtime's adapter."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.network import (
    FixedIp,
    FloatingIp,
    Network,
    Port,
    SecurityGroup,
    SecurityGroupRule,
)


class FakeNetworks:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known: dict[str, Network] = {}
        self.ports: dict[str, Port] = {}
        self.groups: dict[str, str] = {"default": str(uuid.uuid4())}
        self.floating: dict[str, FloatingIp] = {}
        self.unbindable_hosts: set[str] = set()
        self.errors: dict[str, list[errors.Error]] = defaultdict(list)
        # Called when the named method has acted, before it answers.
        self.after: dict[str, Callable[[], object]] = {}
        self._addresses = itertools.count(10)

    def add_network(self, name: str, *, project_id: str = "project", shared: bool = False) -> Network:
        network = Network(
            id=str(uuid.uuid4()),
            name=name,
            project_id=project_id,
            shared=shared,
            external=False,
            mtu=1450,
            subnets=(str(uuid.uuid4()),),
            admin_state_up=True,
        )
        self.known[network.id] = network
        return network

    def add_port(self, network: Network, security_groups: tuple[str, ...] = ()) -> Port:
        return self._make(network.id, "project", "", "", "", security_groups)

    def networks(self, project_id: str, ids: Iterable[str] = ()) -> list[Network]:
        wanted = set(ids) or set(self.known)
        return [n for n in self.known.values() if n.id in wanted and (n.shared or n.project_id == project_id)]

    def add_floating(self, address: str, project_id: str = "project") -> FloatingIp:
        made = FloatingIp(id=str(uuid.uuid4()), address=address, project_id=project_id)
        self.floating[made.id] = made
        return made

    def port(self, port_id: str) -> Port:
        if port_id not in self.ports:
            raise errors.NotFound("There is no such port.", reason="EXTERNAL_NOT_FOUND")
        return self.ports[port_id]

    def change_port(self, port_id: str, changes: Mapping[str, Any]) -> Port:
        self._enter("change_port")
        port = self.port(port_id)
        if "security_groups" in changes:
            port = replace(port, security_groups=tuple(changes["security_groups"]))
        if "fixed_ips" in changes:
            held = {fixed.address: fixed for fixed in port.fixed_ips}
            wanted = [entry.get("ip_address") for entry in changes["fixed_ips"]]
            new = [held[address] for address in wanted if address in held]
            for address in wanted:
                if address not in held:
                    address = address or f"10.0.0.{next(self._addresses)}"
                    new.append(replace(port.fixed_ips[0], address=address))
            port = replace(port, fixed_ips=tuple(new))
        self.ports[port_id] = port
        self._leave("change_port")
        return port

    def floating_ip(self, address: str) -> FloatingIp | None:
        return next((one for one in self.floating.values() if one.address == address), None)

    def floating_ips_of(self, port_ids: Iterable[str]) -> list[FloatingIp]:
        wanted = set(port_ids)
        return [one for one in self.floating.values() if one.port_id in wanted]

    def lead_floating_ip(self, floating_id: str, port_id: str, fixed_address: str = "") -> None:
        self._enter("lead_floating_ip")
        led = replace(self.floating[floating_id], port_id=port_id, fixed_address=fixed_address)
        self.floating[floating_id] = led

    def security_groups_by_id(self, ids: Iterable[str]) -> list[SecurityGroup]:
        wanted = set(ids)
        return [
            SecurityGroup(
                id=group_id,
                name=name,
                description=f"Group {name}",
                project_id="project",
                rules=(
                    SecurityGroupRule(
                        id=str(uuid.uuid5(uuid.UUID(group_id), "rule")),
                        ether_type="IPv4",
                        protocol="tcp",
                        from_port=22,
                        to_port=22,
                        cidr="10.0.0.0/8",
                    ),
                ),
            )
            for name, group_id in sorted(self.groups.items())
            if group_id in wanted
        ]

    def ports_of(self, server_id: str) -> list[Port]:
        self._enter("ports_of")
        return [port for port in self.ports.values() if port.device_id == server_id]

    def create_port(
        self,
        *,
        network_id: str,
        project_id: str,
        server_id: str,
        host: str,
        security_groups: Iterable[str] = (),
        fixed_address: str = "",
        mac: str = "",
        hostname: str = "",
        tag: str = "",
    ) -> Port:
        self._enter("create_port")
        port = self._make(network_id, project_id, server_id, host, fixed_address, tuple(security_groups))
        self._leave("create_port")
        return port

    def bind_port(self, port_id: str, *, server_id: str, host: str, hostname: str = "") -> Port:
        self._enter("bind_port")
        if port_id not in self.ports:
            raise errors.NotFound("There is no such port.", reason="PORT_NOT_FOUND", port_id=port_id)
        bound = replace(self.ports[port_id], device_id=server_id, host=host, vif_type=self._vif_type(host))
        self.ports[port_id] = bound
        self._leave("bind_port")
        return bound

    def unbind_port(self, port_id: str) -> None:
        self._enter("unbind_port")
        if port_id in self.ports:
            self.ports[port_id] = replace(self.ports[port_id], device_id="", host="", vif_type="unbound")

    def leave_host(self, port_id: str) -> None:
        self._enter("leave_host")
        if port_id in self.ports:
            self.ports[port_id] = replace(self.ports[port_id], host="", vif_type="unbound")

    def delete_port(self, port_id: str) -> None:
        self._enter("delete_port")
        self.ports.pop(port_id, None)

    def security_groups(self, project_id: str, names_or_ids: Iterable[str]) -> dict[str, str]:
        known = self.groups | {group: group for group in self.groups.values()}
        return {name: known[name] for name in names_or_ids if name in known}

    def security_group_names(self, ids: Iterable[str]) -> dict[str, str]:
        return {found: name for name, found in self.groups.items() if found in set(ids)}

    def _make(
        self,
        network_id: str,
        project_id: str,
        server_id: str,
        host: str,
        address: str,
        groups: tuple[str, ...],
    ) -> Port:
        network = self.known[network_id]
        fixed = FixedIp(
            address=address or f"10.0.0.{next(self._addresses)}",
            subnet_id=network.subnets[0],
            cidr="10.0.0.0/24",
            gateway="10.0.0.1",
            dns_servers=("10.0.0.2",),
            host_routes=(("10.9.0.0/16", "10.0.0.9"),),
        )
        port = Port(
            id=str(uuid.uuid4()),
            network_id=network_id,
            project_id=project_id,
            device_id=server_id,
            host=host,
            mac="fa:16:3e:00:00:01",
            status="DOWN",
            fixed_ips=(fixed,),
            vif_type=self._vif_type(host),
            vnic_type="normal",
            vif_details={"bridge_name": "br-test", "port_filter": True},
            security_groups=groups,
        )
        with self.lock:
            self.ports[port.id] = port
        return port

    def _vif_type(self, host: str) -> str:
        if not host:
            return "unbound"
        return "binding_failed" if host in self.unbindable_hosts else "bridge"

    def _enter(self, method: str) -> None:
        if self.errors[method]:
            raise self.errors[method].pop(0)

    def _leave(self, method: str) -> None:
        if method in self.after:
            self.after[method]()
