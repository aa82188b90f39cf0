"""What an agent lets happen to guests that come and go: only by the newest fence, and files only to those sent."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.compute.v1 import guest_move_pb2_grpc, guest_pb2
from protonova.services.runtime import errors
from tests.functional.compute.test_agent import Agent

SERVER = "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"
LABEL = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def agent(tmp_path):
    made = Agent(tmp_path)
    made.cell.servers.add(SERVER)
    made.moves = guest_move_pb2_grpc.GuestMoveServiceStub(made.channel)
    yield made
    made.close()


def fence(step: str, generation: int = 1, sequence: int = 1) -> guest_pb2.Fence:
    return guest_pb2.Fence(operation_id="operation", step=step, generation=generation, sequence=sequence)


def server() -> Server:
    made = Server(id=SERVER, instance_name="instance-1")
    made.flavor.vcpus, made.flavor.memory_mb = 1, 64
    return made


def set_aside(agent, mark: guest_pb2.Fence) -> None:
    request = {"host": "one", "fence": mark, "server_id": SERVER, "label": LABEL, "pass": "secret"}
    agent.moves.SetGuestAside(pb.SetGuestAsideRequest(**request))


def receive(agent, word: str, mark: guest_pb2.Fence):
    source = {"agent_target": agent.server.address, "host": "one", "label": LABEL, "pass": word}
    request = pb.ReceiveGuestRequest(host="two", fence=mark, server=server(), source=source, start=True)
    return list(agent.moves.ReceiveGuest(request))[-1].guest


def test_files_are_for_whoever_was_sent(agent):
    list(agent.guests.SpawnGuest(guest_pb2.SpawnGuestRequest(host="one", fence=fence("a"), server=server())))
    set_aside(agent, fence("b"))
    for word in ("", "guessed"):
        request = {"host": "one", "server_id": SERVER, "label": LABEL, "pass": word}
        with pytest.raises(errors.PermissionDenied) as refused:
            list(agent.moves.ReadGuestFiles(pb.ReadGuestFilesRequest(**request)))
        assert refused.value.reason == "PASS_REFUSED"
    with pytest.raises(errors.FailedPrecondition) as unread:
        receive(agent, "guessed", fence("c"))
    assert unread.value.reason == "SOURCE_UNREADABLE"
    assert receive(agent, "secret", fence("c")).server_id == SERVER
    # What is discarded is read by nobody any more, whatever they show.
    agent.moves.DiscardGuest(
        pb.DiscardGuestRequest(host="one", fence=fence("d"), server_id=SERVER, label=LABEL)
    )
    request = {"host": "one", "server_id": SERVER, "label": LABEL, "pass": "secret"}
    with pytest.raises(errors.PermissionDenied):
        list(agent.moves.ReadGuestFiles(pb.ReadGuestFilesRequest(**request)))


@pytest.mark.parametrize("late", [fence("b", generation=1), fence("b", generation=3, sequence=1)])
def test_older_calls_come_too_late(agent, late):
    """Of an operation that was taken over, or of one before it."""
    spawn = guest_pb2.SpawnGuestRequest(host="one", fence=fence("a", 2, 2), server=server())
    list(agent.guests.SpawnGuest(spawn))
    with pytest.raises(errors.FailedPrecondition) as refused:
        set_aside(agent, late)
    assert refused.value.reason == "FENCED"
    assert [
        guest.server_id for guest in agent.guests.ListGuests(guest_pb2.ListGuestsRequest(host="one")).guests
    ]
