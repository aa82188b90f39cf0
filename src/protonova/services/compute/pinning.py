"""Which host CPUs, pages and PCI devices belong to which guest.

The guests themselves are the record: a driver keeps with each what it was given, and takes it away with the guest.
Here is only what is being made at this moment, so nothing is lost with the agent and nothing is left behind by it.
Fitting a guest and taking what it gets is one step under the host's lock: whatever schedulers believed, no CPU and
no device is given twice.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from protonova.common.v1.numa_pb2 import GuestTopology, HostTopology
from protonova.common.v1.pci_pb2 import HostDevices, PciDevice
from protonova.common.v1.server_pb2 import Server
from protonova.services.compute.devices import OfferedDevices
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.virt import errors
from protonova.services.numa import usage
from protonova.services.pci import devices as pci
from protonova.services.pci.fit import Providers, fit, why_not

# For how long schedulers are told that a server has been here.
_LATELY_SECONDS = 30.0


@dataclass(frozen=True)
class Given:
    """What a guest has of its host. No topology: it lies wherever the host likes."""

    topology: GuestTopology | None = None
    devices: tuple[PciDevice, ...] = ()


class Pinning:
    """For all hosts of an agent. `changed` is called after something was taken or given back."""

    def __init__(
        self,
        hosts: Hosts,
        offered: OfferedDevices | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.changed = changed
        self.offered = offered or OfferedDevices()
        self._books = {host.name: _Book() for host in hosts}

    def topology(self, host: Host) -> HostTopology | None:
        """The cells of a host with what guests hold of them; None for one that tells of none."""
        book = self._books[host.name]
        with book.lock:
            bare = host.driver.topology()
            return None if bare is None else usage.counted(bare, _topologies(book.held(host).values()))

    def devices(self, host: Host) -> HostDevices | None:
        """The pools of a host, and who has been given something of them; None for one without devices for
        guests."""
        book = self._books[host.name]
        offered = self.offered.of(host)
        with book.lock:
            held = {server_id: one for server_id, one in book.held(host).items() if one.devices}
            heard_of = {*held, *book.lately()}
        if not offered and not held:
            return None
        return HostDevices(
            pools=pci.pools(offered, _devices(held.values())).told, server_ids=sorted(heard_of)
        )

    def held_devices(self, host: Host) -> list[PciDevice]:
        """All that guests have, or are being given."""
        book = self._books[host.name]
        with book.lock:
            return list(_devices(book.held(host).values()))

    def take(self, host: Host, server: Server, providers: Providers | None = None) -> Given | None:
        """What a server gets on a host, to be kept by a guest before `give_back` is called. A guest that is there
        keeps what it has. None for a server that asks for nothing of this. `providers`: by PCI request, what was
        claimed in placement. Raises HostRefuses."""
        if not server.HasField("numa_topology") and not server.pci_requests:
            return None
        wanted = usage.requested(server.numa_topology) if server.HasField("numa_topology") else None
        book = self._books[host.name]
        offered = self.offered.of(host)
        with book.lock:
            if server.pci_requests:
                book.seen[server.id] = time.monotonic()
                self.changed()
            held = book.held(host)
            known = held.pop(server.id, None)
            if known is not None and _is_what_is_wanted(known, wanted, server, providers or {}):
                given = known
            else:
                given = _fitted(host, wanted, server, providers or {}, offered, held)
            book.making[server.id] = (given, book.making.get(server.id, (given, 0))[1] + 1)
        self.changed()
        return given

    def give_back(self, host: Host, server_id: str) -> None:
        """The making of a guest has ended, well or not: from now on only what the driver keeps counts."""
        book = self._books[host.name]
        with book.lock:
            given, times = book.making.pop(server_id)
            if times > 1:
                book.making[server_id] = (given, times - 1)
        self.changed()


class _Book:
    """One host's."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        # By server id: what it gets, and how many calls are making it.
        self.making: dict[str, tuple[Given, int]] = {}
        # Servers that asked for devices, and when.
        self.seen: dict[str, float] = {}

    def lately(self) -> list[str]:
        """Servers that asked for devices a moment ago, whatever became of them."""
        since = time.monotonic() - _LATELY_SECONDS
        self.seen = {server_id: at for server_id, at in self.seen.items() if at > since}
        return list(self.seen)

    def held(self, host: Host) -> dict[str, Given]:
        topologies, devices = host.driver.topologies(), host.driver.devices_held()
        kept = {
            server_id: Given(topologies.get(server_id), tuple(devices.get(server_id, ())))
            for server_id in {**topologies, **devices}
        }
        return {**kept, **{server_id: given for server_id, (given, _) in self.making.items()}}


def _topologies(held: Iterable[Given]) -> Iterable[GuestTopology]:
    return (one.topology for one in held if one.topology is not None)


def _devices(held: Iterable[Given]) -> Iterable[PciDevice]:
    return (device for one in held for device in one.devices)


def _is_what_is_wanted(
    known: Given, wanted: GuestTopology | None, server: Server, providers: Providers
) -> bool:
    before = None if known.topology is None else usage.requested(known.topology)
    return (
        before == wanted
        and pci.serve(known.devices, server.pci_requests)
        and all(_claimed(known, request_id, some) for request_id, some in providers.items())
    )


def _claimed(known: Given, request_id: str, providers: Sequence[str]) -> bool:
    """Whether the devices of a request are those that were claimed."""
    own = [device.provider_id for device in known.devices if device.request_id == request_id]
    return sorted(own) == sorted(providers)


def _fitted(
    host: Host,
    wanted: GuestTopology | None,
    server: Server,
    providers: Providers,
    offered: Sequence[pci.Device],
    held: Mapping[str, Given],
) -> Given:
    """Raises HostRefuses."""
    bare = host.driver.topology() or HostTopology()
    there = usage.counted(bare, _topologies(held.values()))
    pools = pci.pools(offered, _devices(held.values()))
    requests = server.pci_requests
    found = fit(pools.told, requests, there, wanted, providers)
    if found is None:
        reason = why_not(pools.told, requests, there, wanted, providers)
        if requests:
            message, resource = f"{host.name} cannot give the guest its PCI devices: {reason}", "pci_devices"
        else:
            message, resource = (
                f"{host.name} cannot take the guest's NUMA topology: {reason}",
                "numa_topology",
            )
        raise errors.HostRefuses(message, resource=resource)
    return Given(found.topology, pci.pick(pools.free, found.takes, requests, providers))
