"""Calling the agent of a server's host from a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.record import Host
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run


def guests_on(cell: Cell, host: Host | None, name: str) -> GuestServiceStub:
    """The guest service of a host. Raises `errors.FailedPrecondition` (HOST_NOT_READY) when the host is down: to
    try again is for those hosts that are believed to be up."""
    if host is None or not host.up or not host.agent_target:
        raise errors.FailedPrecondition(f"Host {name} is down.", reason="HOST_NOT_READY", host=name)
    return cell.outside.agents.guests(host.agent_target)


def fence(run: Run) -> guest_pb2.Fence:
    """Proves to an agent that this is the newest holder of the newest operation on the server."""
    return guest_pb2.Fence(**run.fence.fields())


@contextmanager
def calling(host: str) -> Iterator[None]:
    """An agent that does not serve the host (another one answers at its old address) is one that cannot be
    reached: the host's next report tells where its agent is."""
    try:
        yield
    except errors.NotFound as error:
        if error.reason != "HOST_NOT_SERVED":
            raise
        raise errors.Unavailable(error.message, reason="SERVICE_UNREACHABLE", host=host) from error


def destroy(cell: Cell, run: Run, host_name: str) -> None:
    """Removes the guest of a server from a host; there may be none.

    When the host is down, its agent will find at its return that the guest belongs to nobody there, and remove
    it: that is waited for only where the operator wants it so.
    """
    host = cell.host(host_name)
    if host is None:
        return
    if not host.up and cell.conf.conductor.delete_without_agent:
        return
    guests = guests_on(cell, host, host_name)
    with calling(host_name):
        try:
            guests.DestroyGuest(
                guest_pb2.DestroyGuestRequest(host=host_name, fence=fence(run), server_id=run.subject),
                timeout=cell.conf.conductor.guest_timeout,
            )
        except errors.NotFound as error:
            if error.reason != "GUEST_NOT_FOUND":
                raise
