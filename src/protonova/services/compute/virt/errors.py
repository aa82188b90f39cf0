"""What a driver tells its caller when it cannot do what was asked.

A driver raises nothing else on purpose. The class says what may be done about it: `transient` errors are
worth repeating on the same host, `reschedule` errors are worth trying on another host, all others are final
for this guest wherever it goes. `reason` is stable and goes into faults and RPC errors; the message is for
people.
"""

from __future__ import annotations


class DriverError(Exception):
    """The hypervisor failed in a way that has no name of its own."""

    reason = "DRIVER_ERROR"
    transient = False
    reschedule = False

    def __init__(self, message: str, **facts: str) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class GuestNotFound(DriverError):
    """This host has no such guest."""

    reason = "GUEST_NOT_FOUND"


class GuestInWrongState(DriverError):
    """The guest is there, but its power state does not allow the call (reboot of a guest that is off)."""

    reason = "GUEST_IN_WRONG_STATE"


class GuestUnresponsive(DriverError):
    """The guest did not obey a request it has to carry out itself (a soft reboot) in time."""

    reason = "GUEST_UNRESPONSIVE"


class ImageUnacceptable(DriverError):
    """The image is not what its record says, is of a kind not run here, or does not fit the flavor."""

    reason = "IMAGE_UNACCEPTABLE"


class ImageUnavailable(DriverError):
    """The image could not be fetched now."""

    reason = "IMAGE_UNAVAILABLE"
    transient = True


class VolumeUnacceptable(DriverError):
    """The connection of a volume is of a kind this driver cannot attach."""

    reason = "VOLUME_UNACCEPTABLE"
    reschedule = True


class HostRefuses(DriverError):
    """This host cannot run this guest (capacity, architecture, missing device); another host may."""

    reason = "HOST_REFUSES"
    reschedule = True


class NetworkUnavailable(HostRefuses):
    """This host cannot give the guest its network (no rights to make a bridge, name taken)."""

    reason = "NETWORK_UNAVAILABLE"


class HypervisorUnavailable(DriverError):
    """The hypervisor does not answer at the moment."""

    reason = "HYPERVISOR_UNAVAILABLE"
    transient = True


class Cancelled(DriverError):
    """The caller (or a destroy of the same guest) took the request back while it ran."""

    reason = "CANCELLED"


BY_NAME: dict[str, type[DriverError]] = {
    kind.__name__: kind
    for kind in (
        DriverError,
        GuestNotFound,
        GuestInWrongState,
        GuestUnresponsive,
        ImageUnacceptable,
        ImageUnavailable,
        VolumeUnacceptable,
        HostRefuses,
        NetworkUnavailable,
        HypervisorUnavailable,
        Cancelled,
    )
}
