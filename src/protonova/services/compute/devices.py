"""The PCI devices of an agent's hosts that guests may have.

Drivers find devices; `[pci] device_spec` says which of them are for guests. Looking for them is left to those who
look at the hardware now and then: between two looks the devices found last are those there are.

Where placement is told of devices each has a resource provider below that of its host, virtual functions that of
their physical one. Its id follows from node and address, so that nobody has to remember it.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import replace

from protonova.common.v1 import pci_pb2 as pb
from protonova.services.compute.hosts import Host
from protonova.services.compute.virt import errors
from protonova.services.pci import specs
from protonova.services.pci.devices import Device
from protonova.services.pci.specs import DeviceSpec


def read_specs(values: Iterable[str]) -> list[DeviceSpec]:
    """Raises DriverError naming the field."""
    try:
        return specs.read(values)
    except ValueError as error:
        raise errors.DriverError(f"[pci]device_spec: {error}") from error


def provider_id(node_id: str, address: str) -> str:
    """Of the provider of a device, or of the virtual functions of one."""
    return str(uuid.uuid5(uuid.UUID(node_id), f"pci {address}"))


class OfferedDevices:
    """Of all hosts of an agent, as found last. `in_placement`: they have providers there."""

    def __init__(self, wanted: Sequence[DeviceSpec] = (), *, in_placement: bool = False) -> None:
        self.in_placement = in_placement
        self._specs = tuple(wanted)
        self._lock = threading.Lock()
        self._found: dict[str, tuple[Device, ...]] = {}

    def of(self, host: Host) -> tuple[Device, ...]:
        """By address."""
        with self._lock:
            found = self._found.get(host.name)
        return self.look(host) if found is None else found

    def look(self, host: Host) -> tuple[Device, ...]:
        """Looks at the hardware anew. Raises DriverError."""
        found: tuple[Device, ...] = ()
        if self._specs:
            offered = specs.offered(host.driver.pci_devices(), self._specs)
            if self.in_placement:
                _check(offered)
                offered = [_provided(host, device) for device in offered]
            found = tuple(offered)
        with self._lock:
            self._found[host.name] = found
        return found


def provider_address(device: Device) -> str:
    """The address by which the provider of a device is known."""
    return device.parent or device.address


def _provided(host: Host, device: Device) -> Device:
    """Devices of physical networks are for ports, of which placement is told elsewhere."""
    if "physical_network" in device.tags:
        return device
    return replace(device, provider_id=provider_id(host.node_id, provider_address(device)))


def _check(offered: Sequence[Device]) -> None:
    """What one provider stands for is of one kind: placement knows nothing of functions that exclude each other.
    Raises DriverError."""
    by_address = {device.address: device for device in offered}
    kinds: dict[str, Device] = {}
    for device in offered:
        if device.parent in by_address:
            raise errors.DriverError(
                f"[pci]device_spec: {device.parent} and its virtual function {device.address} cannot both be told "
                "to placement"
            )
        one = kinds.setdefault(provider_address(device), device)
        if (one.offered_as, one.traits) != (device.offered_as, device.traits):
            raise errors.DriverError(
                f"[pci]device_spec: {one.address} and {device.address} are functions of one device, and have "
                "different resource classes or traits"
            )


def held_unclaimed(held: Iterable[pb.PciDevice]) -> dict[str, int]:
    """How many devices guests hold that were not claimed in placement, by the address of their provider."""
    counts: dict[str, int] = {}
    for device in held:
        if not device.provider_id:
            address = device.parent_address or device.address
            counts[address] = counts.get(address, 0) + 1
    return counts
