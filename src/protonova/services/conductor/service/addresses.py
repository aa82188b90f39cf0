"""Groups and addresses of a server's ports. What they are and what they are to be is written into the operation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from protonova.common.v1.server_device_pb2 import SecurityGroup, SecurityGroupRule
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.waiting import raise_failure
from protonova.services.runtime import context, errors
from protonova.services.runtime.openstack import network as source
from protonova.services.runtime.openstack.network import FloatingIp, Port
from protonova.services.runtime.operations import Engine


class Addresses:
    def __init__(self, cell: Cell, engine: Engine, beginnings: Beginnings) -> None:
        self._cell = cell
        self._engine = engine
        self._begin = beginnings

    # ---- security groups

    def groups(self, server_id: str) -> list[SecurityGroup]:
        ids = [group for port in self._ports(server_id) for group in port.security_groups]
        networks = self._cell.outside.networks
        found = networks.security_groups_by_id(ids)
        others = {rule.remote_group_id for group in found for rule in group.rules} - {""}
        known = {group.id: group for group in networks.security_groups_by_id(others)}
        return [_group(group, known) for group in found]

    def add_group(self, server_id: str, wanted: str) -> None:
        """A server that is in the group already stays there."""
        ports, group_id = self._ports(server_id), self._group_id(server_id, wanted)
        if not ports:
            raise _unusable(
                "SECURITY_GROUP_UNUSABLE", f"Server {server_id} has no port a group could be for."
            )
        lacking = [port for port in ports if group_id not in port.security_groups]
        self._regroup(server_id, [(port, [*port.security_groups, group_id]) for port in lacking])

    def remove_group(self, server_id: str, wanted: str) -> None:
        group_id = self._group_id(server_id, wanted)
        members = [port for port in self._ports(server_id) if group_id in port.security_groups]
        if not members:
            raise errors.NotFound(
                f"Server {server_id} is not in security group '{wanted}'.",
                reason="SECURITY_GROUP_NOT_FOUND",
                security_group=wanted,
            )
        left = [(port, [group for group in port.security_groups if group != group_id]) for port in members]
        self._regroup(server_id, left)

    def _regroup(self, server_id: str, wanted: list[tuple[Port, list[str]]]) -> None:
        changes = {
            port.id: {
                "before": {"security_groups": list(port.security_groups)},
                "after": {"security_groups": groups},
            }
            for port, groups in wanted
        }
        if changes:
            payload = {"ports": changes, "refusal": "SECURITY_GROUP_UNUSABLE"}
            self._change(actions.CHANGE_ADDRESSES, server_id, payload)

    def _group_id(self, server_id: str, wanted: str) -> str:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, server_id))
        found = self._cell.outside.networks.security_groups(server.project_id, [wanted])
        if wanted not in found:
            raise errors.NotFound(
                f"Security group '{wanted}' could not be found.",
                reason="SECURITY_GROUP_NOT_FOUND",
                security_group=wanted,
            )
        return found[wanted]

    # ---- fixed addresses

    def add_fixed(self, server_id: str, network_id: str) -> None:
        """One more address of the first subnet the server's port in a network has one of."""
        for port in self._ports(server_id):
            if port.network_id == network_id and port.fixed_ips:
                more = [*_entries(port), {"subnet_id": port.fixed_ips[0].subnet_id}]
                return self._readdress(server_id, port, more)
        raise _unusable("ADDRESS_UNUSABLE", f"Server {server_id} has no port in network {network_id}.")

    def remove_fixed(self, server_id: str, address: str) -> None:
        for port in self._ports(server_id):
            left = [entry for entry in _entries(port) if entry["ip_address"] != address]
            if len(left) != len(port.fixed_ips):
                return self._readdress(server_id, port, left)
        raise _unusable("ADDRESS_UNUSABLE", f"Server {server_id} does not have the address {address}.")

    def _readdress(self, server_id: str, port: Port, wanted: list[dict[str, str]]) -> None:
        change = {"before": {"fixed_ips": _entries(port)}, "after": {"fixed_ips": wanted}}
        payload = {"ports": {port.id: change}, "refusal": "ADDRESS_UNUSABLE"}
        self._change(actions.CHANGE_FIXED_ADDRESSES, server_id, payload)

    # ---- floating addresses

    def add_floating(self, server_id: str, address: str, fixed_address: str) -> None:
        floating = self._floating(address)
        found = [
            (port, fixed.address)
            for port in self._ports(server_id)
            for fixed in port.fixed_ips
            if ":" not in fixed.address and fixed_address in ("", fixed.address)
        ]
        if not found:
            why = f"the address {fixed_address}" if fixed_address else "an IPv4 address"
            raise _unusable("ADDRESS_UNUSABLE", f"Server {server_id} does not have {why}.")
        port, fixed = found[0]
        self._lead(server_id, floating, (port.id, fixed))

    def remove_floating(self, server_id: str, address: str) -> None:
        floating = self._floating(address)
        if floating.port_id not in {port.id for port in self._ports(server_id)}:
            raise errors.FailedPrecondition(
                f"Floating address {address} does not lead to server {server_id}.",
                reason="ADDRESS_NOT_ASSOCIATED",
                address=address,
            )
        self._lead(server_id, floating, ("", ""))

    def _lead(self, server_id: str, floating: FloatingIp, to: tuple[str, str]) -> None:
        change = {"before": (floating.port_id, floating.fixed_address), "after": to}
        payload = {"floating": {floating.id: change}, "refusal": "ADDRESS_UNUSABLE"}
        self._change(actions.CHANGE_ADDRESSES, server_id, payload)

    def _floating(self, address: str) -> FloatingIp:
        ctx = context.current()
        found = self._cell.outside.networks.floating_ip(address)
        if found is None or not (ctx.is_admin or found.project_id == ctx.project_id):
            raise errors.NotFound(
                f"Floating address {address} could not be found.", reason="ADDRESS_NOT_FOUND", address=address
            )
        return found

    # ---- common

    def _ports(self, server_id: str) -> list[Port]:
        self._cell.db.read(lambda c: self._cell.servers.get(c, server_id))
        return self._cell.outside.networks.ports_of(server_id)

    def _change(self, action: actions.Action, server_id: str, payload: dict[str, Any]) -> None:
        """Begins the change, and waits a while for what comes of it."""
        operation = self._begin.action(action, server_id, payload)
        raise_failure(self._engine.wait(operation, self._cell.conf.conductor.answer_timeout))


def _entries(port: Port) -> list[dict[str, str]]:
    return [{"ip_address": fixed.address, "subnet_id": fixed.subnet_id} for fixed in port.fixed_ips]


def _group(group: source.SecurityGroup, known: dict[str, source.SecurityGroup]) -> SecurityGroup:
    return SecurityGroup(
        id=group.id,
        name=group.name,
        description=group.description,
        project_id=group.project_id,
        rules=_rules(group.rules, known),
    )


def _rules(
    rules: Iterable[source.SecurityGroupRule], known: dict[str, source.SecurityGroup]
) -> Iterable[SecurityGroupRule]:
    for rule in rules:
        other = known.get(rule.remote_group_id)
        shown = SecurityGroupRule(
            id=rule.id,
            protocol=rule.protocol,
            cidr=rule.cidr,
            remote_group_id=rule.remote_group_id,
            remote_group_name=other.name if other else "",
            remote_group_project_id=other.project_id if other else "",
            ether_type=rule.ether_type,
        )
        if rule.from_port is not None:
            shown.from_port = rule.from_port
        if rule.to_port is not None:
            shown.to_port = rule.to_port
        yield shown


def _unusable(reason: str, text: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(text, reason=reason)
