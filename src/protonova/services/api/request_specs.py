"""What a server that is there needs of a host."""

from __future__ import annotations

from collections.abc import Iterable

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.numa_pb2 import GuestTopology
from protonova.common.v1.pci_pb2 import PciRequest
from protonova.common.v1.server_pb2 import Server
from protonova.scheduler.v1.scheduler_pb2 import RequestSpec
from protonova.services.api.creation import block_devices


def of_server(
    server: Server,
    flavor: Flavor,
    topology: GuestTopology | None = None,
    devices: Iterable[PciRequest] = (),
) -> RequestSpec:
    """Asked for as the server's creation did, with a flavor that may be another one."""
    return RequestSpec(
        project_id=server.project_id,
        user_id=server.user_id,
        flavor=flavor,
        image=server.image,
        boots_from_volume=block_devices.boots_from_volume(server.block_devices),
        availability_zone=server.pinned_availability_zone,
        scheduler_hints=server.scheduler_hints,
        server_group_ids=server.server_group_ids,
        numa_topology=topology,
        pci_requests=devices,
    )
