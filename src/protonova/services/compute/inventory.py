"""What the hosts can give, told to placement.

The hypervisor owns the facts; placement owns the providers. The reporter writes inventory and traits of the
providers of its own hosts and of nobody else's, and only when they differ from what it wrote last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2_grpc
from protonova.services.compute.hosts import Host
from protonova.services.compute.virt.driver import HostInventory
from protonova.services.runtime import errors

LOG = logging.getLogger(__name__)

_ATTEMPTS = 5


class InventoryReporter:
    """Keeps the providers of some hosts as their drivers tell."""

    def __init__(self, placement: resource_provider_pb2_grpc.ResourceProviderServiceStub) -> None:
        self._placement = placement
        self._written: dict[str, tuple[dict[str, pb.Inventory], tuple[str, ...]]] = {}

    def report(self, host: Host, inventory: HostInventory) -> None:
        """Makes placement agree with an inventory. Raises transient errors of placement."""
        wanted = (_inventories(inventory), tuple(sorted(inventory.traits)))
        if self._written.get(host.node_id) == wanted:
            return
        for _ in range(_ATTEMPTS):
            try:
                self._write(host, *wanted)
            except errors.Aborted:
                continue  # allocations move the generation too: look again
            self._written[host.node_id] = wanted
            return
        raise errors.Aborted(f"The provider of {host.name} changes too fast.", reason="CONCURRENT_UPDATE")

    def forget(self) -> None:
        """The next report writes everything again."""
        self._written.clear()

    def _write(self, host: Host, inventories: dict[str, pb.Inventory], traits: Iterable[str]) -> None:
        generation = self._generation(host)
        answer = self._placement.UpdateInventories(
            pb.UpdateInventoriesRequest(
                id=host.node_id,
                generation=generation,
                change=pb.INVENTORY_CHANGE_REPLACE_ALL,
                inventories=inventories,
                allow_full_reservation=True,
            )
        )
        self._placement.ReplaceProviderTraits(
            pb.ReplaceProviderTraitsRequest(id=host.node_id, generation=answer.generation, traits=traits)
        )

    def _generation(self, host: Host) -> int:
        try:
            found = self._placement.GetResourceProvider(pb.GetResourceProviderRequest(id=host.node_id))
        except errors.NotFound:
            LOG.info("Making the resource provider %s of host %s", host.node_id, host.name)
            made = self._placement.CreateResourceProvider(
                pb.CreateResourceProviderRequest(id=host.node_id, name=host.name)
            )
            return made.provider.generation
        return found.provider.generation


def _inventories(inventory: HostInventory) -> dict[str, pb.Inventory]:
    lines = (
        ("VCPU", inventory.vcpus, inventory.reserved_vcpus, inventory.cpu_allocation_ratio),
        ("PCPU", inventory.dedicated_cpus, 0, 1.0),
        ("MEMORY_MB", inventory.memory_mb, inventory.reserved_memory_mb, inventory.memory_allocation_ratio),
        ("VGPU", inventory.vgpus, 0, 1.0),
        ("DISK_GB", inventory.disk_gb, inventory.reserved_disk_gb, inventory.disk_allocation_ratio),
    )
    return {
        name: pb.Inventory(
            total=total,
            reserved=min(reserved, total),
            min_unit=1,
            max_unit=total,
            step_size=1,
            allocation_ratio=ratio,
        )
        for name, total, reserved, ratio in lines
        if total > 0
    }
