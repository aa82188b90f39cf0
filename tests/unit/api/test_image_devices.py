"""The disks an image brings along, and what a request makes of them."""

import json

import pytest

from protonova.common.v1.server_pb2 import BlockDevice
from protonova.services.api.creation import block_devices as disks
from protonova.services.api.creation import image_devices, images
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import Image

ROOT = {"source_type": "snapshot", "snapshot_id": "s1", "boot_index": 0, "device_name": "/dev/vda"}
DATA = {"source_type": "snapshot", "snapshot_id": "s2", "boot_index": None, "device_name": "/dev/vdb"}


def image(mapping) -> Image:
    properties = {"bdm_v2": "True", "root_device_name": "/dev/vda", "hw_disk_bus": "virtio"}
    if mapping is not None:
        properties["block_device_mapping"] = mapping if isinstance(mapping, str) else json.dumps(mapping)
    return Image(
        id="i1",
        name="of-a-server",
        status="active",
        visibility="private",
        owner="project",
        disk_format="qcow2",
        container_format="bare",
        size=0,
        properties=properties,
    )


def own(**fields) -> BlockDevice:
    return BlockDevice(source=disks.VOLUME, destination=disks.TO_VOLUME, volume_id="v", **fields)


def merged(*wanted, suppressed=()):
    found = image_devices.merged(image_devices.of_image(image([ROOT, DATA])), wanted, suppressed)
    return [device.snapshot_id or device.volume_id or device.image_id for device in found]


def test_what_an_image_says():
    entry = {
        **ROOT,
        "destination_type": "volume",
        "volume_size": 3,
        "volume_type": None,
        "disk_bus": "scsi",
        "delete_on_termination": True,
    }
    [device] = image_devices.of_image(image([entry]))
    assert (device.source, device.destination, device.snapshot_id) == (disks.SNAPSHOT, disks.TO_VOLUME, "s1")
    assert (device.size_gb, device.volume_type, device.disk_bus) == (3, "", "scsi")
    assert device.delete_on_termination
    assert disks.booted(device)
    assert image_devices.of_image(image([{**ROOT, "no_device": True}])) == []
    assert image_devices.of_image(image(None)) == []


@pytest.mark.parametrize(
    "mapping", ["no list", "[1]", '[{"source_type": "tape"}]', '[{"source_type": "volume"}]']
)
def test_what_cannot_be_understood(mapping):
    with pytest.raises(errors.InvalidArgument) as refused:
        image_devices.of_image(image(mapping))
    assert (refused.value.reason, refused.value.facts["cause"]) == ("IMAGE_UNUSABLE", "block_devices")


def test_a_requests_disks_come_over_the_images():
    assert merged() == ["s1", "s2"]
    assert merged(own(device_name="/dev/vdb")) == ["s1", "v"]
    assert merged(own(device_name="/dev/vdc")) == ["s1", "s2", "v"]
    assert merged(own()) == ["s1", "s2", "v"]
    assert merged(suppressed=["/dev/vdb"]) == ["s1"]


def test_the_image_as_the_disk_to_boot_from_means_what_it_brings():
    named = BlockDevice(source=disks.IMAGE, destination=disks.LOCAL, image_id="i1", boot_index=0)
    assert merged(named) == ["s1", "s2"]
    assert merged(named, suppressed=["/dev/vda"]) == ["s2", "i1"]


def test_servers_keep_no_disks_among_the_properties_of_their_image():
    assert dict(images.snapshot(image([ROOT])).properties) == {"hw_disk_bus": "virtio"}
