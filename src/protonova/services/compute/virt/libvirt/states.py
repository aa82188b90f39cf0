"""Guests that stay on this host and change what they do: standing still, saved to disk, asked for a dump, given a
password.

A suspended guest is one that libvirt has saved (managed save): it is off, and its saved memory says that it goes on
at its next start. libvirt owns that fact; nothing of it is written down here.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import libvirt

from protonova.common.v1.diagnostics_pb2 import ServerDiagnostics
from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import Driver, GuestState
from protonova.services.compute.virt.turns import Turns

from . import diagnostics, power
from .capabilities import Capabilities
from .connection import Connection
from .layout import GuestDirectory
from .settings import LibvirtSettings

_AGENT_IS_AWAY = (
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
    # The guest was made without a channel to one.
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    # What the agent answers when it refuses.
    libvirt.VIR_ERR_INTERNAL_ERROR,
)
_NEVER = (libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_UNSUPPORTED)


class GuestStates(Driver):
    """The part of the libvirt driver that changes states. The other part finds domains and starts them."""

    settings: LibvirtSettings
    _turns: Turns
    _line: Connection

    @abstractmethod
    def _get(self, server_id: str) -> Any: ...
    @abstractmethod
    def _state(self, found: Any) -> GuestState: ...
    @abstractmethod
    def _start_again(self, server_id: str, found: Any, spec: Any) -> GuestState: ...
    @abstractmethod
    def _plug(self, spec: Any) -> None: ...
    @abstractmethod
    def _capabilities(self) -> Capabilities: ...

    def pause(self, server_id: str) -> GuestState:
        with self._turns.take(server_id), self._line.speaking():
            found = self._alive(server_id)
            if found.state()[0] != libvirt.VIR_DOMAIN_PAUSED:
                found.suspend()
            return self._state(found)

    def unpause(self, server_id: str) -> GuestState:
        with self._turns.take(server_id), self._line.speaking():
            found = self._alive(server_id)
            if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                found.resume()
            return self._state(found)

    def suspend(self, server_id: str) -> GuestState:
        with self._turns.take(server_id), self._line.speaking():
            found = self._get(server_id)
            if found is None or not power.is_active(found):
                if found is None or not power.is_saved(found):
                    raise _wrong(server_id, "off")
                return self._state(found)
            found.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)
            return self._state(found)

    def resume(self, server_id: str) -> GuestState:
        with self._turns.take(server_id):
            found = self._get(server_id)
            with self._line.speaking():
                if found is not None and power.is_active(found):
                    if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                        found.resume()
                    return self._state(found)
                saved = found is not None and power.is_saved(found)
            if not saved:
                return self._start_again(server_id, found, None)
            layout = GuestDirectory(self.settings.instances, server_id).load()
            if layout is not None:
                self._plug(layout.spec)
            with self._line.speaking():
                found.create()
                return self._state(found)

    def trigger_crash_dump(self, server_id: str) -> GuestState:
        with self._turns.take(server_id), self._line.speaking():
            found = self._alive(server_id)
            try:
                found.injectNMI()
            except libvirt.libvirtError as error:
                if error.get_error_code() in _NEVER:
                    raise errors.Unsupported("this hypervisor cannot interrupt its guests") from error
                raise
            return self._state(found)

    def diagnostics(self, server_id: str) -> ServerDiagnostics:
        with self._line.speaking():
            found = self._alive(server_id)
            layout = GuestDirectory(self.settings.instances, server_id).load()
            told = diagnostics.measure(found)
            told.hypervisor = self._capabilities().virt_type
            told.config_drive = layout is not None and layout.spec.config_drive
            return told

    def set_password(self, server_id: str, password: str, user: str = "") -> GuestState:
        with self._turns.take(server_id), self._line.speaking():
            found = self._alive(server_id)
            try:
                found.setUserPassword(user or _administrator(self.settings, server_id), password, 0)
            except libvirt.libvirtError as error:
                code = error.get_error_code()
                if code in _NEVER:
                    raise errors.Unsupported("this hypervisor cannot set passwords in its guests") from error
                if code in _AGENT_IS_AWAY:
                    raise errors.GuestAgentRefuses(
                        f"the agent inside guest {server_id} does not set the password: "
                        f"{error.get_error_message()}"
                    ) from error
                raise
            return self._state(found)

    def _alive(self, server_id: str) -> Any:
        """The domain of a guest that runs or is paused."""
        found = self._get(server_id)
        if found is None or not power.is_active(found):
            raise _wrong(server_id, "off")
        return found


def _wrong(server_id: str, state: str) -> errors.GuestInWrongState:
    return errors.GuestInWrongState(f"guest {server_id} is {state}", state=state)


def _administrator(settings: LibvirtSettings, server_id: str) -> str:
    layout = GuestDirectory(settings.instances, server_id).load()
    properties = layout.spec.image.properties if layout and layout.spec.image else {}
    if name := properties.get("os_admin_user"):
        return name
    return "Administrator" if properties.get("os_type") == "windows" else "root"
