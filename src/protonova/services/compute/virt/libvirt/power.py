"""Switching a domain off and having it reboot itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from protonova.services.compute.virt import errors

from .watch import Watch

_ASK_AGAIN_SECONDS = 10.0
"""A guest that still boots does not hear the power button: it is pressed again after this time."""


@contextmanager
def not_running_is_fine() -> Iterator[None]:
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
            raise


def is_active(found: Any) -> bool:
    try:
        return bool(found.isActive())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
            return False
        raise


def is_saved(found: Any) -> bool:
    """Whether a domain that is off goes on from its saved memory when it is started."""
    return bool(found.hasManagedSaveImage(0))


def drop_saved(found: Any) -> None:
    """The next start is a boot."""
    with not_running_is_fine():
        if is_saved(found):
            found.managedSaveRemove(0)


def stop(found: Any) -> None:
    """By force, at once."""
    with not_running_is_fine():
        found.destroy()


def ask_to_stop(
    found: Any, server_id: str, watch: Watch, timeout: float, revoked: Callable[[], bool]
) -> bool:
    """Whether the guest shut down by itself in time."""
    deadline = time.monotonic() + timeout
    with watch.on(server_id) as waiter:
        while (left := deadline - time.monotonic()) > 0:
            with not_running_is_fine():
                found.shutdown()
            if waiter.until(lambda: revoked() or not is_active(found), min(left, _ASK_AGAIN_SECONDS)):
                break
    if revoked():
        raise errors.Cancelled("taken back while the guest was shutting down")
    return not is_active(found)


def ask_to_reboot(
    found: Any, server_id: str, watch: Watch, timeout: float, revoked: Callable[[], bool]
) -> None:
    """Return when the guest has reset itself, or has gone down."""
    deadline = time.monotonic() + timeout
    with watch.on(server_id) as waiter:
        while (left := deadline - time.monotonic()) > 0:
            with not_running_is_fine():
                found.reboot()
            if waiter.until(
                lambda: waiter.reboots > 0 or revoked() or not is_active(found),
                min(left, _ASK_AGAIN_SECONDS),
            ):
                break
        else:
            raise errors.GuestUnresponsive(f"guest {server_id} did not reboot within {timeout:g} s")
    if revoked():
        raise errors.Cancelled("taken back while the guest was rebooting")
