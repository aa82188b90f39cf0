"""Where QEMU shows the consoles of guests: the ports libvirt has given them, and those we give to serial ones."""

from __future__ import annotations

import abc
import socket
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import ConsoleAddress, ConsoleKind, Driver

from .connection import Connection
from .settings import LibvirtSettings


class Consoles(Driver):
    """The part of the driver that tells of consoles."""

    settings: LibvirtSettings
    _line: Connection

    @abc.abstractmethod
    def _get(self, server_id: str) -> Any: ...

    def console(self, server_id: str, kind: ConsoleKind) -> ConsoleAddress:
        found = self._get(server_id)
        with self._line.speaking():
            if found is None or not found.isActive():
                raise errors.GuestInWrongState(f"guest {server_id} does not run, it shows nothing")
            devices = ET.fromstring(found.XMLDesc(0)).find("devices")  # noqa: S314 - libvirt's own
        address = None if devices is None else _address(devices, kind, self.settings)
        if address is None:
            raise errors.ConsoleTypeUnavailable(f"guest {server_id} has no console of type {kind.value}")
        return address

    def _serial_address(self) -> str:
        """An address for one more serial console; empty where guests have none."""
        if not self.settings.serial_ports:
            return ""
        with self._line.speaking() as connection:
            taken = {port for domain in connection.listAllDomains() for port in _serial_ports(domain)}
        host = self.settings.serial_address
        for port in self.settings.serial_ports:
            if port not in taken and _is_free(host, port):
                return f"{host}:{port}"
        raise errors.HostRefuses("no port is left for a serial console")


def _address(devices: ET.Element, kind: ConsoleKind, settings: LibvirtSettings) -> ConsoleAddress | None:
    if kind is ConsoleKind.SERIAL:
        source = devices.find("serial[@type='tcp']/source")
        return None if source is None else ConsoleAddress(settings.serial_address, _port(source, "service"))
    graphics = devices.find(f"graphics[@type='{kind.value}']")
    if graphics is None:
        return None
    reached = settings.vnc_address if kind is ConsoleKind.VNC else settings.spice_address
    return ConsoleAddress(reached, _port(graphics, "port"), _port(graphics, "tlsPort"))


def _port(element: ET.Element, name: str) -> int:
    return max(0, int(element.get(name) or 0))


def _serial_ports(domain: Any) -> Iterator[int]:
    for source in ET.fromstring(domain.XMLDesc(0)).iterfind("devices/serial[@type='tcp']/source"):  # noqa: S314
        yield _port(source, "service")


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((host, port))
        except OSError:
            return False
    return True
