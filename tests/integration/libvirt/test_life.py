"""The life of one real guest, from boot to destroy.

It is one test of many stages, because an emulated boot takes seconds and each stage hands the guest on to the
next; each stands as a function of its own that names what it needs.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import FixedIP, GuestEventKind, NicSpec, PowerState

pytestmark = pytest.mark.libvirt


@pytest.fixture
def guest(driver, order):
    """Two networks: one where the host has the gateway's address, one where it has no address at all."""
    spec = order(ephemeral_gb=1, swap_mb=32, user_data=b"#!/bin/sh\necho user data of $(hostname)\n")
    other = NicSpec(
        port_id="ffff" + spec.nics[0].port_id[4:],
        mac=spec.nics[0].mac.replace("fa:16:3e", "fa:16:3f"),
        network_id="other",
        bridge=spec.nics[0].bridge + "x",
        fixed_ips=(FixedIP("172.31.255.7", "172.31.255.0/24"),),
    )
    spec = replace(spec, nics=(*spec.nics, other))
    yield spec
    driver.destroy(spec.server_id)


def qemu_of(guest) -> list[int]:
    """Processes that run this guest."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if command.startswith(b"/usr/bin/qemu-system") and guest.server_id.encode() in command:
            found.append(int(process.name))
    return found


def boot(driver, guest, console) -> None:
    heard = []
    state = driver.spawn(guest, lambda percent, text: heard.append((percent, text)))
    assert (state.power_state, state.vcpus, state.memory_mb) == (PowerState.RUNNING, 1, 192)
    assert [percent for percent, _ in heard] == sorted(percent for percent, _ in heard)
    assert heard[-1][0] == 100
    console(driver, guest.server_id, r"tiny-init: init started")
    console(driver, guest.server_id, r"tiny-init: boot 1 .* cpus 1 ")
    console(driver, guest.server_id, r"finished after")
    assert guest.server_id in {g.server_id for g in driver.guests()}


def disks_seen_by_the_guest(driver, guest, console) -> None:
    console(driver, guest.server_id, rf"disk vda bytes {1 << 30} serial root")
    console(driver, guest.server_id, rf"disk vdb bytes {1 << 30} serial ephemeral")
    console(driver, guest.server_id, rf"disk vdc bytes {32 << 20} serial swap")
    console(driver, guest.server_id, "label ephemeral0 /dev/vdb")
    console(driver, guest.server_id, "label swap0 /dev/vdc")


def config_drive_read_by_the_guest(driver, guest, console) -> None:
    text = console(driver, guest.server_id, r"config drive meta_data.json: (.*?)\r?\n")[1]
    assert json.loads(text) == json.loads(guest.documents["openstack/latest/meta_data.json"])
    name = json.loads(text)["hostname"].split(".")[0]
    console(driver, guest.server_id, f"user data of {name}")


def addresses_by_dhcp(driver, guest, console) -> None:
    first, second = guest.nics
    ip = first.fixed_ips[0]
    line = console(
        driver, guest.server_id, rf"eth0 {first.mac} dhcp (\S+) router (\S+) routes (.*) mtu (\d+)"
    )
    assert line[1] == f"{ip.address}/24"
    assert line[2] == ip.gateway
    assert line[3] == "none"
    assert line[4] == "1450"
    line = console(driver, guest.server_id, rf"eth1 {second.mac} dhcp (\S+) router (\S+)")
    assert (line[1], line[2]) == ("172.31.255.7/24", "none")


def the_host_reaches_the_guest(guest) -> None:
    with socket.create_connection((guest.nics[0].fixed_ips[0].address, 22), timeout=20) as line:
        assert line.recv(100).startswith(b"SSH-2.0-")


def spawn_again_changes_nothing(driver, guest) -> None:
    before = qemu_of(guest)
    assert driver.spawn(guest).power_state is PowerState.RUNNING
    assert qemu_of(guest) == before
    assert len(before) == 1


def soft_reboot(driver, guest, console) -> None:
    before = qemu_of(guest)
    assert driver.reboot(guest.server_id, hard=False, timeout=60).power_state is PowerState.RUNNING
    text = console(driver, guest.server_id, r"(?s)boot 1 .*shutting down.*boot 2 ")
    assert text is not None
    assert qemu_of(guest) == before


def graceful_stop_and_start(driver, guest, console, hear) -> None:
    console(driver, guest.server_id, r"(?s)boot 2 .*finished after")
    heard = hear(driver)
    assert driver.power_off(guest.server_id, timeout=60).power_state is PowerState.SHUTDOWN
    console(driver, guest.server_id, r"(?s)boot 2 .*shutting down")
    heard.wait(GuestEventKind.STOPPED, guest.server_id)
    assert driver.power_off(guest.server_id).power_state is PowerState.SHUTDOWN
    with pytest.raises(errors.GuestInWrongState):
        driver.reboot(guest.server_id, hard=False)
    assert driver.power_on(guest.server_id).power_state is PowerState.RUNNING
    assert driver.power_on(guest.server_id).power_state is PowerState.RUNNING
    heard.wait(GuestEventKind.STARTED, guest.server_id)
    console(driver, guest.server_id, "boot 3 ")
    assert b"boot 2 " not in driver.console_output(guest.server_id)
    assert len(driver.console_output(guest.server_id, 10)) == 10


def hard_reboot_with_another_size(driver, guest, console) -> None:
    state = driver.reboot(guest.server_id, hard=True, spec=replace(guest, memory_mb=256, vcpus=2))
    assert (state.power_state, state.memory_mb, state.vcpus) == (PowerState.RUNNING, 256, 2)
    console(driver, guest.server_id, r"boot \d .* cpus 2 ")
    console(driver, guest.server_id, r"finished after")


def a_guest_that_switches_itself_off(libvirt, driver, guest, hear) -> None:
    heard = hear(driver)
    line = libvirt.open("qemu:///system")
    line.lookupByUUIDString(guest.server_id).shutdown()  # not by the driver: as its user would
    assert heard.wait(GuestEventKind.STOPPED, guest.server_id).power_state is PowerState.SHUTDOWN
    assert driver.guest(guest.server_id).power_state is PowerState.SHUTDOWN
    line.close()


def a_guest_whose_process_dies(driver, guest, hear) -> None:
    driver.power_on(guest.server_id)
    heard = hear(driver)
    (pid,) = qemu_of(guest)
    os.kill(pid, signal.SIGKILL)
    heard.wait(GuestEventKind.CRASHED, guest.server_id)
    assert driver.guest(guest.server_id).power_state is PowerState.CRASHED
    assert driver.reboot(guest.server_id, hard=True).power_state is PowerState.RUNNING


def a_guest_deleted_behind_our_back(libvirt, driver, guest, hear) -> None:
    heard = hear(driver)
    line = libvirt.open("qemu:///system")
    domain = line.lookupByUUIDString(guest.server_id)
    domain.undefine()
    assert driver.guest(guest.server_id).power_state is PowerState.RUNNING
    domain.destroy()
    line.close()
    heard.wait(GuestEventKind.DELETED, guest.server_id)
    assert driver.guest(guest.server_id).power_state is PowerState.NOSTATE
    assert driver.power_on(guest.server_id).power_state is PowerState.RUNNING


def a_stop_by_force(driver, guest) -> None:
    assert driver.power_off(guest.server_id, graceful=False).power_state is PowerState.SHUTDOWN
    driver.power_on(guest.server_id)


def destroy_leaves_nothing(libvirt, driver, guest, hear) -> None:
    heard = hear(driver)
    driver.destroy(guest.server_id)
    driver.destroy(guest.server_id)
    assert qemu_of(guest) == []
    assert guest.server_id not in {g.server_id for g in driver.guests()}
    # Where guests that move are set aside there may be a folder, with nothing in it.
    assert [p for p in driver.settings.instances.iterdir() if p.name != "aside" or any(p.iterdir())] == []
    heard.wait(GuestEventKind.DELETED, guest.server_id)
    assert [p for p in driver.settings.networks.iterdir() if p.is_dir()] == []
    for nic in guest.nics:
        assert not Path("/sys/class/net", nic.bridge).exists()
    line = libvirt.open("qemu:///system")
    with pytest.raises(libvirt.libvirtError):
        line.lookupByUUIDString(guest.server_id)
    line.close()
    with pytest.raises(errors.GuestNotFound):
        driver.guest(guest.server_id)


STAGES = (
    boot,
    disks_seen_by_the_guest,
    config_drive_read_by_the_guest,
    addresses_by_dhcp,
    the_host_reaches_the_guest,
    spawn_again_changes_nothing,
    soft_reboot,
    graceful_stop_and_start,
    hard_reboot_with_another_size,
    a_guest_that_switches_itself_off,
    a_guest_whose_process_dies,
    a_guest_deleted_behind_our_back,
    a_stop_by_force,
    destroy_leaves_nothing,
)


def test_life_of_a_guest(libvirt, driver, guest, console, hear) -> None:
    given = {"libvirt": libvirt, "driver": driver, "guest": guest, "console": console, "hear": hear}
    for stage in STAGES:
        stage(**{name: given[name] for name in inspect.signature(stage).parameters})
