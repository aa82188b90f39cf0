"""Calling the agent of a server's host from a step."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from protonova.compute.v1 import guest_pb2
from protonova.compute.v1.console_pb2_grpc import ConsoleServiceStub
from protonova.compute.v1.guest_image_pb2_grpc import GuestImageServiceStub
from protonova.compute.v1.guest_move_pb2_grpc import GuestMoveServiceStub
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.record import Host
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Run

_log = logging.getLogger("protonova.conductor")


def guests_on(cell: Cell, host: Host | None, name: str) -> GuestServiceStub:
    """The guest service of a host. Raises `errors.FailedPrecondition` (HOST_NOT_READY) when the host is down: to
    try again is for those hosts that are believed to be up."""
    return cell.outside.agents.guests(target(host, name))


def consoles_on(cell: Cell, host: Host | None, name: str) -> ConsoleServiceStub:
    """The console service of a host. Raises as `guests_on`."""
    return cell.outside.agents.consoles(target(host, name))


def guest_images_on(cell: Cell, host: Host | None, name: str) -> GuestImageServiceStub:
    """The service of a host for copies of guests' disks. Raises as `guests_on`."""
    return cell.outside.agents.guest_images(target(host, name))


def moves_on(cell: Cell, name: str) -> GuestMoveServiceStub:
    """The service of a host for guests that come and go. Raises as `guests_on`."""
    return cell.outside.agents.moves(target(cell.host(name), name))


def target(host: Host | None, name: str) -> str:
    """Where the agent of a host is. Raises HOST_NOT_READY."""
    if host is None or not host.up or not host.agent_target:
        raise errors.FailedPrecondition(f"Host {name} is down.", reason="HOST_NOT_READY", host=name)
    return host.agent_target


def fence(run: Run, part: str = "") -> guest_pb2.Fence:
    """Proves to an agent that this is the newest holder of the newest operation on the server. A step that makes
    several calls gives each a `part` of its own, for one agent may serve several hosts."""
    own = guest_pb2.Fence(**run.fence.fields())
    if part:
        own.step = f"{own.step}:{part}"
    return own


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


@contextmanager
def putting_back(server_id: str) -> Iterator[None]:
    """For undoing: a guest that can never be put back as it was is left as it is. Its agent tells what that is, and
    the server follows once it is idle. What may succeed later is raised, and tried again."""
    try:
        yield
    except errors.Error as error:
        if error.transient or error.reason == "FENCED":
            raise
        _log.warning("The guest of server %s is not put back as it was: %s", server_id, error)


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
                guest_pb2.DestroyGuestRequest(
                    host=host_name, fence=fence(run, host_name), server_id=run.subject
                ),
                timeout=cell.conf.conductor.guest_timeout,
            )
        except errors.NotFound as error:
            if error.reason != "GUEST_NOT_FOUND":
                raise
