"""An agent with fake hosts, called as a conductor calls it."""

from __future__ import annotations

import pytest

from protonova.common.v1 import server_pb2
from protonova.compute.v1 import guest_pb2, image_pb2, image_pb2_grpc
from protonova.services.runtime import errors
from tests.support.agent_process import SERVER, Agent, fence

SECONDS = 15


@pytest.fixture
def running(tmp_path):
    made = Agent(tmp_path)
    made.cell.servers.add(SERVER)
    yield made
    made.close()


def test_hosts_are_known_to_the_cell_once_placement_has_their_inventory(running):
    report = running.cell.reports.get(timeout=SECONDS)
    assert {host.host for host in report.hosts} == {"one", "two"}
    for host in report.hosts:
        assert running.providers.inventories[host.node_id]["VCPU"].total == host.vcpus
        assert host.agent_target.startswith("127.0.0.1:")
    assert len({host.node_id for host in report.hosts}) == 2


def test_a_guest_lives_from_spawn_to_destroy(running):
    guest = running.spawn()
    assert guest.power_state == server_pb2.POWER_STATE_RUNNING
    assert guest.root_device_name == "/dev/vda"
    assert running.ids() == {SERVER}
    stop = guest_pb2.StopGuestRequest(
        host="one", server_id=SERVER, fence=fence("stop", "stop"), timeout_seconds=5
    )
    assert running.guests.StopGuest(stop).guest.power_state == server_pb2.POWER_STATE_SHUTDOWN
    start = guest_pb2.StartGuestRequest(host="one", server_id=SERVER, fence=fence("start", "start"))
    assert running.guests.StartGuest(start).guest.power_state == server_pb2.POWER_STATE_RUNNING
    for hard in (False, True):
        reboot = guest_pb2.RebootGuestRequest(
            host="one",
            server_id=SERVER,
            fence=fence(f"reboot-{hard}", "reboot"),
            hard=hard,
            timeout_seconds=5,
        )
        assert running.guests.RebootGuest(reboot).guest.power_state == server_pb2.POWER_STATE_RUNNING
    for length in (0, 1, 3):
        console = guest_pb2.GetGuestConsoleOutputRequest(host="one", server_id=SERVER, length=length)
        output = running.guests.GetGuestConsoleOutput(console).output
        assert len(output.split(b"\n")) == max(length, 1)
        assert bool(output) is bool(length)
    destroy = guest_pb2.DestroyGuestRequest(host="one", server_id=SERVER, fence=fence("delete", "destroy"))
    running.guests.DestroyGuest(destroy)
    running.guests.DestroyGuest(destroy)
    assert running.ids() == set()


def test_a_repeated_step_is_answered_as_the_first_unless_the_guest_says_otherwise(running):
    first = running.spawn()
    assert running.spawn() == first
    destroy = guest_pb2.DestroyGuestRequest(host="one", server_id=SERVER, fence=fence("other", "destroy"))
    running.guests.DestroyGuest(destroy)
    assert running.spawn() == first
    assert running.ids() == {SERVER}


def test_who_lost_the_operation_changes_nothing(running):
    running.spawn(generation=2)
    stop = guest_pb2.StopGuestRequest(
        host="one", server_id=SERVER, fence=fence("create", "stop", generation=1)
    )
    with pytest.raises(errors.FailedPrecondition) as refused:
        running.guests.StopGuest(stop)
    assert refused.value.reason == "FENCED"
    delete = fence("delete", "destroy", sequence=2)
    running.guests.DestroyGuest(guest_pb2.DestroyGuestRequest(host="one", server_id=SERVER, fence=delete))
    with pytest.raises(errors.FailedPrecondition):
        running.spawn("create", generation=3, sequence=1)
    assert running.ids() == set()


def test_unknown_hosts_and_guests_are_refused_by_name(running):
    with pytest.raises(errors.NotFound) as unknown:
        running.guests.ListGuests(guest_pb2.ListGuestsRequest(host="elsewhere"))
    assert (unknown.value.reason, unknown.value.facts["host"]) == ("HOST_NOT_SERVED", "elsewhere")
    with pytest.raises(errors.NotFound) as missing:
        running.guests.StartGuest(
            guest_pb2.StartGuestRequest(host="one", server_id=SERVER, fence=fence("start", "start"))
        )
    assert missing.value.reason == "GUEST_NOT_FOUND"


def test_a_cell_that_forgot_a_host_gets_it_in_full_again(tmp_path):
    made = Agent(tmp_path, report_interval=0.1)
    try:
        made.cell.reports.get(timeout=SECONDS)
        made.providers.generations.clear()
        made.cell.hosts.clear()
        while not made.cell.hosts:
            made.cell.reports.get(timeout=SECONDS)
        assert made.cell.hosts == {"one", "two"}
        assert len(made.providers.generations) == 2
    finally:
        made.close()


def test_a_guest_that_no_server_owns_is_taken_away_by_an_agent_that_comes_back(running):
    running.spawn()
    running.stop()
    running.cell.servers.clear()
    running.start()
    asked = [running.cell.guests.get(timeout=SECONDS) for _ in range(3)]
    assert any(SERVER in {guest.server_id for guest in request.guests} for request in asked)
    while running.ids():
        running.cell.guests.get(timeout=SECONDS)
    assert running.ids() == set()


def test_a_guest_whose_cell_is_at_work_on_it_is_looked_at_again(running):
    def told():
        while True:
            for guest in running.cell.guests.get(timeout=SECONDS).guests:
                if guest.server_id == SERVER:
                    return guest

    running.cell.unsettled.add(SERVER)
    running.spawn()
    first = told()
    again = told()
    assert again.observed_at.ToMicroseconds() > first.observed_at.ToMicroseconds()
    assert again.power_state == server_pb2.POWER_STATE_RUNNING


def test_names_of_nodes_outlive_the_agent(running):
    before = {host.host: host.node_id for host in running.cell.reports.get(timeout=SECONDS).hosts}
    running.stop()
    running.start()
    after = {host.host: host.node_id for host in running.cell.reports.get(timeout=SECONDS).hosts}
    assert before == after


def test_hosts_tell_what_guests_they_take_and_what_was_asked_to_be_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("OS_FAKE__METRICS", "cpu.percent:12.5,cpu.user.percent:10,fan:900,cpux:1")
    made = Agent(tmp_path, monitors=["cpu", "fan.speed"])
    try:
        host = made.cell.reports.get(timeout=SECONDS).hosts[0]
    finally:
        made.close()
    assert dict(host.metrics) == {"cpu.percent": 12.5, "cpu.user.percent": 10.0}
    guests = {(guest.architecture, guest.hypervisor_type, guest.vm_mode) for guest in host.supported_guests}
    assert {("x86_64", "qemu", "hvm"), ("x86_64", "kvm", "hvm")} <= guests
    assert host.host_ip == "127.0.0.1"
    assert "arch" in host.cpu_info
    assert host.HasField("booted_at")


def test_images_are_fetched_ahead(running):
    images = image_pb2_grpc.ImageServiceStub(running.channel)
    request = image_pb2.PrefetchImageRequest(
        host="one", image=server_pb2.ImageSnapshot(id="one", disk_format="raw")
    )
    assert not images.PrefetchImage(request).cached_before
    assert images.PrefetchImage(request).cached_before
    request.host = "three"
    with pytest.raises(errors.NotFound) as refused:
        images.PrefetchImage(request)
    assert refused.value.reason == "HOST_NOT_SERVED"
    with pytest.raises(errors.InvalidArgument):
        images.PrefetchImage(image_pb2.PrefetchImageRequest(host="one"))
