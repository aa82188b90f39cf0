"""Consoles of fake guests: told where they would be, with nobody there."""

from __future__ import annotations

import abc
import zlib

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import ConsoleAddress, ConsoleKind, Driver, PowerState

from .store import Record

_FIRST = {ConsoleKind.VNC: 5900, ConsoleKind.SPICE: 15900, ConsoleKind.SERIAL: 25900}


class FakeConsoles(Driver):
    """The part of the driver that tells of consoles."""

    @abc.abstractmethod
    def _record(self, server_id: str) -> Record: ...

    def console(self, server_id: str, kind: ConsoleKind) -> ConsoleAddress:
        if self._record(server_id).power_state is not PowerState.RUNNING:
            raise errors.GuestInWrongState(f"guest {server_id} does not run, it shows nothing")
        # The same as long as the guest is there.
        port = _FIRST[kind] + zlib.crc32(server_id.encode()) % 10000
        return ConsoleAddress("127.0.0.1", port, port + 1 if kind is ConsoleKind.SPICE else 0)
