"""A real guest goes from one libvirt daemon to another while it runs: with copied disks and with shared ones,
aborted and forced."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import LiveProgress, PowerState, Storage
from tests.support.libvirt_hosts import LibvirtHost

pytestmark = pytest.mark.libvirt


@pytest.fixture(scope="module")
def daemons(libvirt):
    directory = Path(tempfile.mkdtemp(prefix="protonova-test-"))
    directory.chmod(0o755)
    made = [LibvirtHost(f"live-{name}", directory) for name in ("one", "two")]
    yield directory, made
    for daemon in made:
        daemon.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def hosts(daemons, fetch, request):
    """Two drivers; `shared` hosts have one directory for their guests."""
    from protonova.services.compute.virt.libvirt.driver import LibvirtDriver
    from protonova.services.compute.virt.libvirt.settings import LibvirtSettings

    directory, made = daemons
    shared = getattr(request, "param", "") == "shared"
    drivers = [
        LibvirtDriver(
            daemon.name,
            LibvirtSettings(
                state_path=directory / ("shared" if shared else f"own-{daemon.name}"),
                uri=daemon.uri,
                live_migration_uri=daemon.uri,
                network="none",
                vnc_listen="",
            ),
            fetch,
        )
        for daemon in made
    ]
    yield drivers
    for driver in drivers:
        for state in driver.guests():
            driver.destroy(state.server_id)
        driver.close()


@pytest.fixture
def guest(order):
    return order(nics=(), swap_mb=32)


def boot(driver, guest, console) -> None:
    driver.spawn(guest)
    console(driver, guest.server_id, r"finished after")


def prepared(source, target, guest, storage: Storage = Storage.AS_IT_IS) -> bytes:
    facts = source.live_facts(guest.server_id)
    assert target.live_prepare(guest, source.host, storage, facts, check_only=True) == b""
    return target.live_prepare(guest, source.host, storage, facts)


@pytest.mark.parametrize("hosts", ["own", "shared"], indirect=True)
def test_it_goes_on_running(hosts, guest, console, request):
    one, two = hosts
    shared = request.node.callspec.params["hosts"] == "shared"
    boot(one, guest, console)
    other = Storage.COPIED if shared else Storage.SHARED
    with pytest.raises(errors.MigrationImpossible):
        two.live_prepare(guest, one.host, other, one.live_facts(guest.server_id))
    ticket = prepared(one, two, guest)
    told: list[LiveProgress] = []
    one.live_migrate(guest, two.host, ticket, told.append)
    one.live_migrate(guest, two.host, ticket, told.append)
    for _ in range(2):
        assert two.live_finish(guest).power_state is PowerState.RUNNING
    one.destroy(guest.server_id)
    assert guest.server_id not in {state.server_id for state in one.guests()}
    # It answers, and what it had is there: the same guest, and the same disk at its next boot.
    assert two.guest(guest.server_id).power_state is PowerState.RUNNING
    two.reboot(guest.server_id, hard=True)
    console(two, guest.server_id, r"tiny-init: boot 2 .*")


@pytest.mark.parametrize("hosts", ["own"], indirect=True)
def test_it_gets_another_name_where_its_own_is_taken(hosts, guest, order):
    one, two = hosts
    one.identify(["one"])
    two.identify(["two"])
    guest, other = (
        replace(spec, image=None, root_gb=0, swap_mb=0, config_drive=False, nics=())
        for spec in (guest, order())
    )
    one.spawn(guest)
    two.spawn(replace(other, name=guest.name))
    one.live_migrate(guest, two.host, prepared(one, two, guest), lambda _: None)
    named = f"{guest.name}-{guest.server_id[:8]}"
    assert two.live_finish(guest).name == named
    one.destroy(guest.server_id)
    assert two.reboot(guest.server_id, hard=True, spec=guest).name == named
    two.destroy(guest.server_id)
    # Back again, under the name its conductor has been told of.
    two.spawn(replace(guest, name=named))
    one.live_prepare(replace(guest, name=named), two.host, Storage.AS_IT_IS, two.live_facts(guest.server_id))
    two.destroy(guest.server_id)
    one.destroy(guest.server_id)


@pytest.mark.parametrize("hosts", ["shared"], indirect=True)
def test_aborted_and_forced(hosts, guest, console):
    one, two = hosts
    boot(one, guest, console)
    found = one._find(guest.server_id)
    ticket = prepared(one, two, guest)
    # Slow enough to be met on its way.
    found.migrateSetMaxSpeed(1)
    seen = threading.Event()
    failure: list[BaseException] = []

    def migrate() -> None:
        try:
            one.live_migrate(guest, two.host, ticket, lambda _: seen.set())
        except errors.DriverError as error:
            failure.append(error)

    mover = threading.Thread(target=migrate)
    mover.start()
    assert seen.wait(30)
    one.live_abort(guest.server_id)
    mover.join(30)
    assert [type(error) for error in failure] == [errors.MigrationAborted]
    assert one.guest(guest.server_id).power_state is PowerState.RUNNING
    two.destroy(guest.server_id)
    assert guest.server_id not in {state.server_id for state in two.guests()}

    ticket = prepared(one, two, guest)
    seen.clear()
    mover = threading.Thread(target=migrate)
    mover.start()
    assert seen.wait(30)
    one.live_force(guest.server_id)
    found.migrateSetMaxSpeed(10000)
    mover.join(60)
    assert len(failure) == 1
    assert two.live_finish(guest).power_state is PowerState.RUNNING
    one.destroy(guest.server_id)

    # And back, paused by its user: it stays so.
    two._find(guest.server_id).suspend()
    ticket = prepared(two, one, guest)
    two.live_migrate(guest, one.host, ticket, lambda _: None)
    assert one.live_finish(guest).power_state is PowerState.PAUSED
    two.destroy(guest.server_id)
