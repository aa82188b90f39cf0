"""Disks and network cards that come and go while a real guest runs, as the guest itself sees them.

One test of many stages, because an emulated boot takes seconds.
"""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import ConsoleKind, FixedIP, NicSpec, PowerState, VolumeDisk

pytestmark = pytest.mark.libvirt

MIB = 1 << 20
# Says whenever the second disk is of another size than before.
WATCH_SIZE = b"""#!/bin/sh
while :; do
    now=$(cat /sys/block/vdb/size 2>/dev/null)
    [ -n "$now" ] && [ "$now" != "$was" ] && echo "vdb has $((now / 2048)) MiB" > /dev/console
    was=$now
    sleep 1
done &
"""


@pytest.fixture
def scene(driver, order, console) -> Iterator[SimpleNamespace]:
    spec = order(user_data=WATCH_SIZE)
    heard = lambda pattern: console(driver, spec.server_id, pattern)  # noqa: E731
    yield SimpleNamespace(driver=driver, spec=spec, id=spec.server_id, heard=heard)
    driver.destroy(spec.server_id)


def volume(scene, name: str, size: int = 8) -> VolumeDisk:
    path = Path(scene.driver.settings.state_path) / f"volume-{name}-{scene.id}"
    with path.open("wb") as file:
        file.truncate(size * MIB)
    path.chmod(0o666)
    data = {"device_path": str(path), "format": "raw"}
    return VolumeDisk(f"{name}-{scene.id[:8]}", {"driver_volume_type": "file", "data": data})


def definition(scene, *options: str) -> str:
    virsh = ["virsh", "-q", "-c", scene.driver.settings.uri, "dumpxml", scene.id, *options]
    return subprocess.run(virsh, text=True, capture_output=True, check=True).stdout


def its_screen_is_where_it_says(scene) -> None:
    shown = scene.driver.console(scene.id, ConsoleKind.VNC)
    with socket.create_connection((shown.host, shown.port), timeout=20) as line:
        assert line.recv(3) == b"RFB"
    with pytest.raises(errors.ConsoleTypeUnavailable):
        scene.driver.console(scene.id, ConsoleKind.SPICE)


def plug_a_volume(scene) -> None:
    scene.data = volume(scene, "data")
    for _ in range(2):
        assert scene.driver.attach_volume(scene.id, scene.data) == "/dev/vdb"
    scene.heard(rf"disk vdb added bytes {8 * MIB} serial {scene.data.volume_id}")
    scene.heard("vdb has 8 MiB")
    for options in ((), ("--inactive",)):
        assert definition(scene, *options).count(f"<serial>{scene.data.volume_id}<") == 1


def it_grows(scene) -> None:
    path = Path(scene.data.connection["data"]["device_path"])
    with path.open("r+b") as file:
        file.truncate(1 << 30)
    scene.driver.extend_volume(scene.id, scene.data.volume_id, 1)
    scene.heard("vdb has 1024 MiB")


def it_is_swapped(scene) -> None:
    scene.other = volume(scene, "other", 1024)
    source = Path(scene.data.connection["data"]["device_path"])
    with source.open("r+b") as file:
        file.write(b"what the user wrote")
    # As a volume service that moves one has it: another place, the same id.
    scene.other = replace(scene.other, volume_id=scene.data.volume_id)
    for _ in range(2):
        scene.driver.swap_volume(scene.id, scene.data.volume_id, scene.other)
    target = scene.other.connection["data"]["device_path"]
    assert Path(target).read_bytes()[:19] == b"what the user wrote"
    for options in ((), ("--inactive",)):
        shown = definition(scene, *options)
        assert target in shown
        assert str(source) not in shown
    with pytest.raises(errors.DeviceNotFound):
        scene.driver.extend_volume(scene.id, "nothing", 1)


def plug_a_card(scene) -> None:
    first = scene.spec.nics[0]
    scene.card = NicSpec(
        port_id="eeee" + first.port_id[4:],
        mac=first.mac.replace("fa:16:3e", "fa:16:3d"),
        network_id="more",
        bridge=first.bridge + "y",
        fixed_ips=(FixedIP("172.31.254.9", "172.31.254.0/24"),),
    )
    for _ in range(2):
        scene.driver.attach_interface(scene.id, scene.card)
    scene.heard(rf"eth1 {scene.card.mac} dhcp 172.31.254.9/24")
    assert (Path("/sys/class/net") / scene.card.bridge).exists()
    with pytest.raises(errors.HostRefuses):
        scene.driver.attach_interface(scene.id, replace(scene.card, port_id="other", vnic_type="direct"))


def it_has_them_after_a_hard_reboot(scene) -> None:
    assert scene.driver.reboot(scene.id, hard=True).power_state is PowerState.RUNNING
    scene.heard(r"disk vdb bytes \d+ serial ")
    scene.heard(rf"eth1 {scene.card.mac} dhcp 172.31.254.9/24")
    scene.heard("finished after")


def take_them_out(scene) -> None:
    for _ in range(2):
        scene.driver.detach_interface(scene.id, scene.card.port_id)
        scene.driver.detach_volume(scene.id, scene.other.volume_id)
    scene.heard("eth1 removed")
    scene.heard("disk vdb removed")
    assert not (Path("/sys/class/net") / scene.card.bridge).exists()
    for options in ((), ("--inactive",)):
        shown = definition(scene, *options)
        assert scene.other.connection["data"]["device_path"] not in shown
        assert scene.card.mac not in shown


def a_guest_that_is_off_gets_them_for_its_next_start(scene) -> None:
    scene.driver.power_off(scene.id, graceful=False)
    last = volume(scene, "last")
    assert scene.driver.attach_volume(scene.id, replace(last, device_name="/dev/vdd")) == "/dev/vdd"
    scene.driver.attach_interface(scene.id, scene.card)
    shown = definition(scene)
    assert "vdd" in shown
    assert scene.card.mac in shown
    scene.driver.detach_volume(scene.id, last.volume_id)
    scene.driver.detach_interface(scene.id, scene.card.port_id)
    assert last.volume_id not in definition(scene)
    assert scene.driver.power_on(scene.id).power_state is PowerState.RUNNING


def a_guest_that_does_not_listen_keeps_its_disk(scene, make_driver) -> None:
    """It has just been switched on: nobody in it hears what is asked."""
    impatient = make_driver(device_detach_attempts=1, device_detach_timeout=0.2)
    kept = volume(scene, "kept")
    name = impatient.attach_volume(scene.id, kept)
    subprocess.run(
        ["virsh", "-q", "-c", scene.driver.settings.uri, "suspend", scene.id], check=True, capture_output=True
    )
    with pytest.raises(errors.DeviceDetachFailed):
        impatient.detach_volume(scene.id, kept.volume_id)
    assert impatient.attach_volume(scene.id, kept) == name
    assert kept.volume_id in definition(scene, "--inactive")


STAGES = (
    its_screen_is_where_it_says,
    plug_a_volume,
    it_grows,
    it_is_swapped,
    plug_a_card,
    it_has_them_after_a_hard_reboot,
    take_them_out,
    a_guest_that_is_off_gets_them_for_its_next_start,
)


def test_devices_of_a_real_guest(scene, make_driver) -> None:
    scene.driver.spawn(scene.spec)
    scene.heard("finished after")
    for stage in STAGES:
        started = time.monotonic()
        stage(scene)
        print(f"{stage.__name__}: {time.monotonic() - started:.1f} s")
    a_guest_that_does_not_listen_keeps_its_disk(scene, make_driver)
