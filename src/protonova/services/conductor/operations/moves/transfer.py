"""What a cell does for a server that moves between it and another cell, asked by the conductor that has the server.

The records these operations work on are shown to nobody; each operation is under the key its asker gave it.
"""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.resources_pb2 import Destination
from protonova.common.v1.server_pb2 import ImageSnapshot, Server
from protonova.compute.v1 import guest_move_pb2, guest_pb2
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.moves import guests
from protonova.services.conductor.servers import console_tokens
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

RECEIVE = "receive_server"
RETURN = "return_server"
LEAVE_AGAIN = "leave_again"
WITHDRAW = "withdraw_server"


def arrival(
    destination: Destination, *, check: bool = False, start: bool = False, image: ImageSnapshot | None = None
) -> dict[str, Any]:
    """The payload of a server that comes, or (`check`) of the question whether it may."""
    return {
        "destination": base64.b64encode(destination.SerializeToString()).decode(),
        "check": check,
        "start": start,
        "image": base64.b64encode(image.SerializeToString()).decode() if image is not None else "",
    }


class _Arriving(Step):
    def __init__(self, cell: Cell, timeout: float) -> None:
        super().__init__(timeout=timeout, undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def _load(self, run: Run) -> tuple[Server, Destination]:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject, away=True))
        return server, Destination.FromString(base64.b64decode(run.payload["destination"]))


class Check(_Arriving):
    name = "check"

    def needed(self, run: Run) -> bool:
        return bool(run.payload["check"])

    def do(self, run: Run) -> None:
        cell = self._cell
        server, chosen = self._load(run)
        request = guest_move_pb2.CheckGuestRequest(
            host=chosen.host, fence=agent.fence(run), server=server, pci_providers=chosen.pci_providers
        )
        with agent.calling(chosen.host):
            agent.moves_on(cell, chosen.host).CheckGuest(request, timeout=self.timeout)


class Make(_Arriving):
    """The guest is made, and runs."""

    name = "make"

    def needed(self, run: Run) -> bool:
        return not run.payload["check"]

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, chosen = self._load(run)
        wanted = Server()
        wanted.CopyFrom(server)
        if run.payload["image"]:
            wanted.image.CopyFrom(ImageSnapshot.FromString(base64.b64decode(run.payload["image"])))
        request = guest_pb2.SpawnGuestRequest(
            host=chosen.host, fence=agent.fence(run), server=wanted, pci_providers=chosen.pci_providers
        )
        with agent.calling(chosen.host):
            host = cell.host(chosen.host)
            stream = agent.guests_on(cell, host, chosen.host).SpawnGuest(request, timeout=self.timeout)
            guest = guests.received(run, stream)
        return Outcome(apply=lambda connection: _guest_is(cell, connection, run.subject, guest))

    def undo(self, run: Run) -> None:
        if self.needed(run):
            _, chosen = self._load(run)
            agent.destroy(self._cell, run, chosen.host)


class Halt(_Arriving):
    """The guest of a server that was stopped is stopped again."""

    name = "halt"

    def needed(self, run: Run) -> bool:
        return not (run.payload["check"] or run.payload["start"])

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        _, chosen = self._load(run)
        request = guest_pb2.StopGuestRequest(
            host=chosen.host, fence=agent.fence(run), server_id=run.subject, timeout_seconds=0
        )
        with agent.calling(chosen.host):
            on_host = agent.guests_on(cell, cell.host(chosen.host), chosen.host)
            guest = on_host.StopGuest(request, timeout=self.timeout).guest

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                changed.power_state = guest.power_state

            cell.servers.write(connection, run.subject, alter, away=True)

        return Outcome(apply=apply)


class ReceiveServer(Kind):
    name = RECEIVE

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        self.deadline_seconds = (own.spawn_timeout + own.guest_timeout) * 2
        self.steps = [
            Check(cell, own.guest_timeout),
            Make(cell, own.spawn_timeout),
            Halt(cell, own.guest_timeout),
        ]


class PutBack(Step):
    name = "put_back"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject, away=True))
        wanted = Server()
        wanted.CopyFrom(server)
        # Where its NUMA cells lie, and its devices, is what the host has kept.
        wanted.ClearField("numa_topology")
        del wanted.pci_devices[:]
        label = run.payload["migration"]
        guest = guests.put_back(cell, run, wanted, server.host, label, start=run.payload["start"])
        return Outcome(
            apply=lambda connection: _guest_is(cell, connection, run.subject, guest), host=server.host
        )

    def undo(self, run: Run) -> None:
        _set_aside(self._cell, run)


class ReturnServer(Kind):
    name = RETURN

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = cell.conf.conductor.guest_timeout * 2 + cell.conf.conductor.cleanup_timeout
        self.steps = [PutBack(cell)]


class SetAside(Step):
    name = "set_aside"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> None:
        _set_aside(self._cell, run)


class LeaveAgain(Kind):
    name = LEAVE_AGAIN

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = cell.conf.conductor.cleanup_timeout * 2
        self.steps = [SetAside(cell)]


class Remove(Step):
    name = "remove"

    def __init__(self, cell: Cell) -> None:
        # Long enough to see that a host which does not answer is down.
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout + cell.conf.service_down_time)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, host = self._cell, run.payload["host"]
        agent.destroy(cell, run, host)
        guests.discard(cell, run, run.subject, host)
        return Outcome(
            apply=lambda connection: forget(cell, connection, run.subject, run.payload["migration"])
        )


class WithdrawServer(Kind):
    name = WITHDRAW

    def __init__(self, cell: Cell) -> None:
        self.deadline_seconds = cell.conf.conductor.cleanup_timeout * 2
        self.steps = [Remove(cell)]


def forget(cell: Cell, connection: Connection, server_id: str, migration_id: str) -> None:
    """A server that is in another cell is not known here any more. What was done to it here is forgotten when it
    comes here again, with all that was done to it meanwhile."""
    console_tokens.forget(connection, server_id)
    cell.servers.drop(connection, server_id, migration_id)
    store.remove(connection, migration_id)


def _set_aside(cell: Cell, run: Run) -> None:
    server = cell.db.read(lambda c: cell.servers.get(c, run.subject, away=True))
    try:
        guests.set_aside(cell, run, server, server.host, run.payload["migration"], "", 0)
    except errors.NotFound as error:
        if error.reason != "GUEST_NOT_FOUND":
            raise


def _guest_is(cell: Cell, connection: Connection, server_id: str, guest: guest_pb2.Guest) -> None:
    def alter(changed: Server) -> None:
        changed.power_state = guest.power_state
        changed.root_device_name = guest.root_device_name or changed.root_device_name
        del changed.pci_devices[:]
        changed.pci_devices.extend(guest.pci_devices)
        changed.ClearField("numa_topology")
        if guest.HasField("numa_topology"):
            changed.numa_topology.CopyFrom(guest.numa_topology)

    cell.servers.write(connection, server_id, alter, away=True)
