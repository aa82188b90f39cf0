"""Addresses of ports: which subnet, which address, and that none is given out twice.

Everything here runs in the caller's write transaction. An address is taken by inserting it under its key; whoever
inserts first has it.
"""

import ipaddress
import sqlite3
from typing import Any

from protonova.companions import store
from protonova.companions.fault import Fault, bad, conflict
from protonova.companions.network.fault import invalid

FixedIp = dict[str, str]
_BY_HOST = ("slaac", "dhcpv6-stateless")


def packed(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


def by_host(subnet: store.Row) -> bool:
    """Do hosts form their own addresses here, from their MAC address?"""
    return subnet["ipv6_address_mode"] in _BY_HOST or subnet["ipv6_ra_mode"] in _BY_HOST


def from_mac(cidr: str, mac: str) -> str:
    """The modified EUI-64 address of an interface in a network."""
    parts = bytes.fromhex(mac.replace(":", ""))
    interface = bytes([parts[0] ^ 2]) + parts[1:3] + b"\xff\xfe" + parts[3:]
    network = ipaddress.ip_network(cidr)
    return str(network.network_address + int.from_bytes(interface, "big"))


def take(db: sqlite3.Connection, subnet_id: str, text: str, port_id: str) -> bool:
    row = {"subnet_id": subnet_id, "address": packed(text), "port_id": port_id, "text": text}
    return store.insert(db, "addresses", row, ignore=True) == 1


def next_free(db: sqlite3.Connection, subnet_id: str) -> str | None:
    """The next free address of the subnet's pools, going round so that a freed one is not reused at once."""
    for pool in store.select(db, "pools", store.Where(subnet_id=subnet_id), "ORDER BY first"):
        first, last, cursor = pool["first"], pool["last"], pool["cursor"]
        found = None
        if cursor is None:
            found = _gap(db, subnet_id, first, last)
        else:
            if cursor < last:
                found = _gap(db, subnet_id, _following(cursor), last)
            found = found or _gap(db, subnet_id, first, cursor)
        if found is not None:
            store.update(db, "pools", {"cursor": found}, subnet_id=subnet_id, first=first)
            return str(ipaddress.ip_address(found))
    return None


def _following(address: bytes) -> bytes:
    return (int.from_bytes(address, "big") + 1).to_bytes(len(address), "big")


def _gap(db: sqlite3.Connection, subnet_id: str, low: bytes, high: bytes) -> bytes | None:
    """The lowest address in the range that nobody has."""
    candidate = low
    taken = db.execute(
        "SELECT address FROM addresses WHERE subnet_id = ? AND address BETWEEN ? AND ? ORDER BY address",
        (subnet_id, low, high),
    )
    try:
        for row in taken:
            if row["address"] > candidate:
                break
            if row["address"] == high:
                return None
            candidate = _following(row["address"])
        return candidate
    finally:
        taken.close()


def automatic(db: sqlite3.Connection, network_id: str, port_id: str, mac: str) -> list[FixedIp]:
    """One IPv4 address, one IPv6 address, and what a host forms by itself: as far as the network has subnets."""
    subnets = store.select(db, "subnets", store.Where(network_id=network_id), "ORDER BY created_at, id")
    given = []
    for version in (4, 6):
        managed = [row for row in subnets if row["ip_version"] == version and not by_host(row)]
        if managed:
            given.append(_from_any(db, network_id, managed, port_id))
    for subnet in subnets:
        if by_host(subnet):
            given.append(_formed(db, subnet, port_id, mac))
    return given


def _from_any(db: sqlite3.Connection, network_id: str, subnets: list[store.Row], port_id: str) -> FixedIp:
    for subnet in subnets:
        text = next_free(db, subnet["id"])
        if text and take(db, subnet["id"], text, port_id):
            return {"subnet_id": subnet["id"], "ip_address": text}
    raise conflict(f"No more IP addresses available on network {network_id}.", "IpAddressGenerationFailure")


def _formed(db: sqlite3.Connection, subnet: store.Row, port_id: str, mac: str) -> FixedIp:
    return _exactly(db, subnet, from_mac(subnet["cidr"], mac), port_id)


def _exactly(db: sqlite3.Connection, subnet: store.Row, text: str, port_id: str) -> FixedIp:
    if not take(db, subnet["id"], text, port_id):
        raise conflict(
            f"IP address {text} is already allocated in subnet {subnet['id']}.", "IpAddressAlreadyAllocated"
        )
    return {"subnet_id": subnet["id"], "ip_address": text}


def requested(
    db: sqlite3.Connection, network_id: str, port_id: str, mac: str, wanted: list[dict[str, Any]]
) -> list[FixedIp]:
    """The addresses a request names: by address, by subnet, or by both."""
    subnets = {row["id"]: row for row in store.select(db, "subnets", store.Where(network_id=network_id))}
    given = []
    for entry in wanted:
        subnet_id, text = entry.get("subnet_id"), entry.get("ip_address")
        if subnet_id and subnet_id not in subnets:
            if store.find(db, "subnets", id=subnet_id) is None:
                raise Fault(404, f"Subnet {subnet_id} could not be found.", "SubnetNotFound")
            raise invalid(f"subnet {subnet_id} is not on network {network_id}")
        if text is None:
            if not subnet_id:
                raise invalid("an entry of 'fixed_ips' needs a subnet_id or an ip_address")
            subnet = subnets[subnet_id]
            if by_host(subnet):
                given.append(_formed(db, subnet, port_id, mac))
            else:
                given.append(_from_any(db, network_id, [subnet], port_id))
            continue
        subnet = subnets[subnet_id] if subnet_id else _holding(subnets, network_id, text)
        _fits(subnet, text)
        if by_host(subnet) and text != from_mac(subnet["cidr"], mac):
            raise invalid(
                f"subnet {subnet['id']} takes its addresses from MAC addresses; {text} is not of this port"
            )
        given.append(_exactly(db, subnet, text, port_id))
    return given


def _holding(subnets: dict[str, store.Row], network_id: str, text: str) -> store.Row:
    address = ipaddress.ip_address(text)
    for subnet in subnets.values():
        network = ipaddress.ip_network(subnet["cidr"])
        if network.version == address.version and address in network:
            return subnet
    raise bad(
        f"IP address {text} is not a valid IP for any of the subnets on network {network_id}.",
        "InvalidIpForNetwork",
    )


def _fits(subnet: store.Row, text: str) -> None:
    address, network = ipaddress.ip_address(text), ipaddress.ip_network(subnet["cidr"])
    fits = network.version == address.version and address in network
    if fits and network.version == 4 and network.prefixlen < 31:
        fits = address not in (network.network_address, network.broadcast_address)
    elif fits and network.version == 6 and network.prefixlen < 127:
        fits = address != network.network_address
    if not fits:
        raise bad(f"IP address {text} is not a valid IP for subnet {subnet['id']}.", "InvalidIpForSubnet")


def release(db: sqlite3.Connection, port_id: str, kept: list[FixedIp] | None = None) -> None:
    """Give back the port's addresses, except the kept ones."""
    stays = {(entry["subnet_id"], entry["ip_address"]) for entry in kept or []}
    for row in store.select(db, "addresses", store.Where(port_id=port_id)):
        if (row["subnet_id"], row["text"]) not in stays:
            store.delete(db, "addresses", subnet_id=row["subnet_id"], address=row["address"])
