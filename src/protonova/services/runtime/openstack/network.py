"""Networks and ports, as the network service (Network API v2.0) tells of them.

Addresses and MACs are the network service's to give; whose a port is stands in its `device_id` (the server)
and `binding:host_id`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.session import Client

_SUBNET_SECONDS = 30.0


@dataclass(frozen=True)
class Network:
    id: str
    name: str
    project_id: str
    shared: bool
    external: bool
    mtu: int
    subnets: tuple[str, ...]
    admin_state_up: bool


@dataclass(frozen=True)
class FixedIp:
    """An address with its subnet: `cidr`, `gateway` (empty = none), `dns_servers`, `host_routes` as
    (destination, next hop), and whether its network answers DHCP."""

    address: str
    subnet_id: str
    cidr: str = ""
    gateway: str = ""
    dns_servers: tuple[str, ...] = ()
    host_routes: tuple[tuple[str, str], ...] = ()
    dhcp: bool = True


@dataclass(frozen=True)
class Port:
    id: str
    network_id: str
    project_id: str
    device_id: str
    host: str
    mac: str
    status: str
    fixed_ips: tuple[FixedIp, ...]
    vif_type: str
    vnic_type: str
    vif_details: Mapping[str, Any] = field(default_factory=dict)
    security_groups: tuple[str, ...] = ()
    binding_profile: Mapping[str, Any] = field(default_factory=dict)
    resource_request: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class FloatingIp:
    """A floating address and where it leads; empty = nowhere."""

    id: str
    address: str
    project_id: str
    port_id: str = ""
    fixed_address: str = ""


@dataclass(frozen=True)
class SecurityGroupRule:
    """What a group lets in. No range and no group = from anywhere; no ports = all of them."""

    id: str
    ether_type: str
    protocol: str = ""
    from_port: int | None = None
    to_port: int | None = None
    cidr: str = ""
    remote_group_id: str = ""


@dataclass(frozen=True)
class SecurityGroup:
    """`rules` are those for what comes in."""

    id: str
    name: str
    description: str
    project_id: str
    rules: tuple[SecurityGroupRule, ...] = ()


class Networks:
    """The network service."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._client = Client(conf, "network", "neutron", "/v2.0")
        self._lock = threading.Lock()
        self._subnets: dict[str, tuple[float, Mapping[str, Any]]] = {}
        self._dns: bool | None = None

    def networks(self, project_id: str, ids: Iterable[str] = ()) -> list[Network]:
        """The networks a project may use (its own and shared ones), or those of them that are named."""
        wanted = list(dict.fromkeys(ids))
        found = self._client.get("/networks", {"id": wanted} if wanted else None)["networks"]
        return [
            _network(body)
            for body in found
            if body.get("shared") or body.get("router:external") or body.get("project_id") == project_id
        ]

    def port(self, port_id: str) -> Port:
        """Raises `errors.NotFound`."""
        return self._port(self._client.get(f"/ports/{port_id}")["port"])

    def ports_of(self, server_id: str) -> list[Port]:
        """The ports of a server, in the order they were made."""
        return [self._port(body) for body in self._client.get("/ports", {"device_id": server_id})["ports"]]

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
        """Makes a port for a server, bound to its host. `hostname` goes to DNS where the service has it, and
        `tag` is kept as the port's name, by which a repeat finds it."""
        body: dict[str, Any] = {
            "network_id": network_id,
            "project_id": project_id,
            "device_id": server_id,
            "device_owner": "compute:nova",
            "binding:host_id": host,
            "admin_state_up": True,
        }
        if security_groups:
            body["security_groups"] = list(security_groups)
        if fixed_address:
            body["fixed_ips"] = [{"ip_address": fixed_address}]
        if mac:
            body["mac_address"] = mac
        if tag:
            body["name"] = tag
        if hostname and self._has_dns():
            body["dns_name"] = hostname
        return self._port(self._client.post("/ports", {"port": body})["port"])

    def bind_port(self, port_id: str, *, server_id: str, host: str, hostname: str = "") -> Port:
        """Gives a port to a server on a host. Raises `errors.NotFound`."""
        body = {"device_id": server_id, "device_owner": "compute:nova", "binding:host_id": host}
        if hostname and self._has_dns():
            body["dns_name"] = hostname
        return self._port(self._client.put(f"/ports/{port_id}", {"port": body})["port"])

    def unbind_port(self, port_id: str) -> None:
        """Takes a port from its server; a port that is gone is fine."""
        body = {"device_id": "", "device_owner": "", "binding:host_id": ""}
        try:
            self._client.put(f"/ports/{port_id}", {"port": body})
        except errors.NotFound:
            return

    def leave_host(self, port_id: str) -> None:
        """Leaves a port with its server, on no host; a port that is gone is fine."""
        try:
            self._client.put(f"/ports/{port_id}", {"port": {"binding:host_id": ""}})
        except errors.NotFound:
            return

    def delete_port(self, port_id: str) -> None:
        """A port that is gone is fine."""
        self._client.delete(f"/ports/{port_id}")

    def security_groups(self, project_id: str, names_or_ids: Iterable[str]) -> dict[str, str]:
        """Ids by the name or id asked for; those not found are left out. Two groups of one name raise
        `errors.FailedPrecondition` (SECURITY_GROUP_AMBIGUOUS)."""
        wanted = set(names_or_ids)
        found: dict[str, str] = {}
        for group in self._client.get("/security-groups", {"project_id": project_id})["security_groups"]:
            for key in {group["id"], group["name"]} & wanted:
                if found.get(key, group["id"]) != group["id"]:
                    raise errors.FailedPrecondition(
                        f"Several security groups are named '{key}'.",
                        reason="SECURITY_GROUP_AMBIGUOUS",
                        security_group=key,
                    )
                found[key] = group["id"]
        return found

    def security_group_names(self, ids: Iterable[str]) -> dict[str, str]:
        """Names by id; groups that are gone are left out."""
        wanted = sorted(set(ids))
        if not wanted:
            return {}
        found = self._client.get("/security-groups", {"id": wanted})["security_groups"]
        return {group["id"]: group["name"] for group in found}

    def security_groups_by_id(self, ids: Iterable[str]) -> list[SecurityGroup]:
        """Groups with their rules, by name; those that are gone are left out."""
        wanted = sorted(set(ids))
        if not wanted:
            return []
        found = self._client.get("/security-groups", {"id": wanted})["security_groups"]
        return sorted((_group(body) for body in found), key=lambda group: (group.name, group.id))

    def change_port(self, port_id: str, changes: Mapping[str, Any]) -> Port:
        """Changes addresses (`fixed_ips`) or groups (`security_groups`) of a port. Raises `errors.NotFound`."""
        return self._port(self._client.put(f"/ports/{port_id}", {"port": dict(changes)})["port"])

    def floating_ip(self, address: str) -> FloatingIp | None:
        found = self._client.get("/floatingips", {"floating_ip_address": address})["floatingips"]
        return _floating(found[0]) if found else None

    def floating_ips_of(self, port_ids: Iterable[str]) -> list[FloatingIp]:
        """The floating addresses that lead to ports."""
        wanted = sorted(set(port_ids))
        if not wanted:
            return []
        return [
            _floating(body) for body in self._client.get("/floatingips", {"port_id": wanted})["floatingips"]
        ]

    def lead_floating_ip(self, floating_id: str, port_id: str, fixed_address: str = "") -> None:
        """Has a floating address lead to a port; to none, when that is empty."""
        body = {"port_id": port_id or None, "fixed_ip_address": fixed_address or None}
        self._client.put(f"/floatingips/{floating_id}", {"floatingip": body})

    def _port(self, body: Mapping[str, Any]) -> Port:
        return Port(
            id=body["id"],
            network_id=body["network_id"],
            project_id=body.get("project_id") or "",
            device_id=body.get("device_id") or "",
            host=body.get("binding:host_id") or "",
            mac=body["mac_address"],
            status=body.get("status") or "",
            fixed_ips=tuple(self._fixed_ip(item) for item in body.get("fixed_ips") or ()),
            vif_type=body.get("binding:vif_type") or "",
            vnic_type=body.get("binding:vnic_type") or "normal",
            vif_details=body.get("binding:vif_details") or {},
            security_groups=tuple(body.get("security_groups") or ()),
            binding_profile=body.get("binding:profile") or {},
            resource_request=body.get("resource_request"),
            tags=tuple(body.get("tags") or ()),
        )

    def _fixed_ip(self, item: Mapping[str, Any]) -> FixedIp:
        subnet = self._subnet(item["subnet_id"])
        return FixedIp(
            address=item["ip_address"],
            subnet_id=item["subnet_id"],
            cidr=subnet.get("cidr") or "",
            gateway=subnet.get("gateway_ip") or "",
            dns_servers=tuple(subnet.get("dns_nameservers") or ()),
            host_routes=tuple(
                (route["destination"], route["nexthop"]) for route in subnet.get("host_routes") or ()
            ),
            dhcp=bool(subnet.get("enable_dhcp", True)),
        )

    def _has_dns(self) -> bool:
        if self._dns is None:
            aliases = {item["alias"] for item in self._client.get("/extensions")["extensions"]}
            self._dns = "dns-integration" in aliases
        return self._dns

    def _subnet(self, subnet_id: str) -> Mapping[str, Any]:
        """A subnet's record, at most half a minute old: every port of it needs it, and it hardly changes."""
        now = time.monotonic()
        with self._lock:
            kept = self._subnets.get(subnet_id)
        if kept and now - kept[0] < _SUBNET_SECONDS:
            return kept[1]
        subnet = self._client.get(f"/subnets/{subnet_id}")["subnet"]
        with self._lock:
            self._subnets[subnet_id] = (now, subnet)
        return subnet


def _floating(body: Mapping[str, Any]) -> FloatingIp:
    return FloatingIp(
        id=body["id"],
        address=body["floating_ip_address"],
        project_id=body.get("project_id") or "",
        port_id=body.get("port_id") or "",
        fixed_address=body.get("fixed_ip_address") or "",
    )


def _group(body: Mapping[str, Any]) -> SecurityGroup:
    return SecurityGroup(
        id=body["id"],
        name=body["name"],
        description=body.get("description") or "",
        project_id=body.get("project_id") or "",
        rules=tuple(
            SecurityGroupRule(
                id=rule["id"],
                ether_type=rule.get("ethertype") or "IPv4",
                protocol=str(rule.get("protocol") or ""),
                from_port=rule.get("port_range_min"),
                to_port=rule.get("port_range_max"),
                cidr=rule.get("remote_ip_prefix") or "",
                remote_group_id=rule.get("remote_group_id") or "",
            )
            for rule in body.get("security_group_rules") or ()
            if rule.get("direction") == "ingress"
        ),
    )


def _network(body: Mapping[str, Any]) -> Network:
    return Network(
        id=body["id"],
        name=body.get("name") or "",
        project_id=body.get("project_id") or "",
        shared=bool(body.get("shared")),
        external=bool(body.get("router:external")),
        mtu=body.get("mtu") or 0,
        subnets=tuple(body.get("subnets") or ()),
        admin_state_up=bool(body.get("admin_state_up", True)),
    )
