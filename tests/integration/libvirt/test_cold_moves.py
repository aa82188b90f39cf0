"""A real guest goes to another host, cold: with its disk, its config drive, and room to grow; and back again.

Both hosts are served by the one daemon of this machine: what is one's is never the other's.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import PowerState

pytestmark = pytest.mark.libvirt
LABEL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def other(make_driver, tag: str):
    """A second host, with files of its own."""
    path = Path(tempfile.mkdtemp(prefix="protonova-test-"))
    path.chmod(0o755)
    yield make_driver(f"other-{tag}", state_path=path)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def guest(driver, other, order):
    spec = order(nics=(), swap_mb=32)
    yield spec
    for host in (driver, other):
        host.destroy(spec.server_id)
        host.discard(spec.server_id)


def names(driver) -> set[str]:
    return {state.server_id for state in driver.guests()}


def test_there_and_back(driver, other, guest, console):
    server = guest.server_id
    driver.spawn(guest)
    console(driver, server, r"tiny-init: boot 1 .*")
    console(driver, server, r"finished after")

    for _ in range(2):
        driver.set_aside(server, LABEL, 0)
    assert server not in names(driver)
    assert driver.asides() == [(server, LABEL)]
    with pytest.raises(errors.GuestNotFound):
        driver.guest(server)

    def files():
        return driver.aside_files(server, LABEL)

    larger = replace(guest, root_gb=2, memory_mb=224, swap_mb=64, documents={"other": b"{}"})
    other.check_receive(larger)
    state = other.receive(larger, files)
    assert (state.power_state, state.memory_mb) == (PowerState.RUNNING, 224)
    assert other.receive(larger, files).power_state is PowerState.RUNNING
    # The disk has come along, and has grown; so has the config drive, as it was.
    console(other, server, r"tiny-init: boot 2 .*")
    console(other, server, rf"disk vda bytes {2 << 30} serial root")
    console(other, server, rf"disk vdb bytes {64 << 20} serial swap")
    console(other, server, r"config drive meta_data.json: .*guest-")
    assert names(other) == {server}

    other.set_aside(server, f"{LABEL}-back", 0)
    state = driver.take_back(server, LABEL, guest)
    assert (state.power_state, state.memory_mb) == (PowerState.RUNNING, 192)
    console(driver, server, r"tiny-init: boot 2 .*")
    other.discard(server)
    assert other.asides() == []
    assert not list((other.settings.instances / "aside").iterdir())
    assert driver.asides() == []


def test_without_a_start_and_without_its_image(driver, other, guest, monkeypatch):
    """An image that is gone comes along from the source."""
    server = guest.server_id
    driver.spawn(guest)
    driver.set_aside(server, LABEL, 0)
    monkeypatch.setattr(
        other._images, "get", lambda *_, **__: (_ for _ in ()).throw(errors.ImageUnacceptable("gone"))
    )
    state = other.receive(guest, lambda: driver.aside_files(server, LABEL), start=False)
    assert state.power_state is PowerState.SHUTDOWN
    assert other.power_on(server).power_state is PowerState.RUNNING
    other.destroy(server)
    assert driver.take_back(server, LABEL, guest, start=False).power_state is PowerState.SHUTDOWN


def test_files_of_another_hosts_guest_stay(driver, make_driver, guest, tag):
    """Hosts that share their directory: who has the guest has the files."""
    server = guest.server_id
    driver.spawn(guest)
    directory = driver.settings.instances / server
    sharing = make_driver(f"sharing-{tag}", state_path=driver.settings.state_path)
    assert server not in names(sharing)
    sharing.check_receive(guest, True)
    with pytest.raises(errors.HostRefuses):
        sharing.check_receive(guest, False)
    (directory / "host").write_text(sharing.host)
    driver.destroy(server)
    assert (directory / "disk").exists()
    assert server not in names(driver)
    sharing.destroy(server)
    assert not directory.exists()
