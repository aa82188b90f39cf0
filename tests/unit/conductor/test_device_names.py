"""Names of disks, as a guest's first kernel gives them."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import BlockDevice, Server
from protonova.services.conductor.servers import device_names
from protonova.services.runtime import errors


def a_server(*volumes: dict, bus: str = "", **fields) -> Server:
    server = Server(id="id", **fields)
    server.image.id = "image"
    if bus:
        server.image.properties["hw_disk_bus"] = bus
    server.block_devices.extend(BlockDevice(destination=2, **volume) for volume in volumes)
    return server


def names(server: Server) -> list[str]:
    device_names.name_all(server)
    return [device.device_name for device in server.block_devices]


def test_volumes_come_after_local_disks():
    server = a_server({"id": "one"}, {"id": "two", "device_name": "/dev/vdb"})
    server.flavor.ephemeral_gb, server.flavor.swap_mb = 1, 1
    # The wish for the name of the ephemeral disk is not granted.
    assert names(server) == ["/dev/vdd", "/dev/vde"]


def test_the_volume_booted_from_comes_first():
    server = a_server({"id": "data"}, {"id": "second", "boot_index": 1}, {"id": "root", "boot_index": 0})
    assert names(server) == ["/dev/vdc", "/dev/vdb", "/dev/vda"]


@pytest.mark.parametrize(
    ("bus", "drive", "wanted"),
    [("scsi", False, "/dev/sdb"), ("ide", False, "/dev/hdb"), ("ide", True, "/dev/hdc")],
)
def test_buses_have_names_of_their_own(bus: str, drive: bool, wanted: str):
    assert device_names.next_name(a_server(bus=bus, config_drive=drive)) == wanted
    assert device_names.next_name(a_server(bus=bus, config_drive=drive), "/dev/vdz") == wanted


def test_gaps_are_filled_and_names_run_out():
    server = a_server(*({"id": str(n), "device_name": f"/dev/vd{chr(98 + n)}"} for n in range(25) if n != 3))
    assert device_names.next_name(server) == "/dev/vde"
    server.block_devices.add(id="last", destination=2, device_name="/dev/vde")
    with pytest.raises(errors.PermissionDenied) as caught:
        device_names.next_name(server)
    assert caught.value.reason == "TOO_MANY_DISKS"
