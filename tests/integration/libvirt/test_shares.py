"""Shares of a real guest: mounted for it, read and written by it, and taken away again without a trace.

One guest for most of it, because an emulated boot takes seconds.
"""

from __future__ import annotations

import os
import subprocess
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import PowerState, ShareMount

pytestmark = pytest.mark.libvirt

MOUNTS = b"""#!/bin/sh
mkdir -p /mnt/data
mount -t virtiofs data /mnt/data && echo "the share says: $(cat /mnt/data/kept)"
echo "by the guest" > /mnt/data/answer
sync
echo "the answer is written"
"""


@pytest.fixture
def scene(driver, order, tmp_path: Path) -> Iterator[SimpleNamespace]:
    inventory = driver.inventory()
    if "LOCAL" not in inventory.share_protocols:
        pytest.skip("this host gives no shares to guests")
    directory = tmp_path / "the share"
    directory.mkdir()
    (directory / "kept").write_text("by the share")
    share = ShareMount(str(uuid.uuid4()), "data", "LOCAL", str(directory))
    spec = order(user_data=MOUNTS, shares=(share,))
    mount = driver.settings.shares / spec.server_id / share.share_id
    yield SimpleNamespace(
        driver=driver, spec=spec, id=spec.server_id, share=share, directory=directory, mount=mount
    )
    driver.destroy(spec.server_id)
    assert (directory / "kept").read_text() == "by the share"


def definition(scene) -> ET.Element:
    virsh = ["virsh", "-q", "-c", scene.driver.settings.uri, "dumpxml", scene.id]
    return ET.fromstring(subprocess.run(virsh, text=True, capture_output=True, check=True).stdout)


def daemons(scene) -> list[str]:
    """Of those that serve a file system, the ones that serve this one."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            line = (process / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "virtiofsd" in line and str(scene.mount) in line:
            found.append(line)
    return found


def test_a_guest_with_a_share(scene, console):
    driver = scene.driver
    traits = driver.inventory().traits
    assert {"COMPUTE_STORAGE_VIRTIO_FS", "COMPUTE_MEM_BACKING_FILE"} <= traits
    driver.spawn(scene.spec)
    assert (scene.mount / "kept").read_text() == "by the share"
    options = os.statvfs(scene.mount).f_flag
    assert options & os.ST_NOSUID
    assert options & os.ST_NODEV
    assert not driver.settings.shares.stat().st_mode & 0o077
    found = definition(scene).find("devices/filesystem")
    assert (found.find("driver").get("type"), found.find("target").get("dir")) == ("virtiofs", "data")
    assert found.find("source").get("dir") == str(scene.mount)
    assert daemons(scene)
    console(driver, scene.id, "the share says: by the share")
    console(driver, scene.id, "the answer is written")
    assert (scene.directory / "answer").read_text() == "by the guest\n"
    with pytest.raises(errors.GuestInWrongState):
        driver.detach_share(scene.id, scene.share.share_id)
    with pytest.raises(errors.GuestInWrongState):
        driver.attach_share(scene.id, replace(scene.share, share_id=str(uuid.uuid4()), tag="more"))
    driver.reboot(scene.id, hard=True)
    assert (scene.mount / "kept").exists()

    driver.power_off(scene.id, graceful=False)
    assert not scene.mount.exists()
    scene.directory.rename(scene.directory.with_name("elsewhere"))
    with pytest.raises(errors.ShareUnavailable) as caught:
        driver.power_on(scene.id)
    assert caught.value.facts == {"share_id": scene.share.share_id}
    assert driver.guest(scene.id).power_state is PowerState.SHUTDOWN
    scene.directory.with_name("elsewhere").rename(scene.directory)

    for _ in range(2):
        driver.detach_share(scene.id, scene.share.share_id)
    driver.power_on(scene.id)
    assert definition(scene).find("devices/filesystem") is None
    assert not scene.mount.exists()
    driver.power_off(scene.id, graceful=False)
    for _ in range(2):
        driver.attach_share(scene.id, scene.share)
    assert not scene.mount.exists()
    driver.power_on(scene.id)
    assert daemons(scene)
    driver.destroy(scene.id)
    assert not scene.mount.parent.exists()
    assert (scene.directory / "kept").read_text() == "by the share"
    assert not daemons(scene)
