"""A libvirt host of our own on the daemon that runs here, and the guest image of the tests.

tools/prepare-host.sh installs what these tests need; they run as root.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protonova.services.compute.virt.driver import FixedIP, GuestEvent, GuestSpec, ImageSource, NicSpec
from tests.support.guest_image import guest_image

URI = os.environ.get("PROTONOVA_TEST_LIBVIRT_URI", "qemu:///system")


@pytest.fixture(scope="session")
def libvirt():
    """The binding, where we have the rights guests need."""
    libvirt = pytest.importorskip("libvirt")
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    if os.geteuid() != 0:
        pytest.skip("bridges and consoles need root")
    return libvirt


@pytest.fixture(scope="session")
def image_file(libvirt) -> Path:
    return guest_image()


@pytest.fixture(scope="session")
def image(image_file: Path) -> ImageSource:
    content = image_file.read_bytes()
    return ImageSource(
        id="tiny",
        disk_format="qcow2",
        size=len(content),
        checksum=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        hash_algo="sha512",
        hash_value=hashlib.sha512(content).hexdigest(),
    )


@pytest.fixture(scope="session")
def fetch(image_file: Path):
    def copy(image_id: str, writer) -> None:
        assert image_id == "tiny"
        with image_file.open("rb") as file:
            shutil.copyfileobj(file, writer, 1 << 20)

    return copy


@pytest.fixture(scope="session")
def tag() -> str:
    """Tells the guests and bridges of this run from all others on the machine."""
    return uuid.uuid4().hex[:6]


@pytest.fixture(scope="session")
def state_path() -> Iterator[Path]:
    """A directory QEMU's own user can reach (pytest's are private)."""
    path = Path(tempfile.mkdtemp(prefix="protonova-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def make_driver(libvirt, state_path: Path, fetch, tag: str):
    """Drivers for one host; whatever guests a failed test left are destroyed at the end."""
    from protonova.services.compute.virt.libvirt.driver import LibvirtDriver
    from protonova.services.compute.virt.libvirt.settings import LibvirtSettings

    made = []

    def make(host: str = f"test-{tag}", **settings) -> LibvirtDriver:
        facts = LibvirtSettings(**{"state_path": state_path, "uri": URI, **settings})
        driver = LibvirtDriver(host, facts, fetch)
        made.append(driver)
        return driver

    yield make
    for driver in made:
        driver.close()
    for host, path in {(d.host, d.settings.state_path) for d in made}:
        if path.exists():
            with LibvirtDriver(host, LibvirtSettings(state_path=path, uri=URI), fetch) as last:
                for guest in last.guests():
                    last.destroy(guest.server_id)


@pytest.fixture(scope="session")
def driver(make_driver):
    return make_driver()


@pytest.fixture(scope="session")
def order(image: ImageSource, tag: str):
    """Specs of guests; each has a network of its own."""
    numbers = iter(range(1, 100))

    def spec(**changes) -> GuestSpec:
        number = next(numbers)
        server_id = str(uuid.uuid4())
        subnet = f"10.{64 + int(tag[:2], 16) % 64}.{int(tag[2:4], 16)}"
        nic = NicSpec(
            port_id=str(uuid.uuid4()),
            mac=f"fa:16:3e:{tag[:2]}:{tag[2:4]}:{number:02x}",
            network_id=str(uuid.uuid4()),
            bridge=f"pnt{tag}{number}",
            mtu=1450,
            fixed_ips=(
                FixedIP(f"{subnet}.{number + 1}", f"{subnet}.0/24", f"{subnet}.1", dns=("192.0.2.53",)),
            ),
        )
        document = json.dumps({"uuid": server_id, "hostname": f"guest-{number}.example"}).encode()
        facts = {
            "server_id": server_id,
            "name": f"instance-test-{tag}-{number}",
            "display_name": f"guest {number}",
            "vcpus": 1,
            "memory_mb": 192,
            "root_gb": 1,
            "image": image,
            "nics": (nic,),
            "config_drive": True,
            "documents": {"openstack/latest/meta_data.json": document},
        }
        return replace(GuestSpec("", ""), **{**facts, **changes})

    return spec


@pytest.fixture
def console():
    """Waits for a line on a guest's console."""

    def wait(driver, server_id: str, pattern: str, timeout: float = 90) -> re.Match[str]:
        deadline = time.monotonic() + timeout
        pause = threading.Event()
        while True:
            text = driver.console_output(server_id, 1 << 20).decode(errors="replace")
            if found := re.search(pattern, text):
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} on the console, which ends with {text[-1500:]!r}")
            pause.wait(0.1)

    return wait


class Heard:
    def __init__(self, driver) -> None:
        self.events: list[GuestEvent] = []
        self._changed = threading.Condition()
        self.end: Callable[[], None] = driver.events(self)

    def __call__(self, event: GuestEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, kind, server_id: str, timeout: float = 20) -> GuestEvent:
        def find() -> GuestEvent | None:
            return next((e for e in self.events if e.kind is kind and e.server_id == server_id), None)

        with self._changed:
            assert self._changed.wait_for(lambda: find() is not None, timeout), (kind, self.events)
            return find()


@pytest.fixture
def hear():
    heard = []

    def start(driver) -> Heard:
        heard.append(Heard(driver))
        return heard[-1]

    yield start
    for one in heard:
        one.end()
