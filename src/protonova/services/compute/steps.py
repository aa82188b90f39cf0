"""What every servicer of the agent does: lets a call in by the journal, answers a repeated step from it as long as
the hypervisor agrees, and turns driver errors into typed errors of the contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from protonova.compute.v1 import guest_pb2
from protonova.services.compute import spec
from protonova.services.compute.journal import Journal
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import Driver, GuestState, PowerState
from protonova.services.runtime import errors


def step(
    journal: Journal,
    driver: Driver,
    server_id: str,
    fence: guest_pb2.Fence,
    outcome: PowerState,
    act: Callable[[], GuestState],
) -> guest_pb2.Guest:
    """Does a short step once. A repeat is answered from the journal while the guest is as it left it."""
    done = journal.admit(server_id, fence)
    if done is not None:
        state = there(driver, server_id)
        if state is not None and state.power_state is outcome:
            return guest_pb2.Guest.FromString(done)
    with translated(server_id):
        told = as_message(act())
    journal.record(fence, told.SerializeToString())
    return told


def there(driver: Driver, server_id: str) -> GuestState | None:
    try:
        with translated(server_id):
            return driver.guest(server_id)
    except errors.NotFound:
        return None


def as_message(state: GuestState) -> guest_pb2.Guest:
    return guest_pb2.Guest(
        server_id=state.server_id,
        power_state=spec.power_state(state.power_state),
        instance_name=state.name,
        root_device_name=state.root_device,
    )


@contextmanager
def translated(server_id: str) -> Iterator[None]:
    """Driver errors as errors of the contract."""
    try:
        yield
    except virt_errors.DriverError as error:
        facts = {**error.facts, "server_id": server_id}
        if isinstance(error, virt_errors.GuestNotFound):
            kind: type[errors.Error] = errors.NotFound
        elif isinstance(error, virt_errors.Cancelled):
            kind = errors.Aborted
        elif isinstance(error, virt_errors.Unsupported):
            kind = errors.Unimplemented
        elif error.transient:
            kind = errors.Unavailable
        else:
            kind = errors.FailedPrecondition
        reason = "HOST_REFUSES" if error.reschedule else error.reason
        raise kind(error.message, reason=reason, **facts) from error
