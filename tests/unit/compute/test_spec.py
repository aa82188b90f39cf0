"""From a server to a guest, and to what the guest may read about itself."""

import base64
import json

from protonova.common.v1 import server_pb2
from protonova.compute.v1 import guest_pb2
from protonova.services.compute import metadata, spec


def server(**changes):
    made = server_pb2.Server(
        id="7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10",
        name="web",
        hostname="web",
        instance_name="instance-0000002a",
        project_id="p",
        user_id="u",
        key_name="mine",
        key_data="ssh-ed25519 AAAA mine",
        user_data=base64.b64encode(b"#!/bin/sh\necho hi\n").decode(),
        metadata={"role": "front"},
        config_drive=True,
    )
    made.flavor.vcpus, made.flavor.memory_mb, made.flavor.root_gb, made.flavor.swap_mb = 2, 512, 3, 1025
    made.image.id, made.image.disk_format, made.image.size_bytes = "image-1", "qcow2", 1000
    interface = made.interfaces.add(
        port_id="11111111-2222-3333-4444-555555555555",
        mac_address="fa:16:3e:00:00:01",
        network_id="net-1",
        bridge="pnbr0",
        mtu=1450,
        tag="front",
    )
    address = interface.addresses.add(
        address="10.0.0.5", cidr="10.0.0.0/24", gateway="10.0.0.1", dns_servers=["10.0.0.2"], dhcp=True
    )
    address.host_routes.add(destination="169.254.169.254/32", next_hop="10.0.0.2")
    volume = made.block_devices.add(
        destination=server_pb2.BLOCK_DEVICE_DESTINATION_VOLUME, volume_id="vol-1", boot_index=1, tag="data"
    )
    volume.connection.update({"driver_volume_type": "local", "data": {"path": "/volumes/vol-1"}})
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_guest_has_all_of_its_server():
    guest = spec.guest_spec(server(), "secret")
    assert (guest.vcpus, guest.memory_mb, guest.root_gb, guest.disk_gb) == (2, 512, 3, 5)
    assert guest.image.id == "image-1"
    assert guest.nics[0].bridge == "pnbr0"
    assert guest.nics[0].fixed_ips[0].routes == (("169.254.169.254/32", "10.0.0.2"),)
    assert guest.disks[0].connection == {"driver_volume_type": "local", "data": {"path": "/volumes/vol-1"}}
    assert guest.disks[0].boot_index == 1
    assert guest.user_data == b"#!/bin/sh\necho hi\n"
    assert guest.admin_password == "secret"


def test_a_server_that_boots_from_a_volume_has_no_image():
    made = server()
    made.image.Clear()
    assert spec.guest_spec(made).image is None


def test_documents_are_only_made_for_a_config_drive():
    assert spec.guest_spec(server(config_drive=False)).documents == {}


def test_the_config_drive_tells_identity_keys_devices_and_files():
    files = [guest_pb2.GuestFile(path="/etc/motd", contents=b"hello")]
    found = metadata.documents(server(), "secret", files)
    meta = json.loads(found["openstack/latest/meta_data.json"])
    assert meta["uuid"] == "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"
    assert meta["meta"] == {"role": "front"}
    assert meta["public_keys"] == {"mine": "ssh-ed25519 AAAA mine"}
    assert meta["admin_pass"] == "secret"
    assert [device["tags"] for device in meta["devices"]] == [["front"], ["data"]]
    assert meta["files"] == [{"path": "/etc/motd", "content_path": "/content/0000"}]
    assert found["openstack/content/0000"] == b"hello"
    assert found["openstack/latest/user_data"].startswith(b"#!/bin/sh")


def test_network_data_tells_dhcp_or_the_whole_address():
    made = server()
    dhcp = metadata.network_data(made.interfaces)
    assert dhcp["networks"][0]["type"] == "ipv4_dhcp"
    assert dhcp["services"] == [{"type": "dns", "address": "10.0.0.2"}]
    made.interfaces[0].addresses[0].dhcp = False
    fixed = metadata.network_data(made.interfaces)["networks"][0]
    assert fixed["type"] == "ipv4"
    assert fixed["netmask"] == "255.255.255.0"
    assert fixed["routes"] == [
        {"network": "169.254.169.254", "netmask": "255.255.255.255", "gateway": "10.0.0.2"},
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.0.0.1"},
    ]


def test_user_data_that_is_no_base64_is_left_out():
    assert metadata.user_data(server(user_data="%%%")) == b""
