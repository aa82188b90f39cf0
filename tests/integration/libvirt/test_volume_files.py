"""Files under a volume of a real running guest: one more on top, fewer below, and where it starts from."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import VolumeDisk

pytestmark = pytest.mark.libvirt

MIB = 1 << 20
VOLUME = "volume-under-test"


def qemu_img(*words: str) -> str:
    return subprocess.run(["qemu-img", *words], text=True, capture_output=True, check=True).stdout


@pytest.fixture
def scene(driver, order) -> Iterator[SimpleNamespace]:
    """A guest without a system, on a volume of 8 MiB that is a raw file."""
    spec = order(image=None, root_gb=0, nics=(), config_drive=False)
    place = Path(driver.settings.state_path) / f"volumes-{uuid.uuid4().hex[:8]}"
    place.mkdir(mode=0o755)
    base = place / "base"
    base.write_bytes(b"what was there before".ljust(8 * MIB, b"\0"))
    base.chmod(0o666)
    driver.spawn(spec)
    data = {"device_path": str(base), "format": "raw"}
    driver.attach_volume(spec.server_id, VolumeDisk(VOLUME, {"driver_volume_type": "file", "data": data}))
    yield SimpleNamespace(driver=driver, id=spec.server_id, place=place)
    driver.destroy(spec.server_id)


def overlay(scene, name: str, below: str, form: str) -> None:
    """What the volume service makes before it asks."""
    file = scene.place / name
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(scene.place / below), "-F", form, str(file))
    file.chmod(0o666)


def chain(scene, *, running: bool = True) -> list[str]:
    """The files the guest stands on, as libvirt and QEMU see them; the one it writes to first."""
    virsh = ["virsh", "-q", "-c", scene.driver.settings.uri, "domblklist", scene.id, "--details"]
    shown = subprocess.run(
        virsh if running else [*virsh, "--inactive"], text=True, capture_output=True, check=True
    ).stdout
    (top,) = [line.split()[-1] for line in shown.splitlines() if str(scene.place) in line]
    told = json.loads(qemu_img("info", "-U", "--backing-chain", "--output=json", top))
    return [Path(one["filename"]).name for one in told]


def take(scene, name: str) -> str:
    for _ in range(2):
        connection = scene.driver.snapshot_volume(scene.id, VOLUME, name)
    assert connection["data"]["format"] == "qcow2"
    return Path(connection["data"]["device_path"]).name


def merge(scene, source: str, target: str = "") -> None:
    for _ in range(2):
        scene.driver.merge_volume(scene.id, VOLUME, source, target)


def test_files_come_and_go_while_the_guest_runs(scene):
    (usage,) = (each for each in scene.driver.volume_usage() if each.server_id == scene.id)
    assert usage.volume_id == VOLUME
    assert (usage.read_requests > 0) == (usage.read_bytes > 0)
    assert chain(scene) == ["base"]
    overlay(scene, "one", "base", "raw")
    assert take(scene, "one") == "one"
    overlay(scene, "two", "one", "qcow2")
    assert take(scene, "two") == "two"
    overlay(scene, "three", "two", "qcow2")
    take(scene, "three")
    assert chain(scene) == chain(scene, running=False) == ["three", "two", "one", "base"]
    # Down into what lies below it.
    merge(scene, "two", "one")
    assert chain(scene) == ["three", "one", "base"]
    # It goes on there when it is started anew.
    scene.driver.reboot(scene.id, hard=True)
    assert chain(scene) == ["three", "one", "base"]
    # Up into what it writes to.
    merge(scene, "base")
    assert chain(scene) == ["three", "base"]
    merge(scene, "")
    assert chain(scene) == ["three"]
    # All of it is in that file once QEMU has let go of it.
    scene.driver.power_off(scene.id, graceful=False)
    qemu_img("convert", "-O", "raw", str(scene.place / "three"), str(scene.place / "out"))
    assert (scene.place / "out").read_bytes() == b"what was there before".ljust(8 * MIB, b"\0")


def test_what_cannot_be_done_changes_nothing(scene):
    for name in ("nowhere", "../base", "/etc/passwd"):
        with pytest.raises(errors.VolumeUnacceptable):
            scene.driver.snapshot_volume(scene.id, VOLUME, name)
    overlay(scene, "one", "base", "raw")
    take(scene, "one")
    for source, target in (("stranger", ""), ("base", "one"), ("one", "base")):
        with pytest.raises(errors.VolumeMergeFailed):
            scene.driver.merge_volume(scene.id, VOLUME, source, target)
    with pytest.raises(errors.DeviceNotFound):
        scene.driver.snapshot_volume(scene.id, "another", "one")
    scene.driver.power_off(scene.id, graceful=False)
    assert scene.id not in {each.server_id for each in scene.driver.volume_usage()}
    with pytest.raises(errors.GuestInWrongState):
        scene.driver.snapshot_volume(scene.id, VOLUME, "one")
    with pytest.raises(errors.GuestInWrongState):
        scene.driver.merge_volume(scene.id, VOLUME, "", "")
    assert chain(scene, running=False) == ["one", "base"]
