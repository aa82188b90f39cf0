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


class SnapshotNotFound(DriverError):
    """This host has no such copy of the guest's disk."""

    reason = "SNAPSHOT_NOT_FOUND"


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


class SourceUnavailable(DriverError):
    """What a guest has on the host it comes from cannot be read now."""

    reason = "SOURCE_UNAVAILABLE"
    transient = True


class SourceUnreadable(DriverError):
    """What a guest has on the host it comes from cannot be read at all."""

    reason = "SOURCE_UNREADABLE"


class MigrationImpossible(HostRefuses):
    """This host cannot take over the running guest; another may."""

    reason = "MIGRATION_CHECK_FAILED"


class MigrationAborted(DriverError):
    """The live migration was ended on request; the guest goes on where it was."""

    reason = "MIGRATION_ABORTED"


class MigrationFailed(DriverError):
    """The live migration came to nothing; the guest goes on where it was."""

    reason = "MIGRATION_FAILED"


class HypervisorUnavailable(DriverError):
    """The hypervisor does not answer at the moment."""

    reason = "HYPERVISOR_UNAVAILABLE"
    transient = True


class Cancelled(DriverError):
    """The caller (or a destroy of the same guest) took the request back while it ran."""

    reason = "CANCELLED"


class Unsupported(DriverError):
    """This hypervisor cannot do this with any guest."""

    reason = "UNSUPPORTED"


class GuestAgentRefuses(DriverError):
    """What has to be done inside the guest is not: its agent does not answer, or says no."""

    reason = "GUEST_AGENT_REFUSES"


class ConsoleTypeUnavailable(DriverError):
    """The guest has no console of this kind."""

    reason = "CONSOLE_TYPE_UNAVAILABLE"


class DeviceNotFound(DriverError):
    """The guest has no such disk or interface."""

    reason = "DEVICE_NOT_FOUND"


class DeviceDetachFailed(DriverError):
    """The guest does not let go of a device, however often it was asked."""

    reason = "DEVICE_DETACH_FAILED"


class VolumeSwapFailed(DriverError):
    """What is on a volume could not be copied to the one that takes its place; the guest still has the first."""

    reason = "VOLUME_SWAP_FAILED"


class VolumeMergeFailed(DriverError):
    """Files under a volume could not be merged; the guest goes on as before."""

    reason = "VOLUME_MERGE_FAILED"


class ShareUnavailable(DriverError):
    """A share of the guest (fact `share_id`) cannot be mounted on this host, so that it does not start."""

    reason = "SHARE_UNAVAILABLE"


BY_NAME: dict[str, type[DriverError]] = {
    kind.__name__: kind
    for kind in (
        DriverError,
        GuestNotFound,
        GuestInWrongState,
        GuestUnresponsive,
        SnapshotNotFound,
        ImageUnacceptable,
        ImageUnavailable,
        VolumeUnacceptable,
        HostRefuses,
        NetworkUnavailable,
        SourceUnavailable,
        SourceUnreadable,
        MigrationImpossible,
        MigrationAborted,
        MigrationFailed,
        HypervisorUnavailable,
        Cancelled,
        Unsupported,
        GuestAgentRefuses,
        ConsoleTypeUnavailable,
        DeviceNotFound,
        DeviceDetachFailed,
        VolumeSwapFailed,
        VolumeMergeFailed,
        ShareUnavailable,
    )
}
