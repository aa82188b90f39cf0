"""What the steps of several moves do to guests through the agents of two hosts."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration
from protonova.common.v1.server_pb2 import Server, TaskState
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.compute.v1 import guest_pb2
from protonova.services.conductor.actions import RESIZE
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.moves import destination, relocation
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Outcome, Run

# An image may ask for more patience than the operator gives by default, but not for more than this (seconds).
LONGEST_SHUTDOWN = 3600


def new_pass() -> str:
    """By which the destination's agent shows the source's that it was sent."""
    return secrets.token_urlsafe(24)


def patience(cell: Cell, server: Server) -> int:
    """How long a guest may take to shut down by itself, in seconds."""
    asked = server.image.properties.get("os_shutdown_timeout", "")
    return min(int(asked), LONGEST_SHUTDOWN) if asked.isdecimal() else int(cell.conf.shutdown_timeout)


def as_it_will_be(run: Run, server: Server, migration: Migration) -> Server:
    """The server with the flavor and the topology it is to have."""
    wanted, spec = Server(), destination.spec_of(run)
    wanted.CopyFrom(server)
    wanted.flavor.CopyFrom(migration.new_flavor)
    wanted.ClearField("numa_topology")
    if spec.HasField("numa_topology"):
        wanted.numa_topology.CopyFrom(spec.numa_topology)
    del wanted.pci_requests[:], wanted.pci_devices[:]
    wanted.pci_requests.extend(spec.pci_requests)
    if run.payload.get("auto_disk_config") is not None:
        wanted.auto_disk_config = run.payload["auto_disk_config"]
    return wanted


def set_aside(
    cell: Cell, run: Run, server: Server, host: str, label: str, password: str, seconds: int
) -> None:
    with agent.calling(host):
        agent.moves_on(cell, host).SetGuestAside(
            pb.SetGuestAsideRequest(
                host=host,
                fence=agent.fence(run),
                server_id=server.id,
                label=label,
                timeout_seconds=seconds,
                **{"pass": password},
            ),
            timeout=cell.conf.conductor.guest_timeout + seconds,
        )


def put_back(cell: Cell, run: Run, server: Server, host: str, label: str, *, start: bool) -> guest_pb2.Guest:
    with agent.calling(host):
        return (
            agent.moves_on(cell, host)
            .PutGuestBack(
                pb.PutGuestBackRequest(
                    host=host, fence=agent.fence(run), server=server, label=label, start=start
                ),
                timeout=cell.conf.conductor.guest_timeout,
            )
            .guest
        )


def put_back_or_say(cell: Cell, run: Run, server: Server, host: str, label: str, *, start: bool) -> Outcome:
    """Brings a guest back to where it was. Where nobody can now, that is remembered, and the rest goes on being
    undone: its host's agent puts it back when it comes up."""
    try:
        guest = put_back(cell, run, server, host, label, start=start)
    except errors.Error as error:
        if error.transient:
            raise
        lost = (
            f"The guest could not be put back on host {host}: {error.message} When the host is up, reboot the "
            "server hard, or evacuate it while the host is down."
        )
        return Outcome(memory={"lost": lost}, host=host)

    def apply(connection: Connection) -> None:
        def alter(changed: Server) -> None:
            changed.power_state = guest.power_state

        cell.servers.change(connection, run.subject, alter)

    return Outcome(apply=apply, host=host)


def discard(cell: Cell, run: Run, server_id: str, host_name: str, label: str = "") -> None:
    """Removes what a host keeps of a guest that went elsewhere. A host that is down is passed over where deletes
    pass it over: its agent asks what to discard when it comes up."""
    host = cell.host(host_name)
    if host is None or (not host.up and cell.conf.conductor.delete_without_agent):
        return
    with agent.calling(host_name):
        agent.moves_on(cell, host_name).DiscardGuest(
            pb.DiscardGuestRequest(
                host=host_name,
                fence=agent.fence(run, f"discard@{host_name}"),
                server_id=server_id,
                label=label,
            ),
            timeout=cell.conf.conductor.guest_timeout,
        )


def relocate(cell: Cell, run: Run, host: str, following: TaskState.ValueType | None, ip: str = "") -> Outcome:
    """Takes ports and volumes to a host; `following` is the task state that is entered then, if any, `ip` the
    address of a host in another cell."""
    server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
    interfaces = relocation.bind_ports(cell, server, host)
    devices = relocation.attach(cell, run, server, host, ip)
    relocation.detach_others(cell, server.id, devices)

    def apply(connection: Connection) -> None:
        def alter(changed: Server) -> None:
            relocation.enter(changed, interfaces, devices)
            if following is not None and RESIZE.owns(changed.task_state):
                changed.task_state = following

        cell.servers.change(connection, run.subject, alter)

    return Outcome(apply=apply, host=host)


def relocate_or_say(cell: Cell, run: Run, host: str) -> Outcome:
    """Brings ports and volumes back to a host. Where that is refused, it is remembered, and the rest goes on being
    undone."""
    try:
        return relocate(cell, run, host, None)
    except errors.Error as error:
        if error.transient:
            raise
        lost = (
            f"Its ports and volumes could not be brought back to host {host}: {error.message} Mend that, then "
            "reboot the server hard."
        )
        return Outcome(memory={"lost": lost}, host=host)


def received(run: Run, stream: Any) -> guest_pb2.Guest:
    """Reads the progress of a guest's arrival until it is there; gives it up when the server is to be deleted."""
    with run.interruptible(stream.cancel):
        try:
            for told in stream:
                if told.HasField("guest"):
                    guest: guest_pb2.Guest = told.guest
                    return guest
        except errors.Cancelled:
            run.check()
            raise
    raise errors.Unavailable("The agent ended before the guest was there.", reason="SERVICE_UNREACHABLE")
