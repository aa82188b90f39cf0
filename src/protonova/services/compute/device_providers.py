"""The PCI devices of the hosts, told to placement: a provider for each below that of its host.

Virtual functions are inventory of the provider of their physical function. What guests hold without having claimed
it there, because nobody asked placement for it, is reserved. Providers are known by ids that follow from node and
address; those of no device any more are removed once nobody holds anything of them, all others are left alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import grpc

from protonova.common.v1.pci_pb2 import PciDevice
from protonova.placement.v1 import (
    resource_class_pb2,
    resource_class_pb2_grpc,
    resource_provider_pb2_grpc,
    trait_pb2,
    trait_pb2_grpc,
)
from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.services.compute.devices import held_unclaimed, provider_address, provider_id
from protonova.services.compute.hosts import Host
from protonova.services.pci.devices import Device
from protonova.services.runtime import errors

LOG = logging.getLogger(__name__)

_ATTEMPTS = 5
_IN_USE = frozenset({"INVENTORY_IN_USE", "PROVIDER_IN_USE"})


@dataclass
class _Provider:
    """What placement is to know of the device, or the virtual functions, at an address."""

    name: str
    amounts: Counter[str] = field(default_factory=Counter)
    traits: tuple[str, ...] = ()
    reserved: int = 0

    def inventories(self) -> dict[str, pb.Inventory]:
        return {
            name: pb.Inventory(
                total=total,
                reserved=min(self.reserved, total),
                min_unit=1,
                max_unit=total,
                step_size=1,
                allocation_ratio=1.0,
            )
            for name, total in self.amounts.items()
        }


class DeviceProviders:
    """Keeps the providers of devices as the agent knows them."""

    def __init__(self, placement: grpc.Channel) -> None:
        self._providers = resource_provider_pb2_grpc.ResourceProviderServiceStub(placement)
        self._classes = resource_class_pb2_grpc.ResourceClassServiceStub(placement)
        self._traits = trait_pb2_grpc.TraitServiceStub(placement)
        self._written: dict[str, dict[str, _Provider]] = {}
        self._known_names: set[str] = set()

    def report(self, host: Host, offered: Iterable[Device], held: Iterable[PciDevice]) -> None:
        """Makes placement agree. Raises transient errors of placement."""
        wanted = _wanted(host, offered, held)
        if self._written.get(host.name) == wanted:
            return
        there = self._there(host)
        settled = True
        for id_, provider in wanted.items():
            if id_ not in there:
                request = pb.CreateResourceProviderRequest(id=id_, name=provider.name, parent_id=host.node_id)
                self._providers.CreateResourceProvider(request)
            settled &= self._agree(id_, provider)
        for id_ in there - wanted.keys():
            settled &= self._remove(id_)
        if settled:
            self._written[host.name] = wanted
        else:
            self._written.pop(host.name, None)

    def forget(self) -> None:
        """The next report writes everything again."""
        self._written.clear()
        self._known_names.clear()

    def _there(self, host: Host) -> set[str]:
        """Providers below the host that are of devices."""
        answer = self._providers.ListResourceProviders(pb.ListResourceProvidersRequest(in_tree=host.node_id))
        return {
            found.id
            for found in answer.providers
            if found.parent_id == host.node_id
            and found.id == provider_id(host.node_id, found.name.rpartition("_")[2])
        }

    def _agree(self, id_: str, provider: _Provider) -> bool:
        """Whether it does; what is in use keeps its inventory for now."""
        for name in provider.amounts:
            self._ensure(name, provider.traits)
        for _ in range(_ATTEMPTS):
            found = self._providers.GetResourceProvider(pb.GetResourceProviderRequest(id=id_)).provider
            try:
                answer = self._providers.UpdateInventories(
                    pb.UpdateInventoriesRequest(
                        id=id_,
                        generation=found.generation,
                        change=pb.INVENTORY_CHANGE_REPLACE_ALL,
                        inventories=provider.inventories(),
                        allow_full_reservation=True,
                    )
                )
                self._providers.ReplaceProviderTraits(
                    pb.ReplaceProviderTraitsRequest(
                        id=id_, generation=answer.generation, traits=provider.traits
                    )
                )
                return True
            except errors.Aborted:
                continue  # allocations move the generation too: look again
            except errors.Error as error:
                if error.reason not in _IN_USE:
                    raise
                LOG.warning("Provider %s stays as it is: %s", provider.name, error)
                return False
        raise errors.Aborted(f"The provider {provider.name} changes too fast.", reason="CONCURRENT_UPDATE")

    def _remove(self, id_: str) -> bool:
        try:
            self._providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=id_))
        except errors.NotFound:
            return True
        except errors.Error as error:
            if error.reason not in _IN_USE:
                raise
            LOG.warning("The provider %s of a device that is gone stays: %s", id_, error)
            return False
        return True

    def _ensure(self, resource_class: str, traits: Iterable[str]) -> None:
        """Custom names are made before they are used."""
        if resource_class.startswith("CUSTOM_") and resource_class not in self._known_names:
            self._classes.EnsureResourceClass(
                resource_class_pb2.EnsureResourceClassRequest(name=resource_class)
            )
            self._known_names.add(resource_class)
        for name in traits:
            if name.startswith("CUSTOM_") and name not in self._known_names:
                self._traits.EnsureTrait(trait_pb2.EnsureTraitRequest(name=name))
                self._known_names.add(name)


def _wanted(host: Host, offered: Iterable[Device], held: Iterable[PciDevice]) -> dict[str, _Provider]:
    """By provider id."""
    reserved = held_unclaimed(held)
    wanted: dict[str, _Provider] = {}
    for device in offered:
        if device.provider_id:
            address = provider_address(device)
            provider = wanted.setdefault(device.provider_id, _Provider(f"{host.name}_{address}"))
            provider.amounts[device.offered_as] += 1
            provider.traits = tuple(sorted(device.traits))
            provider.reserved = reserved.get(address, 0)
    return wanted
