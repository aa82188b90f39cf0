"""From a server, as its cell tells of it, to the guest a driver is asked for. Pure: no calls, no state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format

from protonova.common.v1 import server_pb2
from protonova.common.v1.numa_pb2 import GuestTopology
from protonova.common.v1.pci_pb2 import PciDevice
from protonova.compute.v1 import guest_pb2
from protonova.services.compute import metadata
from protonova.services.compute.virt.driver import (
    FixedIP,
    GuestSpec,
    ImageSource,
    NicSpec,
    PowerState,
    ShareMount,
    VolumeDisk,
)

_POWER_STATES = {
    PowerState.NOSTATE: server_pb2.POWER_STATE_UNSPECIFIED,
    PowerState.RUNNING: server_pb2.POWER_STATE_RUNNING,
    PowerState.PAUSED: server_pb2.POWER_STATE_PAUSED,
    PowerState.SHUTDOWN: server_pb2.POWER_STATE_SHUTDOWN,
    PowerState.CRASHED: server_pb2.POWER_STATE_CRASHED,
    PowerState.SUSPENDED: server_pb2.POWER_STATE_SUSPENDED,
}


def power_state(state: PowerState) -> server_pb2.PowerState.ValueType:
    return _POWER_STATES[state]


def guest_spec(
    server: server_pb2.Server,
    admin_password: str = "",
    files: Iterable[guest_pb2.GuestFile] = (),
    numa: GuestTopology | None = None,
    devices: Iterable[PciDevice] = (),
) -> GuestSpec:
    """The guest of a server, with its config drive's documents when it has one, where it lies on the host, and the
    host's devices that it gets."""
    flavor = server.flavor
    documents: Mapping[str, bytes] = {}
    if server.config_drive:
        documents = metadata.documents(server, admin_password, files)
    return GuestSpec(
        server_id=server.id,
        name=server.instance_name,
        project_id=server.project_id,
        user_id=server.user_id,
        display_name=server.name,
        hostname=server.hostname,
        vcpus=flavor.vcpus,
        memory_mb=flavor.memory_mb,
        root_gb=flavor.root_gb,
        ephemeral_gb=flavor.ephemeral_gb,
        swap_mb=flavor.swap_mb,
        flavor_name=flavor.name,
        extra_specs=dict(flavor.extra_specs),
        image=image_source(server.image) if server.image.id else None,
        nics=tuple(nic(interface) for interface in server.interfaces),
        disks=tuple(
            volume(device)
            for device in server.block_devices
            if device.destination == server_pb2.BLOCK_DEVICE_DESTINATION_VOLUME and device.volume_id
        ),
        shares=tuple(share_mount(share) for share in server.shares if share.plugged),
        config_drive=server.config_drive,
        documents=documents,
        user_data=metadata.user_data(server),
        key_name=server.key_name,
        public_key=server.key_data,
        admin_password=admin_password,
        numa=numa,
        devices=tuple(devices),
    )


def image_source(image: server_pb2.ImageSnapshot) -> ImageSource:
    """An image as a driver is asked for it."""
    return ImageSource(
        id=image.id,
        disk_format=image.disk_format,
        container_format=image.container_format,
        size=image.size_bytes,
        checksum=image.checksum,
        hash_algo=image.hash_algorithm,
        hash_value=image.hash_value,
        min_disk=image.min_disk_gb,
        min_ram=image.min_memory_mb,
        properties=dict(image.properties),
    )


def nic(interface: server_pb2.NetworkInterface) -> NicSpec:
    """A port as a driver is asked to plug it in."""
    return NicSpec(
        port_id=interface.port_id,
        mac=interface.mac_address,
        network_id=interface.network_id,
        bridge=interface.bridge,
        mtu=interface.mtu or 1500,
        vnic_type=interface.vnic_type or "normal",
        fixed_ips=tuple(
            FixedIP(
                address=item.address,
                cidr=item.cidr,
                gateway=item.gateway,
                dns=tuple(item.dns_servers),
                routes=tuple((route.destination, route.next_hop) for route in item.host_routes),
                dhcp=item.dhcp,
            )
            for item in interface.addresses
        ),
    )


def volume(device: server_pb2.BlockDevice) -> VolumeDisk:
    """A volume as a driver is asked to plug it in."""
    connection: dict[str, Any] = json_format.MessageToDict(device.connection)
    return VolumeDisk(
        volume_id=device.volume_id,
        connection=connection,
        boot_index=device.boot_index if device.HasField("boot_index") else None,
        device_name=device.device_name,
        disk_bus=device.disk_bus,
        device_type=device.device_type or "disk",
        attachment_id=device.attachment_id,
    )


def share_mount(share: server_pb2.ServerShare) -> ShareMount:
    """A share as a driver is asked for it."""
    return ShareMount(share.share_id, share.tag, share.protocol, share.export_location)
