"""Two clouds on one libvirt daemon, whose hosts have the same name: each sees, and reaps, its own guests only."""

from __future__ import annotations

import shutil
import uuid

import pytest

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import PowerState
from tests.support.agent_process import Agent

pytestmark = pytest.mark.libvirt

SECONDS = 30


@pytest.fixture
def paths(state_path):
    made = [state_path / f"{uuid.uuid4().hex[:6]}-{name}" for name in ("left", "right")]
    for path in made:
        path.mkdir(mode=0o755)
    return made


@pytest.fixture(scope="module")
def twins(make_driver, state_path, tag):
    """Drivers of two clouds, for hosts of the same name; neither knows yet who it is."""
    paths = [state_path / f"{uuid.uuid4().hex[:6]}-twin" for _ in range(2)]
    for path in paths:
        path.mkdir(mode=0o755)
    return [make_driver(f"twin-{tag}", state_path=path, network="none") for path in paths]


@pytest.fixture
def bare(order, tag):
    """A guest without disks, so that it is there in no time."""
    return lambda: order(name=f"instance-{tag}", image=None, root_gb=0, nics=(), config_drive=False)


def ids(driver) -> set[str]:
    return {state.server_id for state in driver.guests()}


def test_each_driver_knows_its_own_guests_whatever_their_host_and_name(twins, bare):
    left, right = twins
    left.identify(["left"])
    right.identify(["right"])
    one, two = bare(), bare()
    assert left.spawn(one).name == one.name
    named = right.spawn(two).name
    assert named == f"{two.name}-{two.server_id[:8]}"
    assert (ids(left), ids(right)) == ({one.server_id}, {two.server_id})
    # It goes by that name whatever happens to it, also when the conductor asks with the name it knows.
    assert right.reboot(two.server_id, hard=True, spec=two).name == named
    right.destroy(one.server_id)
    with pytest.raises(errors.GuestNotFound):
        right.guest(one.server_id)
    assert left.guest(one.server_id).power_state is PowerState.RUNNING
    # One whose files are gone is still known by its mark; by one that the host had earlier, too.
    shutil.rmtree(left.settings.instances / one.server_id)
    left.identify(["left", "newer"])
    assert ids(left) == {one.server_id}
    left.identify(["another"])
    assert ids(left) == set()
    left.destroy(one.server_id)
    left.identify(["left"])
    assert ids(left) == {one.server_id}
    left.destroy(one.server_id)
    right.destroy(two.server_id)
    assert (ids(left), ids(right)) == (set(), set())


def test_guests_from_before_there_were_marks_are_known_by_their_files(twins, bare):
    left, right = twins
    left.identify([])
    guest = bare()
    left.spawn(guest)
    left.identify(["left"])
    right.identify(["right"])
    assert (ids(left), ids(right)) == ({guest.server_id}, set())
    left.reboot(guest.server_id, hard=True)
    shutil.rmtree(left.settings.instances / guest.server_id)
    assert ids(left) == {guest.server_id}
    left.destroy(guest.server_id)


def test_agents_reap_only_their_own_orphans(paths, tag, monkeypatch, make_driver):
    monkeypatch.setenv("OS_LIBVIRT__NETWORK", "none")
    monkeypatch.setenv("OS_LIBVIRT__VNC", "false")
    host = f"twin-{tag}"
    servers = [str(uuid.uuid4()) for _ in paths]
    # Reports go on coming, so that waiting for one never waits for ever.
    often = {"report_interval": 0.2, "sync_power_state_interval": 0.2}
    agents = [
        Agent(path, {host: f"cell-{path.name}"}, driver="libvirt", hosts=[host], **often) for path in paths
    ]
    try:
        for agent, server_id in zip(agents, servers, strict=True):
            agent.cell.servers.add(server_id)
            agent.spawn(server_id=server_id, host=host)
        left, right = agents
        # The left one forgets its server, and has lost its journal: its guest goes, the other's stays.
        left.stop()
        left.cell.servers.clear()
        for file in paths[0].glob("compute-journal.sqlite*"):
            file.unlink()
        left.start()
        while left.ids(host):
            told = left.cell.guests.get(timeout=SECONDS)
            assert servers[1] not in {guest.server_id for guest in told.guests}
        assert right.ids(host) == {servers[1]}
    finally:
        for agent in agents:
            agent.close()
        for path in paths:
            last = make_driver(host, state_path=path / "instances", network="none")
            last.identify([f"cell-{path.name}"])
            for server_id in ids(last):
                last.destroy(server_id)
