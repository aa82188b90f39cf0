"""What a guest may read about itself: the documents of its config drive, in the layout cloud-init knows.

Pure: from a server to bytes by path. Layout and keys are the public ones of the OpenStack metadata service.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterable
from typing import Any

import orjson

from protonova.common.v1 import server_pb2
from protonova.compute.v1 import guest_pb2

_RELEASES = ("latest", "2018-08-27")


def documents(
    server: server_pb2.Server, admin_password: str = "", files: Iterable[guest_pb2.GuestFile] = ()
) -> dict[str, bytes]:
    """Bytes by path, e.g. `openstack/latest/meta_data.json`."""
    contents = {f"openstack/content/{number:04d}": file for number, file in enumerate(files)}
    meta = meta_data(server, admin_password)
    if contents:
        meta["files"] = [
            {"path": file.path, "content_path": path.removeprefix("openstack")}
            for path, file in contents.items()
        ]
    release = {
        "meta_data.json": orjson.dumps(meta),
        "network_data.json": orjson.dumps(network_data(server.interfaces)),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
    }
    if script := user_data(server):
        release["user_data"] = script
    found = {f"openstack/{name}/{file}": content for name in _RELEASES for file, content in release.items()}
    found.update({path: file.contents for path, file in contents.items()})
    return found


def user_data(server: server_pb2.Server) -> bytes:
    """What the user gave for the guest to run or read; empty when there is none."""
    try:
        return base64.b64decode(server.user_data)
    except (binascii.Error, ValueError):
        return b""


def meta_data(server: server_pb2.Server, admin_password: str = "") -> dict[str, Any]:
    """The identity of a server."""
    meta: dict[str, Any] = {
        "uuid": server.id,
        "name": server.name,
        "hostname": server.hostname,
        "availability_zone": server.availability_zone,
        "launch_index": server.launch_index,
        "project_id": server.project_id,
        "meta": dict(server.metadata),
        "devices": _devices(server),
        "dedicated_cpus": [],
    }
    if server.key_data:
        meta["public_keys"] = {server.key_name: server.key_data}
        meta["keys"] = [{"name": server.key_name, "type": "ssh", "data": server.key_data}]
    if admin_password:
        meta["admin_pass"] = admin_password
    return meta


def network_data(interfaces: Iterable[server_pb2.NetworkInterface]) -> dict[str, Any]:
    """Links, networks and name servers of a server."""
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    name_servers: dict[str, None] = {}
    for number, interface in enumerate(interfaces):
        link = f"tap{interface.port_id[:11]}"
        links.append(
            {
                "id": link,
                "vif_id": interface.port_id,
                "type": interface.vif_type or "bridge",
                "mtu": interface.mtu or None,
                "ethernet_mac_address": interface.mac_address,
            }
        )
        for address in interface.addresses:
            networks.append(_network(f"network{number}", link, interface.network_id, address))
            name_servers.update(dict.fromkeys(address.dns_servers))
    services = [{"type": "dns", "address": address} for address in name_servers]
    return {"links": links, "networks": networks, "services": services}


def _network(name: str, link: str, network_id: str, address: server_pb2.FixedAddress) -> dict[str, Any]:
    version = ipaddress.ip_address(address.address).version
    entry: dict[str, Any] = {"id": name, "link": link, "network_id": network_id}
    if address.dhcp:
        return {**entry, "type": f"ipv{version}_dhcp"}
    routes = [
        {"network": str(net.network_address), "netmask": str(net.netmask), "gateway": route.next_hop}
        for route in address.host_routes
        for net in (ipaddress.ip_network(route.destination, strict=False),)
    ]
    if address.gateway:
        any_address = "0.0.0.0" if version == 4 else "::"  # noqa: S104 - a default route, not a listener
        routes.append({"network": any_address, "netmask": any_address, "gateway": address.gateway})
    netmask = str(ipaddress.ip_network(address.cidr, strict=False).netmask) if address.cidr else ""
    return {
        **entry,
        "type": f"ipv{version}",
        "ip_address": address.address,
        "netmask": netmask,
        "routes": routes,
    }


def _devices(server: server_pb2.Server) -> list[dict[str, Any]]:
    tagged: list[dict[str, Any]] = [
        {"type": "nic", "bus": "pci", "mac": interface.mac_address, "tags": [interface.tag]}
        for interface in server.interfaces
        if interface.tag
    ]
    tagged.extend(
        {"type": "disk", "bus": device.disk_bus or "virtio", "serial": device.volume_id, "tags": [device.tag]}
        for device in server.block_devices
        if device.tag
    )
    return tagged
