"""Images that lie or name other files are refused by their bytes alone."""

from __future__ import annotations

import io
import struct

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.libvirt.inspection import declared, inspect

MIB = 1 << 20


def qcow2(
    size: int = 10 * MIB,
    *,
    backing: bytes = b"",
    incompatible: int = 0,
    version: int = 3,
    length: int = 65536,
) -> bytes:
    offset = 512 if backing else 0
    header = struct.pack(
        ">4sIQIIQIIQQIIQ",
        b"QFI\xfb", version, offset, len(backing), 16, size, 0, 1, 65536, 131072, 1, 0, 0,
    )  # fmt: skip
    header += struct.pack(">QQQII", incompatible, 0, 0, 4, 104)
    image = header.ljust(512, b"\0") + backing
    return image.ljust(length, b"\0")[:length]


def vmdk(create_type: str, extent: str) -> bytes:
    descriptor = (
        f'# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="{create_type}"\n\n'
        f'# Extent description\n{extent}\n\n# The Disk Data Base\n#DDB\nddb.adapterType = "ide"\n'
    ).encode()
    sectors = 20
    header = (
        struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 20480, 128, 1, sectors, 512, 21, 26, 128, 0) + b"\n \r\n"
    )
    return (header.ljust(512, b"\0") + descriptor.ljust(sectors * 512, b"\0")).ljust(2 * MIB, b"\0")


def judged(image: bytes, disk_format: str) -> int:
    return inspect(io.BytesIO(image), disk_format)


def test_honest_images_pass() -> None:
    assert judged(qcow2(), "qcow2") == 10 * MIB
    assert judged(b"\1" * MIB, "raw") == MIB
    assert judged(vmdk("monolithicSparse", 'RW 20480 SPARSE "disk.vmdk"'), "vmdk") == 10 * MIB


def test_a_partitioned_disk_is_raw() -> None:
    disk = bytearray(MIB)
    disk[446:462] = struct.pack("<B3sB3sII", 0x80, b"\0\2\0", 0x83, b"\xff\xff\xff", 63, 1000)
    disk[510:512] = b"\x55\xaa"
    assert judged(bytes(disk), "raw") == MIB


@pytest.mark.parametrize(
    ("image", "disk_format", "because"),
    [
        (qcow2(backing=b"/etc/shadow"), "qcow2", "backing"),
        (qcow2(incompatible=1 << 2), "qcow2", "data_file"),
        (qcow2(incompatible=1 << 40), "qcow2", "feature"),
        (qcow2(version=1), "qcow2", "version"),
        (qcow2(size=1 << 62), "qcow2", "bytes"),
        (qcow2(size=0), "qcow2", "bytes"),
        (qcow2(length=100), "qcow2", "content is"),
        (qcow2(), "raw", "content is qcow2"),
        (qcow2(backing=b"/etc/shadow"), "raw", "content is qcow2"),
        (b"\0" * MIB, "qcow2", "content is raw"),
        (b"\0" * MIB, "iso", "is not"),
        (b"", "raw", "0 bytes"),
        (vmdk("monolithicFlat", 'RW 20480 FLAT "/etc/shadow" 0'), "vmdk", "vmdk"),
        (vmdk("monolithicSparse", 'RW 20480 FLAT "/etc/shadow" 0'), "vmdk", "vmdk"),
        (vmdk("twoGbMaxExtentSparse", 'RW 1 SPARSE "../other.vmdk"'), "vmdk", "vmdk"),
        (b"KDMV" + b"\xff" * 508 + b"\0" * MIB, "vmdk", "vmdk"),
    ],
)
def test_hostile_images_are_refused(image: bytes, disk_format: str, because: str) -> None:
    with pytest.raises(errors.ImageUnacceptable, match=because):
        judged(image, disk_format)


def test_two_formats_at_once_are_refused() -> None:
    image = bytearray(qcow2(length=64 << 10))
    image[32769:32774] = b"CD001"  # an ISO 9660 volume descriptor inside a qcow2
    image[32768] = 1
    for disk_format in ("qcow2", "iso", "raw"):
        with pytest.raises(errors.ImageUnacceptable):
            judged(bytes(image), disk_format)


@pytest.mark.parametrize("disk_format", ["qed", "ami", "aki", "ploop", "luks", "", "QCOW2"])
def test_formats_we_do_not_run(disk_format: str) -> None:
    with pytest.raises(errors.ImageUnacceptable):
        declared(disk_format, "bare")


def test_containers_are_not_run() -> None:
    with pytest.raises(errors.ImageUnacceptable, match="ova"):
        declared("vmdk", "ova")
