"""The line to the libvirt daemon: opened when needed, opened again when lost, and its errors in our words.

libvirt wants one event loop for the process; it runs in a thread that is started with the first connection.
Callbacks of libvirt come from that thread and may not call libvirt, so they only drop what they got into a
queue (see `watch`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from protonova.services.compute.virt import errors

LOG = logging.getLogger(__name__)

_LINE_IS_DOWN = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_OPERATION_TIMEOUT,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_RESOURCE_BUSY,
}
_HOST_CANNOT = {
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_XML_ERROR,
    libvirt.VIR_ERR_XML_DETAIL,
    libvirt.VIR_ERR_OPERATION_DENIED,
    libvirt.VIR_ERR_ACCESS_DENIED,
    libvirt.VIR_ERR_NO_MEMORY,
}


class _Loop:
    """The event loop of the process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._guard:
            if self._thread is None:
                libvirt.registerErrorHandler(_silent, None)
                libvirt.virEventRegisterDefaultImpl()
                self._thread = threading.Thread(target=self._run, name="libvirt-events", daemon=True)
                self._thread.start()

    @staticmethod
    def _run() -> None:
        while True:
            try:
                libvirt.virEventRunDefaultImpl()
            except libvirt.libvirtError:
                LOG.exception("The event loop of libvirt stumbled")


def _silent(_context: Any, _error: Any) -> None:
    """Errors arrive as exceptions; libvirt need not print them as well."""


_LOOP = _Loop()


class Connection:
    """One shared connection. `opened` is called with each new one, `closing` before one is given up, `lost` when
    one broke."""

    def __init__(
        self,
        uri: str,
        opened: Callable[[Any], None],
        closing: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        self.uri = uri
        self._opened = opened
        self._closing = closing
        self._lost = lost
        self._guard = threading.RLock()
        self._connection: Any = None
        self._closed = False

    def get(self) -> Any:
        """The live connection, or `HypervisorUnavailable`."""
        with self._guard:
            if self._closed:
                raise errors.HypervisorUnavailable("the driver is closed")
            if self._connection is not None and not _alive(self._connection):
                self._give_up(self._connection)
                self._connection = None
            if self._connection is None:
                _LOOP.start()
                try:
                    connection = libvirt.open(self.uri)
                    connection.setKeepAlive(5, 3)
                    connection.registerCloseCallback(self._on_close, None)
                    self._opened(connection)
                except libvirt.libvirtError as error:
                    raise errors.HypervisorUnavailable(f"libvirt at {self.uri}: {_text(error)}") from error
                self._connection = connection
            return self._connection

    def close(self) -> None:
        with self._guard:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is not None:
            self._give_up(connection)

    def _on_close(self, _connection: Any, reason: int, _opaque: Any) -> None:
        LOG.warning("The connection to libvirt at %s was lost (%s)", self.uri, reason)
        self._lost()

    def _give_up(self, connection: Any) -> None:
        """Let go of it completely: whatever is registered would keep it open."""
        for step in (connection.unregisterCloseCallback, lambda: self._closing(connection), connection.close):
            try:
                step()
            except libvirt.libvirtError:
                LOG.debug("libvirt complains while a connection is given up", exc_info=True)

    @contextmanager
    def speaking(self) -> Iterator[Any]:
        """Use the connection; what libvirt complains about becomes one of our errors."""
        connection = self.get()
        try:
            yield connection
        except libvirt.libvirtError as error:
            raise self.translated(error, connection) from error

    @staticmethod
    def translated(error: Any, connection: Any) -> errors.DriverError:
        code, text = error.get_error_code(), _text(error)
        if code == libvirt.VIR_ERR_NO_DOMAIN:
            return errors.GuestNotFound(text)
        if code in _LINE_IS_DOWN or not _alive(connection):
            return errors.HypervisorUnavailable(text)
        if code in _HOST_CANNOT:
            return errors.HostRefuses(text)
        return errors.DriverError(text)


def _alive(connection: Any) -> bool:
    """One that another thread has given up meanwhile is not; libvirt calls it an error to ask."""
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _text(error: Any) -> str:
    return str(error.get_error_message() or error)


def answers(uri: str) -> bool:
    """Whether a daemon listens there."""
    try:
        libvirt.registerErrorHandler(_silent, None)
        libvirt.openReadOnly(uri).close()
    except libvirt.libvirtError:
        return False
    return True
