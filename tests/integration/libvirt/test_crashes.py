"""An agent killed in the middle of a spawn, lost connections, and guests of others."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import GuestEventKind, GuestSpec, PowerState

pytestmark = pytest.mark.libvirt

# Spawns a guest and ends by SIGKILL when the spawn has come to a given point.
SUICIDE = """
import json, os, signal, sys, shutil
from pathlib import Path
from protonova.services.compute.virt.libvirt import driver, layout, settings
facts = json.load(sys.stdin)
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
def fetch(image_id, writer):
    with open(facts["image_file"], "rb") as file:
        writer.write(file.read(1 << 20))
        if facts["stage"] == "fetch":
            die()
        shutil.copyfileobj(file, writer)
spec = layout._spec(facts["spec"])
host = driver.LibvirtDriver(facts["host"], settings.LibvirtSettings(Path(facts["state_path"])), fetch)
if facts["stage"] == "defined":
    driver.libvirt.virDomain.create = lambda self, flags=0: die()
host.spawn(spec, lambda percent, text: die() if text == facts["stage"] else None)
"""


@pytest.fixture(scope="module")
def place(make_driver, tag):
    """A host whose directory only root can reach: QEMU has to run as its owner there."""
    with tempfile.TemporaryDirectory(prefix="protonova-private-") as path:
        driver = make_driver(f"crash-{tag}", state_path=Path(path))
        yield driver
        for guest in driver.guests():
            driver.destroy(guest.server_id)


def killed_at(stage: str, place, spec: GuestSpec, image_file: Path) -> None:
    facts = {
        "stage": stage,
        "host": place.host,
        "state_path": str(place.settings.state_path),
        "image_file": str(image_file),
        "spec": asdict(replace(spec, documents={})),
    }
    done = subprocess.run(
        [sys.executable, "-c", SUICIDE], input=json.dumps(facts, default=lambda b: b.decode()), text=True,
        capture_output=True, env={**os.environ, "PYTHONPATH": "src"}, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_spawn_killed_at_any_point_is_made_whole(libvirt, place, order, image_file, console) -> None:
    spec = order()
    for stage in ("image", "fetch", "disks", "network", "start", "defined", "running"):
        killed_at(stage, place, spec, image_file)
        guests = place.guests()
        assert [g.server_id for g in guests] == [spec.server_id]
        running = guests[0].power_state is PowerState.RUNNING
        assert running == (stage == "running")
    assert place.spawn(spec).power_state is PowerState.RUNNING
    line = libvirt.open("qemu:///system")
    domain = line.lookupByUUIDString(spec.server_id)
    assert "<label>+0:+0</label>" in domain.XMLDesc()
    console(place, spec.server_id, "tiny-init: boot 1 ")
    line.close()
    place.destroy(spec.server_id)
    assert place.guests() == []


@pytest.mark.parametrize("stage", ["disks", "network", "start", "defined"])
def test_a_spawn_killed_at_any_point_can_be_destroyed(place, order, image_file, stage) -> None:
    spec = order()
    killed_at(stage, place, spec, image_file)
    place.destroy(spec.server_id)
    assert place.guests() == []
    assert list(place.settings.instances.iterdir()) == []
    assert [p for p in place.settings.networks.iterdir() if p.is_dir()] == []
    assert not Path("/sys/class/net", spec.nics[0].bridge).exists()


def test_a_destroy_takes_back_a_running_spawn(make_driver, order, tag, tmp_path, image_file) -> None:
    fetching = threading.Event()
    go_on = threading.Event()
    outcome = []
    driver = make_driver(f"slow-{tag}", state_path=tmp_path)
    spec = order()

    def fetch(_image_id, writer) -> None:
        fetching.set()
        go_on.wait(20)
        writer.write(image_file.read_bytes())

    driver._images._fetch = fetch

    def spawn() -> None:
        try:
            driver.spawn(spec)
        except errors.DriverError as error:
            outcome.append(error)

    spawning = threading.Thread(target=spawn)
    spawning.start()
    assert fetching.wait(20)
    destroying = threading.Thread(target=driver.destroy, args=(spec.server_id,))
    destroying.start()
    while not driver._turns._turns[spec.server_id].generation:
        threading.Event().wait(0.01)
    go_on.set()
    spawning.join(20)
    destroying.join(20)
    assert isinstance(outcome[0], errors.Cancelled)
    assert driver.guests() == []


def test_guests_of_others_are_left_alone(libvirt, place, order) -> None:
    spec = order()
    line = libvirt.open("qemu:///system")
    xml = f"<domain type='qemu'><name>foreign-{spec.server_id[:8]}</name><uuid>{spec.server_id}</uuid>"
    domain = line.defineXML(f"{xml}<memory>65536</memory><os><type>hvm</type></os></domain>")
    try:
        assert place.guests() == []
        with pytest.raises(errors.GuestNotFound):
            place.guest(spec.server_id)
        with pytest.raises(errors.HostRefuses, match="somebody else"):
            place.spawn(spec)
        place.destroy(spec.server_id)
        assert domain.name().startswith("foreign-")
        other = replace(order(), name=domain.name(), image=None, root_gb=0, nics=(), config_drive=False)
        assert place.spawn(other).name == f"{domain.name()}-{other.server_id[:8]}"
        place.destroy(other.server_id)
        assert line.lookupByUUIDString(spec.server_id).name() == domain.name()
    finally:
        domain.undefine()
        line.close()


class Proxy:
    """Stands between the driver and the daemon, and can cut the line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.start()

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            far.connect("/run/libvirt/libvirt-sock")
            self._open += [near, far]
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass

    def cut(self) -> None:
        listener, self._listener = self._listener, None
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        self.path.unlink()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()


def test_a_lost_connection_is_opened_again(libvirt, make_driver, tag, tmp_path, hear) -> None:
    proxy = Proxy(tmp_path / "libvirt-sock")
    uri = f"qemu+unix:///system?socket={proxy.path}"
    driver = make_driver(f"line-{tag}", state_path=tmp_path / "state", uri=uri, network="none")
    heard = hear(driver)
    assert driver.guests() == []
    proxy.cut()
    with pytest.raises(errors.HypervisorUnavailable):
        driver.guest(str(uuid.uuid4()))
    proxy.start()
    heard.wait(GuestEventKind.RESYNC, "")
    assert driver.guests() == []
    assert driver.inventory().vcpus > 0
