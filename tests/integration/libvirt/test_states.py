"""A real guest is paused, suspended, rescued and rebuilt.

One test of many stages, as in test_life: an emulated boot takes seconds and each stage hands the guest on.
"""

from __future__ import annotations

import inspect
from dataclasses import replace

import pytest

from protonova.common.v1 import server_pb2
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestEventKind, PowerState

pytestmark = pytest.mark.libvirt


@pytest.fixture
def guest(driver, order):
    spec = order(ephemeral_gb=1)
    yield spec
    driver.destroy(spec.server_id)


def domain_of(libvirt, guest):
    line = libvirt.open("qemu:///system")
    return line, line.lookupByUUIDString(guest.server_id)


def boot(driver, guest, console) -> None:
    driver.spawn(guest)
    console(driver, guest.server_id, r"finished after")


def pause_and_unpause(libvirt, driver, guest, hear) -> None:
    heard = hear(driver)
    for _ in range(2):
        assert driver.pause(guest.server_id).power_state is PowerState.PAUSED
    heard.wait(GuestEventKind.PAUSED, guest.server_id)
    assert driver.guest(guest.server_id).power_state is PowerState.PAUSED
    assert driver.diagnostics(guest.server_id).power_state == server_pb2.POWER_STATE_PAUSED
    for _ in range(2):
        assert driver.unpause(guest.server_id).power_state is PowerState.RUNNING
    heard.wait(GuestEventKind.RESUMED, guest.server_id)
    # Behind our back: the sync hears of it.
    driver.pause(guest.server_id)
    line, domain = domain_of(libvirt, guest)
    domain.resume()
    line.close()
    assert driver.guest(guest.server_id).power_state is PowerState.RUNNING


def diagnostics(driver, guest) -> None:
    told = driver.diagnostics(guest.server_id)
    assert (told.driver, told.config_drive, len(told.cpus)) == ("libvirt", True, 1)
    assert told.memory_maximum_mb == 192
    assert [nic.mac_address for nic in told.nics] == [guest.nics[0].mac]
    assert told.nics[0].rx_octets + told.nics[0].tx_octets > 0
    assert max(disk.read_bytes for disk in told.disks) > 0
    assert "vda_read" in told.native


def a_crash_dump_is_asked_for(driver, guest) -> None:
    try:
        assert driver.trigger_crash_dump(guest.server_id).power_state is PowerState.RUNNING
    except errors.Unsupported:
        pytest.fail("QEMU injects interrupts")


def a_password_set_by_the_agent_inside(driver, guest, console) -> None:
    console(driver, guest.server_id, r"guest agent started")
    assert driver.set_password(guest.server_id, "secret").power_state is PowerState.RUNNING
    with pytest.raises(errors.GuestAgentRefuses):
        driver.set_password(guest.server_id, "secret", "nobody:here")


def suspend_and_resume(driver, guest, console, hear) -> None:
    heard = hear(driver)
    assert driver.suspend(guest.server_id).power_state is PowerState.SUSPENDED
    assert driver.suspend(guest.server_id).power_state is PowerState.SUSPENDED
    heard.wait(GuestEventKind.SUSPENDED, guest.server_id)
    assert driver.guest(guest.server_id).power_state is PowerState.SUSPENDED
    with pytest.raises(errors.GuestInWrongState):
        driver.diagnostics(guest.server_id)
    assert driver.resume(guest.server_id).power_state is PowerState.RUNNING
    assert driver.resume(guest.server_id).power_state is PowerState.RUNNING
    # It goes on where it was: only a guest that lives hears the power button, and it did not boot again.
    assert driver.power_off(guest.server_id, timeout=60).power_state is PowerState.SHUTDOWN
    console(driver, guest.server_id, r"shutting down")
    assert b"init started" not in driver.console_output(guest.server_id, 1 << 20)


def a_stop_and_a_hard_reboot_forget_what_was_saved(libvirt, driver, guest) -> None:
    driver.power_on(guest.server_id)
    driver.suspend(guest.server_id)
    assert driver.power_off(guest.server_id).power_state is PowerState.SHUTDOWN
    driver.power_on(guest.server_id)
    driver.suspend(guest.server_id)
    assert driver.reboot(guest.server_id, hard=True).power_state is PowerState.RUNNING
    line, domain = domain_of(libvirt, guest)
    assert not domain.hasManagedSaveImage(0)
    line.close()


def rescue(libvirt, driver, guest, image, console) -> None:
    rescued = replace(guest, documents={"openstack/latest/meta_data.json": b'{"admin_pass": "secret"}'})
    for _ in range(2):
        assert driver.rescue(rescued, image).power_state is PowerState.RUNNING
    # A fresh disk is booted from, the guest's own one is beside it.
    console(driver, guest.server_id, r"disk vda bytes \d+ serial rescue")
    console(driver, guest.server_id, r"disk vdb bytes \d+ serial root")
    console(driver, guest.server_id, r"config drive meta_data.json: \{\"admin_pass\"")
    line, domain = domain_of(libvirt, guest)
    assert "disk.rescue" in domain.XMLDesc(0)
    line.close()


def unrescue(driver, guest, console) -> None:
    for _ in range(2):
        assert driver.unrescue(guest.server_id).power_state is PowerState.RUNNING
    console(driver, guest.server_id, r"disk vda bytes \d+ serial root")
    directory = driver.settings.instances / guest.server_id
    assert not (directory / "disk.rescue").exists()
    assert not (directory / "disk.config.rescue").exists()


def stable_rescue(libvirt, driver, guest, image) -> None:
    properties = {"hw_rescue_bus": "scsi", "hw_rescue_device": "disk"}
    driver.rescue(guest, replace(image, properties=properties))
    line, domain = domain_of(libvirt, guest)
    definition = domain.XMLDesc(0)
    line.close()
    # The guest's own disk keeps its name; the rescue disk stands behind all others and is booted from.
    assert definition.index("/disk'") < definition.index("/disk.rescue'")
    assert definition.count("<boot order=") == 1
    # Any start that is no rescue ends one, whatever was left half way.
    driver.power_off(guest.server_id, graceful=False)
    driver.power_on(guest.server_id)
    line, domain = domain_of(libvirt, guest)
    assert "disk.rescue" not in domain.XMLDesc(0)
    line.close()
    driver.unrescue(guest.server_id, start=False)
    assert driver.guest(guest.server_id).power_state is PowerState.RUNNING


def rebuild(driver, guest, console) -> None:
    anew = replace(guest, documents={"openstack/latest/meta_data.json": b'{"name": "anew"}'})
    before = (driver.settings.instances / guest.server_id / "disk.eph0").stat().st_ino
    state = driver.rebuild(anew, "first", preserve_ephemeral=True)
    assert (state.power_state, state.root_device) == (PowerState.RUNNING, "/dev/vda")
    console(driver, guest.server_id, r"boot 1 ")
    console(driver, guest.server_id, r"config drive meta_data.json: \{\"name\": \"anew\"\}")
    console(driver, guest.server_id, r"finished after")
    assert (driver.settings.instances / guest.server_id / "disk.eph0").stat().st_ino == before
    # A repeat wipes nothing: the guest runs on, and boots a second time from the same disk.
    driver.rebuild(anew, "first", preserve_ephemeral=True)
    driver.reboot(guest.server_id, hard=True)
    console(driver, guest.server_id, r"boot 2 ")


def rebuild_a_guest_that_is_to_stay_off(driver, guest) -> None:
    disk = driver.settings.instances / guest.server_id / "disk"
    used = disk.stat().st_blocks
    assert driver.rebuild(guest, "second", start=False).power_state is PowerState.SHUTDOWN
    assert driver.rebuild(guest, "second", start=False).power_state is PowerState.SHUTDOWN
    assert disk.stat().st_blocks < used
    driver.power_on(guest.server_id)


def destroy_of_a_suspended_guest(libvirt, driver, guest) -> None:
    driver.suspend(guest.server_id)
    driver.destroy(guest.server_id)
    assert guest.server_id not in {state.server_id for state in driver.guests()}
    assert not (driver.settings.instances / guest.server_id).exists()
    line = libvirt.open("qemu:///system")
    with pytest.raises(libvirt.libvirtError):
        line.lookupByUUIDString(guest.server_id)
    line.close()


STAGES = (
    boot,
    pause_and_unpause,
    diagnostics,
    a_password_set_by_the_agent_inside,
    a_crash_dump_is_asked_for,
    suspend_and_resume,
    a_stop_and_a_hard_reboot_forget_what_was_saved,
    rescue,
    unrescue,
    stable_rescue,
    rebuild,
    rebuild_a_guest_that_is_to_stay_off,
    destroy_of_a_suspended_guest,
)


def test_states_of_a_guest(libvirt, driver, guest, image, console, hear) -> None:
    given = {
        "libvirt": libvirt,
        "driver": driver,
        "guest": guest,
        "image": image,
        "console": console,
        "hear": hear,
    }
    for stage in STAGES:
        stage(**{name: given[name] for name in inspect.signature(stage).parameters})
