"""The fake driver keeps the promises of the driver door."""

from __future__ import annotations

import json
import threading
import time
import uuid
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    FixedIP,
    GuestEvent,
    GuestEventKind,
    GuestSpec,
    ImageSource,
    NicSpec,
    PowerState,
)
from protonova.services.compute.virt.fake import FakeDriver, FakeSettings, FaultPlan


def guest(**changes: object) -> GuestSpec:
    facts: dict = {
        "server_id": str(uuid.uuid4()),
        "name": "instance-00000001",
        "hostname": "web",
        "root_gb": 1,
    }
    return GuestSpec(**{**facts, **changes})


@pytest.fixture
def driver():
    with FakeDriver("fake-01") as driver:
        yield driver


class Heard:
    """Collects events and wakes whoever waits for one."""

    def __init__(self, driver: FakeDriver) -> None:
        self.events: list[GuestEvent] = []
        self._changed = threading.Condition()
        driver.events(self)

    def __call__(self, event: GuestEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait(self, kind: GuestEventKind) -> GuestEvent:
        with self._changed:
            assert self._changed.wait_for(lambda: any(e.kind is kind for e in self.events), timeout=5)
        return next(e for e in self.events if e.kind is kind)


def test_life_of_a_guest(driver: FakeDriver) -> None:
    spec = guest(nics=(NicSpec("p", "fa:16:3e:00:00:01", "n", fixed_ips=(FixedIP("10.0.0.5"),)),))
    heard = []
    assert driver.spawn(spec, lambda percent, text: heard.append(percent)).power_state is PowerState.RUNNING
    assert heard == sorted(heard)
    assert heard[-1] == 100
    console = driver.console_output(spec.server_id)
    assert b"web login:" in console
    assert b"dhcp 10.0.0.5" in console
    assert driver.console_output(spec.server_id, 7) == console[-7:]
    assert driver.power_off(spec.server_id).power_state is PowerState.SHUTDOWN
    assert b"Power down" in driver.console_output(spec.server_id)
    with pytest.raises(errors.GuestInWrongState):
        driver.reboot(spec.server_id, hard=False)
    assert driver.power_on(spec.server_id).power_state is PowerState.RUNNING
    assert b"boot 2" in driver.console_output(spec.server_id)
    assert driver.reboot(spec.server_id, hard=False).power_state is PowerState.RUNNING
    assert driver.reboot(spec.server_id, hard=True).power_state is PowerState.RUNNING
    assert [g.server_id for g in driver.guests()] == [spec.server_id]
    driver.destroy(spec.server_id)
    assert driver.guests() == []
    with pytest.raises(errors.GuestNotFound):
        driver.guest(spec.server_id)


def test_everything_can_be_repeated(driver: FakeDriver) -> None:
    spec = guest()
    for _ in range(2):
        driver.spawn(spec)
    assert len(driver.guests()) == 1
    for _ in range(2):
        assert driver.power_off(spec.server_id).power_state is PowerState.SHUTDOWN
    for _ in range(2):
        assert driver.power_on(spec.server_id).power_state is PowerState.RUNNING
    for _ in range(2):
        driver.destroy(spec.server_id)


def test_guests_survive_the_agent(tmp_path: Path) -> None:
    settings = FakeSettings(store=tmp_path / "guests.sqlite")
    specs = [guest() for _ in range(3)]
    with FakeDriver("a", settings) as a, FakeDriver("b", settings) as b:
        a.spawn(specs[0])
        a.spawn(specs[1])
        b.spawn(specs[2])
        a.power_off(specs[1].server_id)
    with FakeDriver("a", settings) as a, FakeDriver("b", settings) as b:
        assert {g.server_id: g.power_state for g in a.guests()} == {
            specs[0].server_id: PowerState.RUNNING,
            specs[1].server_id: PowerState.SHUTDOWN,
        }
        assert [g.server_id for g in b.guests()] == [specs[2].server_id]


def test_a_host_refuses_what_does_not_fit() -> None:
    with FakeDriver("small", FakeSettings(vcpus=2, cpu_allocation_ratio=1.0)) as driver:
        first = guest(vcpus=2)
        driver.spawn(first)
        with pytest.raises(errors.HostRefuses) as refusal:
            driver.spawn(guest(vcpus=1))
        assert refusal.value.facts == {"resource": "vcpus"}
        assert len(driver.guests()) == 1
        driver.destroy(first.server_id)
        driver.spawn(guest(vcpus=2))


def test_fault_plan_fails_the_next_spawns_of_one_host() -> None:
    plan = FaultPlan([{"host": "fake-03", "call": "spawn", "times": 2, "error": "HostRefuses"}])
    settings = FakeSettings(faults=plan)
    with FakeDriver("fake-03", settings) as bad, FakeDriver("fake-04", settings) as good:
        good.spawn(guest())
        for _ in range(2):
            with pytest.raises(errors.HostRefuses):
                bad.spawn(guest())
        bad.spawn(guest())


def test_spawn_repeated_after_a_failure_in_the_middle() -> None:
    plan = FaultPlan([{"call": "spawn", "stage": "define", "times": 1, "error": "HypervisorUnavailable"}])
    with FakeDriver("h", FakeSettings(faults=plan)) as driver:
        spec = guest()
        with pytest.raises(errors.HypervisorUnavailable):
            driver.spawn(spec)
        assert driver.guest(spec.server_id).power_state is PowerState.NOSTATE
        assert driver.spawn(spec).power_state is PowerState.RUNNING
        assert len(driver.guests()) == 1


def test_fault_plan_from_a_file_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "faults.json"
    with FakeDriver("h", FakeSettings(faults=FaultPlan(file=file))) as driver:
        driver.spawn(guest())
        file.write_text(json.dumps({"rules": [{"call": "spawn", "error": "HostRefuses", "message": "full"}]}))
        with pytest.raises(errors.HostRefuses, match="full"):
            driver.spawn(guest())
        file.unlink()
        driver.spawn(guest())


def test_a_destroy_takes_back_a_running_spawn() -> None:
    reached = threading.Event()
    plan = FaultPlan([{"call": "spawn", "stage": "network", "delay": 30}])
    with FakeDriver("h", FakeSettings(faults=plan)) as driver:
        spec = guest()
        outcome: list[BaseException] = []

        def spawn() -> None:
            try:
                driver.spawn(spec, lambda percent, text: reached.set())
            except errors.DriverError as error:
                outcome.append(error)

        thread = threading.Thread(target=spawn)
        thread.start()
        assert reached.wait(5)
        driver.destroy(spec.server_id)
        thread.join(5)
        assert isinstance(outcome[0], errors.Cancelled)
        assert driver.guests() == []


def test_a_deaf_guest_is_switched_off_and_does_not_reboot() -> None:
    plan = FaultPlan([{"stage": "guest", "deaf": True}])
    with FakeDriver("h", FakeSettings(faults=plan)) as driver:
        spec = guest()
        driver.spawn(spec)
        with pytest.raises(errors.GuestUnresponsive):
            driver.reboot(spec.server_id, hard=False, timeout=0.05)
        assert driver.power_off(spec.server_id, timeout=0.05).power_state is PowerState.SHUTDOWN


def test_events_tell_what_happens_behind_our_back(driver: FakeDriver) -> None:
    heard = Heard(driver)
    spec = guest()
    driver.spawn(spec)
    assert heard.wait(GuestEventKind.STARTED).power_state is PowerState.RUNNING
    driver.shut_down_inside(spec.server_id)
    assert heard.wait(GuestEventKind.STOPPED).server_id == spec.server_id
    driver.power_on(spec.server_id)
    driver.crash(spec.server_id)
    assert heard.wait(GuestEventKind.CRASHED).power_state is PowerState.CRASHED
    driver.lose(spec.server_id)
    heard.wait(GuestEventKind.DELETED)
    assert driver.guests() == []


def test_thousands_of_guests_at_full_speed(tmp_path: Path) -> None:
    settings = FakeSettings(vcpus=100_000, memory_mb=10**9, disk_gb=10**6, store=tmp_path / "guests.sqlite")
    with FakeDriver("h", settings) as driver:

        def spawns(count: int) -> float:
            specs = [guest() for _ in range(count)]
            start = time.process_time()
            for spec in specs:
                driver.spawn(spec)
            return count / (time.process_time() - start)

        first = spawns(1000)
        spawns(3000)
        last = spawns(1000)
        assert last > 500
        assert last > first / 3
        assert len(driver.guests()) == 5000


def test_an_image_that_was_prefetched_is_there_after_a_restart(tmp_path: Path) -> None:
    settings = FakeSettings(store=tmp_path / "fake.sqlite")
    image = ImageSource("one", "raw")
    with FakeDriver("fake-01", settings) as driver, FakeDriver("fake-02", settings) as other:
        assert not driver.prefetch_image(image)
        assert driver.prefetch_image(image)
        assert not other.prefetch_image(image)
    with FakeDriver("fake-01", settings) as driver:
        assert driver.prefetch_image(image)
        assert not driver.prefetch_image(ImageSource("two", "raw"))
