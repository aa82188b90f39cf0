"""The domain definition says what was ordered."""

from __future__ import annotations

import dataclasses
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestSpec, ImageSource, NicSpec, ShareMount, VolumeDisk
from protonova.services.compute.virt.libvirt import domain, shares
from protonova.services.compute.virt.libvirt.layout import Layout, LocalDisk

SERVER = str(uuid.uuid4())
HOST = domain.HostFacts(host="compute-1", virt_type="qemu", cpu_model="Nehalem", vnc_listen="127.0.0.1")
DISKS = (
    LocalDisk("root", "/g/disk", "qcow2"),
    LocalDisk("ephemeral", "/g/disk.eph0", "raw"),
    LocalDisk("config", "/g/disk.config", "raw", "cdrom"),
)


def spec(**changes: object) -> GuestSpec:
    facts: dict = {
        "server_id": SERVER,
        "name": "instance-0000002a",
        "vcpus": 2,
        "memory_mb": 512,
        "nics": (NicSpec("0123456789abcdef", "fa:16:3e:01:02:03", "n", bridge="br0", mtu=1450),),
        "image": ImageSource("image-1", "qcow2"),
    }
    return GuestSpec(**{**facts, **changes})


def built(
    guest: GuestSpec, host: domain.HostFacts = HOST, disks: tuple[LocalDisk, ...] = DISKS
) -> ET.Element:
    return ET.fromstring(domain.build(Layout(guest, disks), host, "/g/console.log"))


def properties(**values: str) -> ImageSource:
    return ImageSource("image-1", "qcow2", properties=values)


SHARE = ShareMount(str(uuid.uuid4()), "data", "NFS", "192.0.2.9:/a")


def test_shares():
    host = dataclasses.replace(HOST, shares=Path("/shares"))
    found = built(spec(shares=(SHARE,)), host)
    element = found.find("devices/filesystem")
    assert (element.get("type"), element.find("driver").get("type")) == ("mount", "virtiofs")
    assert element.find("source").get("dir") == f"/shares/{SERVER}/{SHARE.share_id}"
    assert element.find("target").get("dir") == "data"
    assert found.find("memoryBacking/source").get("type") == "memfd"
    assert found.find("memoryBacking/access").get("mode") == "shared"
    assert built(spec(), host).find("memoryBacking") is None


@pytest.mark.parametrize(
    ("protocol", "location", "words"),
    [
        ("NFS", "192.0.2.9:/a", ["-t", "nfs", "-o", "nosuid,nodev", "--", "192.0.2.9:/a"]),
        ("NFS", "[2001:db8::9]:/a b", ["-t", "nfs", "-o", "nosuid,nodev", "--", "[2001:db8::9]:/a b"]),
        ("LOCAL", "/shares/a", ["-o", "bind,nosuid,nodev", "--", "/shares/a"]),
    ],
)
def test_how_shares_are_mounted(protocol, location, words):
    share = ShareMount("a", "data", protocol, location)
    assert shares.command(share, Path("/x")) == ["mount", *words, "/x"]


@pytest.mark.parametrize(("protocol", "location"), [("CIFS", "//h/a"), ("LOCAL", "a"), ("", "/a")])
def test_shares_that_are_not_mounted_here(protocol, location):
    with pytest.raises(errors.ShareUnavailable) as caught:
        shares.command(ShareMount("a", "data", protocol, location), Path("/x"))
    assert caught.value.facts == {"share_id": "a"}


def test_screens_and_serial_consoles():
    plain = dataclasses.replace(HOST, vnc_listen="")
    assert "graphics" not in domain.build(Layout(spec(), ()), plain, "/log")
    both = dataclasses.replace(
        plain, vnc_listen="127.0.0.1", spice_listen="192.0.2.1", serial="127.0.0.1:10001"
    )
    devices = ET.fromstring(domain.build(Layout(spec(), ()), both, "/log")).find("devices")
    shown = [(one.get("type"), one.get("listen")) for one in devices.iterfind("graphics")]
    assert shown == [("vnc", "127.0.0.1"), ("spice", "192.0.2.1")]
    source = devices.find("serial[@type='tcp']/source")
    assert (source.get("mode"), source.get("host"), source.get("service")) == ("bind", "127.0.0.1", "10001")
    assert devices.find("serial/log").get("file") == "/log"


def test_sockets_for_what_comes_later():
    """On a machine whose root bus takes nothing while it runs."""
    facts = dataclasses.replace(HOST, machine="q35")
    devices = ET.fromstring(domain.build(Layout(spec(), ()), facts, "/log")).find("devices")
    assert len(devices.findall("controller[@model='pcie-root-port']")) == 16


def test_the_essentials() -> None:
    xml = built(spec())
    assert xml.get("type") == "qemu"
    assert xml.findtext("uuid") == SERVER
    assert xml.findtext("memory") == "512"
    assert xml.findtext("vcpu") == "2"
    assert xml.find("os/type").get("machine") == "pc"
    assert xml.findtext("cpu/model") == "Nehalem"
    assert xml.find("devices/serial/log").attrib == {"file": "/g/console.log", "append": "off"}
    nic = xml.find("devices/interface")
    assert nic.find("source").get("bridge") == "br0"
    assert nic.find("mac").get("address") == "fa:16:3e:01:02:03"
    assert nic.find("target").get("dev") == "tap0123456789a"
    assert nic.find("mtu").get("size") == "1450"
    assert xml.find("devices/channel/target").get("name") == "org.qemu.guest_agent.0"
    assert xml.find("devices/graphics").get("listen") == "127.0.0.1"
    assert xml.find("seclabel") is None


def test_disks_in_order() -> None:
    xml = built(spec())
    disks = xml.findall("devices/disk")
    assert [d.find("target").get("dev") for d in disks] == ["vda", "vdb", "hda"]
    assert [d.find("driver").get("type") for d in disks] == ["qcow2", "raw", "raw"]
    assert disks[0].find("boot").get("order") == "1"
    assert disks[2].find("readonly") is not None
    assert all(d.find("driver").get("name") == "qemu" for d in disks)


def test_the_root_device_is_told() -> None:
    def told(guest: GuestSpec, *disks: LocalDisk) -> str:
        return domain.root_device(domain.build(Layout(guest, disks), HOST, ""))

    volume = VolumeDisk("v", {"driver_volume_type": "local", "data": {"device_path": "/v"}}, boot_index=0)
    assert told(spec(), *DISKS) == "/dev/vda"
    assert told(spec(image=properties(hw_disk_bus="scsi")), *DISKS) == "/dev/sda"
    assert told(spec(image=None, disks=(volume,)), DISKS[1]) == "/dev/vdb"
    assert told(spec(image=None)) == ""


def test_the_owner_is_read_back() -> None:
    xml = built(spec(display_name='<"evil"> \0 \ud800'))
    element = xml.find(f"metadata/{{{domain.METADATA}}}guest")
    assert domain.owner_of(ET.tostring(element, encoding="unicode")) == ("compute-1", "")
    assert domain.owner_of("<guest><host>other</host><mark>m</mark></guest>") == ("other", "m")
    assert domain.owner_of("<guest/>") == ("", "")


def test_image_properties() -> None:
    image = properties(
        hw_disk_bus="scsi", hw_vif_model="e1000", hw_machine_type="q35", hw_video_model="virtio",
        hw_watchdog_action="reset",
    )  # fmt: skip
    xml = built(spec(image=image))
    assert [d.find("target").get("dev") for d in xml.findall("devices/disk")] == ["sda", "sdb", "sdc"]
    assert [d.find("target").get("bus") for d in xml.findall("devices/disk")] == ["scsi", "scsi", "sata"]
    assert xml.find("devices/controller[@type='scsi']").get("model") == "virtio-scsi"
    assert xml.find("devices/interface/model").get("type") == "e1000"
    assert xml.find("os/type").get("machine") == "q35"
    assert xml.find("devices/video/model").get("type") == "virtio"
    assert xml.find("devices/watchdog").get("action") == "reset"


@pytest.mark.parametrize("name", ["hw_disk_bus", "hw_cdrom_bus", "hw_vif_model", "hw_video_model"])
def test_unknown_hardware_is_refused(name: str) -> None:
    with pytest.raises(errors.HostRefuses, match="abacus"):
        built(spec(image=properties(**{name: "abacus"})))


def test_uefi() -> None:
    guest = spec(image=properties(hw_firmware_type="uefi"))
    with pytest.raises(errors.HostRefuses, match="UEFI"):
        built(guest)
    xml = built(guest, dataclasses.replace(HOST, has_uefi=True))
    assert xml.find("os").get("firmware") == "efi"
    assert xml.find("os/firmware/feature").attrib == {"enabled": "no", "name": "secure-boot"}


@pytest.mark.parametrize(
    ("ordered", "expected"),
    [
        ({}, ("4", "1", "1")),
        ({"hw:cpu_sockets": "1"}, ("1", "4", "1")),
        ({"hw:cpu_cores": "2"}, ("2", "2", "1")),
        ({"hw:cpu_sockets": "1", "hw:cpu_cores": "2", "hw:cpu_threads": "2"}, ("1", "2", "2")),
        ({"hw:cpu_sockets": "3"}, ("4", "1", "1")),
        ({"hw:cpu_cores": "many"}, ("4", "1", "1")),
    ],
)
def test_cpu_topology(ordered: dict[str, str], expected: tuple[str, str, str]) -> None:
    topology = built(spec(vcpus=4, extra_specs=ordered)).find("cpu/topology")
    assert (topology.get("sockets"), topology.get("cores"), topology.get("threads")) == expected


def test_quotas_of_the_flavor() -> None:
    xml = built(spec(extra_specs={"quota:cpu_shares": "512", "quota:disk_read_iops_sec": "100"}))
    assert xml.findtext("cputune/shares") == "512"
    assert xml.findtext("devices/disk/iotune/read_iops_sec") == "100"


def test_kvm_and_another_user() -> None:
    host = domain.HostFacts(host="h", virt_type="kvm", run_as="+0:+0")
    xml = built(spec(), host)
    assert xml.get("type") == "kvm"
    assert xml.find("cpu").get("mode") == "host-model"
    assert xml.find("devices/graphics") is None
    assert xml.find("devices/video/model").get("type") == "none"
    assert xml.findtext("seclabel/label") == "+0:+0"


def test_volumes() -> None:
    volumes = (
        VolumeDisk("v2", {"driver_volume_type": "local", "data": {"device_path": "/v/2", "format": "qcow2"}},
                   device_name="/dev/vdx", read_only=True),
        VolumeDisk("v1", {"driver_volume_type": "iscsi", "data": {
            "target_portal": "10.0.0.1:3260", "target_iqn": "iqn.2010:x", "target_lun": 1}}, boot_index=0),
    )  # fmt: skip
    disks = built(spec(image=None, disks=volumes), disks=()).findall("devices/disk")
    assert [d.findtext("serial") for d in disks] == ["v1", "v2"]
    assert disks[0].find("source").get("name") == "iqn.2010:x/1"
    assert disks[0].find("boot").get("order") == "1"
    assert disks[1].find("target").get("dev") == "vdx"
    assert disks[1].find("readonly") is not None
    assert disks[1].find("source").get("file") == "/v/2"


@pytest.mark.parametrize(
    "connection",
    [
        {},
        {"driver_volume_type": "fibre_channel", "data": {}},
        {"driver_volume_type": "nbd", "data": {}},
        {"driver_volume_type": "local", "data": {"device_path": "/x", "format": "vmdk"}},
        {
            "driver_volume_type": "iscsi",
            "data": {"target_portal": "h:1", "target_iqn": "i", "auth_method": "CHAP"},
        },
    ],
)
def test_volumes_that_cannot_be_attached(connection: dict) -> None:
    with pytest.raises(errors.VolumeUnacceptable):
        built(spec(disks=(VolumeDisk("v", connection),)))


def booted(xml: ET.Element) -> dict[str, str]:
    """By device name, the file of each disk; the one that is booted from is marked."""
    return {
        disk.find("target").get("dev"): disk.find("source").get("file")
        + ("*" if disk.find("boot") is not None else "")
        for disk in xml.findall("devices/disk")
    }


def test_a_rescue_disk_stands_before_the_others() -> None:
    rescue = LocalDisk("rescue", "/g/disk.rescue", "qcow2")
    assert booted(built(spec(), disks=(rescue, *DISKS))) == {
        "vda": "/g/disk.rescue*",
        "vdb": "/g/disk",
        "vdc": "/g/disk.eph0",
        "hda": "/g/disk.config",
    }


def test_a_rescue_disk_that_leaves_the_others_in_their_places() -> None:
    rescue = LocalDisk("rescue", "/g/disk.rescue", "qcow2", bus="scsi", last=True)
    assert booted(built(spec(), disks=(*DISKS, rescue))) == {
        "vda": "/g/disk",
        "vdb": "/g/disk.eph0",
        "hda": "/g/disk.config",
        "sda": "/g/disk.rescue*",
    }
    connection = {"driver_volume_type": "file", "data": {"device_path": "/v/root"}}
    guest = spec(image=None, disks=(VolumeDisk("v", connection, boot_index=0),))
    rescue = LocalDisk("rescue", "/g/disk.rescue", "qcow2", "cdrom", bus="virtio", last=True)
    assert booted(built(guest, disks=(rescue,))) == {"vda": "/v/root", "vdb": "/g/disk.rescue*"}


def test_a_bus_for_the_rescue_disk_that_is_not_there() -> None:
    with pytest.raises(errors.HostRefuses):
        built(spec(), disks=(*DISKS, LocalDisk("rescue", "/g/r", "qcow2", bus="nvme", last=True)))
