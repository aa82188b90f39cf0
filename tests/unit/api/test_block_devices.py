"""The rules of block device mappings."""

import pytest

from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.api.creation import block_devices
from protonova.services.api.creation.block_devices import BLANK, IMAGE, LOCAL, SNAPSHOT, TO_VOLUME, VOLUME
from protonova.services.runtime import errors

FLAVOR = Flavor(root_gb=10, ephemeral_gb=5, swap_mb=512)


def complete(*devices, image_id="img", max_local=3):
    return block_devices.complete(devices, image_id, FLAVOR, max_local)


def test_an_image_alone_becomes_the_local_root():
    [root] = complete()
    assert (root.source, root.destination, root.image_id, root.boot_index) == (IMAGE, LOCAL, "img", 0)
    assert root.delete_on_termination
    assert not block_devices.boots_from_volume([root])


def test_the_image_given_as_root_is_not_given_twice():
    root = BlockDevice(source=IMAGE, destination=LOCAL, image_id="img", boot_index=0)
    assert len(complete(root)) == 1


def test_a_volume_to_boot_from_needs_no_image_and_comes_first():
    data = BlockDevice(source=BLANK, destination=TO_VOLUME, size_gb=1, boot_index=-1)
    root = BlockDevice(source=VOLUME, volume_id="vol", boot_index=0)
    devices = complete(data, root, image_id="")
    assert [device.source for device in devices] == [VOLUME, BLANK]
    assert devices[0].destination == TO_VOLUME
    assert not devices[1].HasField("boot_index")
    assert block_devices.boots_from_volume(devices)


@pytest.mark.parametrize(
    ("cause", "devices", "image_id"),
    [
        ("no_boot_source", [], ""),
        ("boot_sequence", [BlockDevice(source=VOLUME, volume_id="v", boot_index=2)], "img"),
        ("source", [BlockDevice(boot_index=0)], ""),
        ("source", [BlockDevice(source=VOLUME, boot_index=0)], ""),
        ("blank_source", [BlockDevice(source=BLANK, volume_id="v")], "img"),
        ("destination", [BlockDevice(source=VOLUME, volume_id="v", destination=LOCAL)], "img"),
        ("destination", [BlockDevice(source=SNAPSHOT, snapshot_id="s", destination=LOCAL)], "img"),
        ("size", [BlockDevice(source=BLANK, destination=TO_VOLUME)], "img"),
        ("size", [BlockDevice(source=IMAGE, image_id="i", destination=TO_VOLUME, boot_index=0)], ""),
        ("size", [BlockDevice(source=BLANK, size_gb=-1)], "img"),
        ("image_local", [BlockDevice(source=IMAGE, image_id="other", boot_index=0)], "img"),
        ("image_local", [BlockDevice(source=IMAGE, image_id="img")], "img"),
        ("volume_type", [BlockDevice(source=VOLUME, volume_id="v", volume_type="fast")], "img"),
        ("volume_type", [BlockDevice(source=BLANK, volume_type="fast")], "img"),
        ("device_type", [BlockDevice(source=BLANK, device_type="tape")], "img"),
        ("disk_bus", [BlockDevice(source=BLANK, disk_bus="can")], "img"),
        ("swap", [BlockDevice(source=BLANK, guest_format="swap", size_gb=513)], "img"),
        ("swap", [BlockDevice(source=BLANK, guest_format="swap", size_gb=1)] * 2, "img"),
        ("ephemeral", [BlockDevice(source=BLANK, size_gb=3)] * 2, "img"),
        ("too_many_local", [BlockDevice(source=BLANK, size_gb=1)] * 3, "img"),
    ],
)
def test_what_cannot_be_is_refused(cause, devices, image_id):
    with pytest.raises(errors.InvalidArgument) as raised:
        complete(*devices, image_id=image_id)
    assert raised.value.reason == "BLOCK_DEVICE_INVALID"
    assert raised.value.facts["cause"] == cause


@pytest.mark.parametrize(("limit", "allowed"), [(0, False), (1, True), (-1, True)])
def test_local_disks_can_be_limited(limit, allowed):
    if allowed:
        complete(max_local=limit)
    else:
        with pytest.raises(errors.InvalidArgument):
            complete(max_local=limit)
