"""The image cache with real images made by qemu-img."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import ImageSource
from protonova.services.compute.virt.libvirt.image_ageing import forget_unused
from protonova.services.compute.virt.libvirt.images import ImageCache

pytestmark = [
    pytest.mark.libvirt,
    pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed"),
]

SIZE = 8 << 20


def qemu_img(*arguments: object) -> None:
    subprocess.run(["qemu-img", *map(str, arguments)], check=True, capture_output=True)


class Shop:
    """Images by name, and how often each was fetched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fetched: list[str] = []

    def __call__(self, image_id: str, writer) -> None:
        self.fetched.append(image_id)
        with (self.directory / image_id).open("rb") as file:
            shutil.copyfileobj(file, writer, 4096)

    def source(self, image_id: str, disk_format: str, **changes) -> ImageSource:
        content = (self.directory / image_id).read_bytes()
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return ImageSource(**{"id": image_id, "disk_format": disk_format, "size": len(content),
                              "checksum": digest, **changes})  # fmt: skip


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "disk.raw").write_bytes(b"protonova" + bytes(SIZE - 9))
    return Shop(tmp_path / "shop")


@pytest.fixture
def cache(tmp_path: Path, shop: Shop) -> ImageCache:
    return ImageCache(tmp_path / "cache", shop)


@pytest.mark.parametrize(
    ("disk_format", "qemu_format", "base_format"),
    [
        ("raw", "raw", "raw"),
        ("qcow2", "qcow2", "qcow2"),
        ("vmdk", "vmdk", "qcow2"),
        ("vdi", "vdi", "qcow2"),
        ("vhdx", "vhdx", "qcow2"),
        ("vhd", "vpc", "qcow2"),
    ],
)
def test_every_format_becomes_a_base(shop, cache, tmp_path, disk_format, qemu_format, base_format) -> None:
    qemu_img("convert", "-f", "raw", "-O", qemu_format, shop.directory / "disk.raw", shop.directory / "i")
    source = shop.source("i", disk_format)
    base = cache.get(source)
    assert base.format == base_format
    assert base.virtual_size >= SIZE
    plain = tmp_path / "plain"
    qemu_img("convert", "-f", base.format, "-O", "raw", base.path, plain)
    assert plain.read_bytes()[:9] == b"protonova"
    assert base.path.stat().st_mode & 0o222 == 0
    assert cache.get(source) == base
    assert shop.fetched == ["i"]
    assert {p.name for p in base.path.parent.iterdir()} == {base.path.name, "i.json", "i.lock"}


def test_raw_can_be_forced(shop, tmp_path) -> None:
    qemu_img("convert", "-f", "raw", "-O", "qcow2", shop.directory / "disk.raw", shop.directory / "i")
    base = ImageCache(tmp_path / "cache", shop, force_raw=True).get(shop.source("i", "qcow2"))
    assert base.format == "raw"
    assert base.path.read_bytes()[:9] == b"protonova"


def hostile(shop: Shop, kind: str) -> str:
    target, raw = shop.directory / "i", shop.directory / "disk.raw"
    if kind == "backing":
        qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", raw, target)
    elif kind == "data-file":
        qemu_img("create", "-f", "qcow2", "-o", f"data_file={shop.directory / 'data'}", target, SIZE)
    elif kind == "flat":
        qemu_img("create", "-f", "vmdk", "-o", "subformat=monolithicFlat", target, SIZE)
        return "vmdk"
    elif kind == "disguised":
        qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", raw, target)
        return "raw"
    elif kind == "bomb":
        qemu_img("create", "-f", "qcow2", target, "65T")
    return "qcow2"


@pytest.mark.parametrize("kind", ["backing", "data-file", "flat", "disguised", "bomb"])
def test_hostile_images_leave_no_trace(shop, cache, tmp_path, kind) -> None:
    disk_format = hostile(shop, kind)
    with pytest.raises(errors.ImageUnacceptable):
        cache.get(shop.source("i", disk_format))
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {"i.lock"}


def test_bytes_that_are_not_the_recorded_ones(shop, cache) -> None:
    with pytest.raises(errors.ImageUnacceptable, match="md5"):
        cache.get(shop.source("disk.raw", "raw", checksum="0" * 32))
    with pytest.raises(errors.ImageUnacceptable, match="sha256"):
        cache.get(shop.source("disk.raw", "raw", hash_algo="sha256", hash_value="0" * 64))
    with pytest.raises(errors.ImageUnavailable, match="bytes"):
        cache.get(shop.source("disk.raw", "raw", size=SIZE + 1))
    with pytest.raises(errors.ImageUnacceptable, match="larger"):
        cache.get(shop.source("disk.raw", "raw", size=SIZE - 1))
    with pytest.raises(errors.ImageUnavailable):
        cache.get(ImageSource("absent", "raw"))
    with pytest.raises(errors.ImageUnacceptable, match="id"):
        cache.get(ImageSource("../disk.raw", "raw"))


def test_one_fetch_serves_all_who_wait(shop, cache) -> None:
    source = shop.source("disk.raw", "raw")
    bases = []
    threads = [threading.Thread(target=lambda: bases.append(cache.get(source))) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(bases)) == 1
    assert len(bases) == 5
    assert shop.fetched == ["disk.raw"]


def test_a_damaged_base_is_fetched_again(shop, cache) -> None:
    source = shop.source("disk.raw", "raw")
    base = cache.get(source)
    base.path.chmod(0o600)
    base.path.write_bytes(b"short")
    assert cache.get(source).path.stat().st_size == SIZE
    assert len(shop.fetched) == 2


def test_a_fetch_can_be_taken_back(shop, cache, tmp_path) -> None:
    with pytest.raises(errors.Cancelled):
        cache.get(shop.source("disk.raw", "raw"), cancelled=lambda: True)
    assert {p.name for p in (tmp_path / "cache").iterdir()} == {"disk.raw.lock"}


def test_what_is_here_is_told(shop, cache) -> None:
    image = shop.source("disk.raw", "raw")
    assert not cache.has(image)
    cache.get(image)
    assert cache.has(image)
    assert not cache.has(shop.source("disk.raw", "raw", checksum="0" * 32))
    assert not cache.has(shop.source("disk.raw", "raw", id="../disk"))


def age(cache: ImageCache, image_id: str, seconds: float) -> None:
    """As if it had been used last so long ago."""
    record = next(base.path for base in cache.bases() if base.image_id == image_id).with_suffix(".json")
    then = time.time() - seconds
    os.utime(record, (then, then))


def test_images_that_no_guest_needs_go_after_a_while(tmp_path: Path, shop: Shop, cache: ImageCache):
    instances = tmp_path / "instances"
    guest = instances / "5b1d7e0c-8d3b-4f52-9a55-0d2a4b6f7c11"
    guest.mkdir(parents=True)
    shutil.copy(shop.directory / "disk.raw", shop.directory / "other.raw")
    shutil.copy(shop.directory / "disk.raw", shop.directory / "young.raw")
    used, other, young = (
        cache.get(shop.source(name, "raw")) for name in ("disk.raw", "other.raw", "young.raw")
    )
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", used.path, guest / "disk.rescue")
    for name in ("disk.raw", "other.raw"):
        age(cache, name, 3600)
    age(cache, "young.raw", 900)
    assert forget_unused(cache, instances, 1800) == 1
    assert not other.path.exists()
    assert {base.image_id for base in cache.bases()} == {"disk.raw", "young.raw"}
    # Who asks for one keeps it.
    age(cache, "young.raw", 3600)
    cache.get(shop.source("young.raw", "raw"))
    assert forget_unused(cache, instances, 0) == 0
    # One that is gone is fetched again.
    cache.get(shop.source("other.raw", "raw"))
    assert shop.fetched.count("other.raw") == 2
    shutil.rmtree(guest)
    assert forget_unused(cache, instances, 1800) == 1
    assert young.path.exists()
    assert not used.path.exists()
