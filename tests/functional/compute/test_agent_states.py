"""What an agent does with guests that stay on its host, on fake hosts, called as a conductor calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from protonova.common.v1 import server_pb2
from protonova.compute.v1 import guest_pb2
from protonova.services.runtime import errors
from tests.functional.compute.test_agent import SERVER, Agent, fence

RUNNING = server_pb2.POWER_STATE_RUNNING
OFF = server_pb2.POWER_STATE_SHUTDOWN


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """The fault plan of the fake hosts, which can be written while the agent runs."""
    file = tmp_path / "faults.json"
    monkeypatch.setenv("OS_FAKE__FAULTS", str(file))
    return lambda *rules: file.write_text(json.dumps({"rules": rules}))


@pytest.fixture
def running(tmp_path, plan):
    made = Agent(tmp_path)
    made.cell.servers.add(SERVER)
    made.spawn()
    yield made
    made.close()


def call(agent, method: str, operation: str = "", **fields):
    request = getattr(guest_pb2, f"{method}Request")(
        host="one", server_id=SERVER, fence=fence(operation or method, "step"), **fields
    )
    return getattr(agent.guests, method)(request)


def console(agent) -> str:
    request = guest_pb2.GetGuestConsoleOutputRequest(host="one", server_id=SERVER)
    return agent.guests.GetGuestConsoleOutput(request).output.decode()


def server(image: str = "image") -> server_pb2.Server:
    made = server_pb2.Server(id=SERVER, name="web", instance_name="instance-00000001")
    made.flavor.vcpus, made.flavor.memory_mb = 1, 64
    made.image.id = image
    return made


def rescue(agent, operation: str = "rescue", image: str = "other"):
    request = guest_pb2.RescueGuestRequest(
        host="one", server=server(), image={"id": image}, fence=fence(operation, "rescuing")
    )
    return list(agent.guests.RescueGuest(request))


def rebuild(agent, operation: str = "rebuild", *, start: bool = True, generation: int = 1):
    request = guest_pb2.RebuildGuestRequest(
        host="one",
        server=server("new"),
        fence=fence(operation, "rebuild_spawning", generation),
        start=start,
    )
    return list(agent.guests.RebuildGuest(request))


@pytest.mark.parametrize(
    ("there", "state", "back"),
    [("PauseGuest", "PAUSED", "UnpauseGuest"), ("SuspendGuest", "SUSPENDED", "ResumeGuest")],
)
def test_there_and_back(running, there, state, back):
    for _ in range(2):
        guest = call(running, there).guest
        assert guest.power_state == server_pb2.PowerState.Value(f"POWER_STATE_{state}")
    for _ in range(2):
        assert call(running, back).guest.power_state == RUNNING
    assert "boot 1," in console(running)
    # The first step once more, by a caller that never heard of its end: the guest runs, so it is done again.
    assert call(running, there).guest.power_state != RUNNING


@pytest.mark.parametrize("method", ["PauseGuest", "UnpauseGuest", "SuspendGuest", "SetGuestPassword"])
def test_a_guest_that_is_off_obeys_nobody(running, method):
    call(running, "StopGuest")
    with pytest.raises(errors.FailedPrecondition) as refused:
        call(running, method)
    assert refused.value.reason == "GUEST_IN_WRONG_STATE"


def test_steps_without_a_trace_are_done_once(running, plan):
    call(running, "TriggerGuestCrashDump")
    call(running, "SetGuestPassword", user="root", admin_password="secret")
    plan({"call": "*", "error": "DriverError"})
    call(running, "TriggerGuestCrashDump")
    call(running, "SetGuestPassword")
    with pytest.raises(errors.FailedPrecondition):
        call(running, "TriggerGuestCrashDump", "another")


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        ("GuestAgentRefuses", errors.FailedPrecondition, "GUEST_AGENT_REFUSES"),
        ("Unsupported", errors.Unimplemented, "UNSUPPORTED"),
        ("HypervisorUnavailable", errors.Unavailable, "HYPERVISOR_UNAVAILABLE"),
    ],
)
def test_why_a_password_is_not_set(running, plan, error, kind, reason):
    plan({"call": "set_password", "error": error})
    with pytest.raises(kind) as refused:
        call(running, "SetGuestPassword")
    assert refused.value.reason == reason


def test_diagnostics(running):
    request = guest_pb2.GetGuestDiagnosticsRequest(host="one", server_id=SERVER)
    told = running.guests.GetGuestDiagnostics(request).diagnostics
    assert (told.power_state, told.memory_maximum_mb, len(told.cpus)) == (RUNNING, 64, 1)
    call(running, "SuspendGuest")
    with pytest.raises(errors.FailedPrecondition) as refused:
        running.guests.GetGuestDiagnostics(request)
    assert refused.value.facts["state"] == "suspended"


def test_rescue_and_unrescue(running):
    told = rescue(running)
    assert [message.progress for message in told] == sorted(message.progress for message in told)
    assert told[-1].guest.power_state == RUNNING
    assert "rescue from image other" in console(running)
    rescue(running)
    assert "boot 2," in console(running)
    # Its disks outlive the agent.
    running.stop()
    running.start()
    assert "rescue from image other" in console(running)
    for _ in range(2):
        assert call(running, "UnrescueGuest", start=True).guest.power_state == RUNNING
    assert "boot 3," in console(running)
    assert "rescue" not in console(running)


def test_the_end_of_a_rescue_that_is_taken_back(running):
    assert call(running, "UnrescueGuest", start=False).guest.power_state == RUNNING
    rescue(running)
    assert call(running, "UnrescueGuest", "undo", start=False).guest.power_state == OFF


@pytest.mark.parametrize("hard", [True, False])
def test_a_start_that_is_no_rescue_ends_one(running, hard):
    rescue(running)
    if hard:
        call(running, "RebootGuest", hard=True)
    else:
        call(running, "StopGuest")
        call(running, "StartGuest")
    assert "rescue" not in console(running)


def test_rebuild(running, plan):
    assert rebuild(running)[-1].guest.root_device_name == "/dev/vda"
    assert "boot 1," in console(running)
    assert "root disk of image new" in console(running)
    call(running, "StopGuest")
    # A repeat is answered like the first, and changes nothing.
    rebuild(running)
    assert "boot 1," in console(running)
    assert rebuild(running, "later", start=False)[-1].guest.power_state == OFF


def test_a_guest_is_stopped_only_in_states_that_are_named(running):
    assert call(running, "StopGuest", "first", only_in=[OFF]).guest.power_state == RUNNING
    assert call(running, "StopGuest", "second", only_in=[RUNNING]).guest.power_state == OFF


def test_a_guest_that_was_lost_is_made_again(running):
    call(running, "DestroyGuest")
    assert rebuild(running)[-1].guest.power_state == RUNNING
    assert running.ids() == {SERVER}


def test_a_rebuild_costs_no_disk_when_the_journal_is_lost(running):
    rebuild(running)
    call(running, "RebootGuest", hard=True)
    running.stop()
    for file in Path(running.conf.state_path).rglob("*journal*"):
        file.unlink()
    running.start()
    rebuild(running)
    assert "boot 2," in console(running)


def test_a_rebuild_that_fails_half_way_is_made_whole_by_a_repeat(running, plan):
    plan({"call": "rebuild", "stage": "start", "times": 1, "error": "HypervisorUnavailable"})
    with pytest.raises(errors.Unavailable):
        rebuild(running)
    assert rebuild(running)[-1].guest.power_state == RUNNING
    assert "boot 1," in console(running)


@pytest.mark.parametrize("act", [rescue, rebuild])
def test_an_image_that_cannot_be_fetched(running, plan, act):
    plan({"call": "*", "stage": "image", "error": "ImageUnavailable"})
    with pytest.raises(errors.Unavailable) as refused:
        act(running)
    assert refused.value.reason == "IMAGE_UNAVAILABLE"
    assert "boot 1," in console(running)
