"""Networks, ports and security groups a create request names, or the network it gets when it names none.

Nothing is made or bound here: that is the conductor's, once there is a host. What can already be told to be wrong
is told now.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Protocol

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import NetworkRequest
from protonova.services.runtime import errors
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.openstack.network import Network, Port

DEFAULT_GROUP = "default"


class NetworkSource(Protocol):
    """What is asked of the network service."""

    def networks(self, project_id: str, ids: Iterable[str] = ()) -> list[Network]: ...
    def port(self, port_id: str) -> Port: ...
    def security_groups(self, project_id: str, names_or_ids: Iterable[str]) -> dict[str, str]: ...


def resolve(
    source: NetworkSource, request: pb.CreateServersRequest, most: int, caller: RequestContext
) -> list[NetworkRequest]:
    """The networks each server is to be plugged into; no call is made for a request without any."""
    if request.network_mode == pb.NETWORK_MODE_NONE:
        return []
    if not request.networks or request.network_mode == pb.NETWORK_MODE_AUTO:
        return _automatic(source, request, caller)
    _check_form(request.networks, most)
    named = _named_networks(source, request.networks, caller)
    resolved = []
    for index, wanted in enumerate(request.networks):
        field = f"networks[{index}]"
        network_request = NetworkRequest()
        network_request.CopyFrom(wanted)
        if wanted.port_id:
            port = _port(source, wanted.port_id, field, caller, request.allow_port_resource_requests)
            network_request.network_id = port.network_id
        else:
            _check_network(named, wanted, field, caller, request.allow_external_networks)
        resolved.append(network_request)
    return resolved


def security_groups(
    source: NetworkSource, wanted: Sequence[str], networks: int, caller: RequestContext
) -> list[str]:
    """Names of the security groups; the one every project has needs no call.
    Raises SECURITY_GROUP_NOT_FOUND, SECURITY_GROUP_AMBIGUOUS."""
    names = list(dict.fromkeys(wanted)) or [DEFAULT_GROUP]
    asked = [name for name in names if name != DEFAULT_GROUP]
    if not asked or not networks:
        return names
    found = source.security_groups(caller.project_id, asked)
    for name in asked:
        if name not in found:
            raise errors.InvalidArgument(
                f"Security group {name} could not be found.", reason="SECURITY_GROUP_NOT_FOUND", name=name
            )
    return names


def _automatic(
    source: NetworkSource, request: pb.CreateServersRequest, caller: RequestContext
) -> list[NetworkRequest]:
    usable = [
        network
        for network in source.networks(caller.project_id)
        if network.admin_state_up
        and network.subnets
        and (network.project_id == caller.project_id or (network.shared and not network.external))
    ]
    if len(usable) > 1:
        raise errors.FailedPrecondition(
            "Multiple possible networks found, use a Network ID to be more specific.",
            reason="NETWORK_AMBIGUOUS",
            network_ids=",".join(network.id for network in usable),
        )
    if not usable and request.network_mode == pb.NETWORK_MODE_AUTO:
        raise unusable("network_mode", "none_available", "No network is there to be chosen automatically.")
    return [NetworkRequest(network_id=network.id) for network in usable]


def _check_form(wanted: Sequence[NetworkRequest], most: int) -> None:
    ports: set[str] = set()
    for index, item in enumerate(wanted):
        field = f"networks[{index}]"
        if not item.network_id and not item.port_id:
            raise unusable(field, "unknown", f"{field} names neither a network nor a port.")
        if item.port_id in ports:
            raise unusable(field, "duplicate", f"Port {item.port_id} is named twice.", port_id=item.port_id)
        ports.update({item.port_id} - {""})
        if item.port_id and item.fixed_address:
            raise unusable(field, "fixed_address", "A port has its addresses already.", port_id=item.port_id)
        if most > 1 and (item.port_id or item.fixed_address):
            raise unusable(
                field, "several_servers", "A port or an address cannot be given to several servers."
            )
        if item.fixed_address:
            _check_address(item.fixed_address, field)


def _check_address(address: str, field: str) -> None:
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise unusable(field, "fixed_address", f"'{address}' is not an address.") from None


def _named_networks(
    source: NetworkSource, wanted: Iterable[NetworkRequest], caller: RequestContext
) -> dict[str, Network]:
    ids = [item.network_id for item in wanted if item.network_id and not item.port_id]
    if not ids:
        return {}
    return {network.id: network for network in source.networks(caller.project_id, list(dict.fromkeys(ids)))}


def _check_network(
    named: dict[str, Network],
    wanted: NetworkRequest,
    field: str,
    caller: RequestContext,
    allow_external: bool,
) -> None:
    network = named.get(wanted.network_id)
    if network is None:
        raise unusable(
            field, "unknown", f"Network {wanted.network_id} could not be found.", network_id=wanted.network_id
        )
    foreign = network.project_id != caller.project_id and not network.shared
    if network.external and foreign and not allow_external:
        raise errors.PermissionDenied(
            f"It is not allowed to create an interface on external network {network.id}.",
            reason="EXTERNAL_NETWORK_FORBIDDEN",
            network_id=network.id,
        )
    if not network.subnets:
        raise unusable(
            field,
            "no_subnet",
            f"Network {network.id} requires a subnet to boot servers on.",
            network_id=network.id,
        )


def _port(
    source: NetworkSource, port_id: str, field: str, caller: RequestContext, resource_requests: bool
) -> Port:
    try:
        port = source.port(port_id)
    except (errors.NotFound, errors.InvalidArgument):
        port = None
    if port is None or port.project_id != caller.project_id:
        raise unusable(field, "port_unknown", f"Port {port_id} could not be found.", port_id=port_id)
    if port.device_id:
        raise errors.FailedPrecondition(
            f"Port {port_id} is still in use.",
            reason="PORT_IN_USE",
            port_id=port_id,
            server_id=port.device_id,
        )
    if not port.fixed_ips:
        raise unusable(field, "no_address", f"Port {port_id} requires a fixed address.", port_id=port_id)
    if any((port.resource_request or {}).values()) and not resource_requests:
        raise unusable(
            field, "resource_request", f"Port {port_id} asks for resources of its own.", port_id=port_id
        )
    return port


def unusable(field: str, cause: str, text: str, **facts: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(text, reason="NETWORK_UNUSABLE", field=field, cause=cause, **facts)
