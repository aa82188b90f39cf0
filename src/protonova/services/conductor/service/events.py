"""What other services tell of servers, and what is done about it.

| event | is done |
|---|---|
| network-changed, network-vif-plugged, network-vif-unplugged | addresses, groups and ports are read anew |
| network-vif-deleted | the interface of that port is taken out of the guest |
| volume-extended | the guest sees the new size |
| power-update | the server is started or stopped, if it is not what it is to be |
| accelerator-request-bound, volume-reimaged | taken note of: nothing here waits for them |

Events come again, late and for things that are over; one that has nothing left to do does nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from protonova.common.v1 import server_device_pb2 as common
from protonova.common.v1.server_device_pb2 import ServerEvent, ServerEventResult
from protonova.common.v1.server_pb2 import Server
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.runtime import errors

_log = logging.getLogger("protonova.conductor.events")

_ACCEPTED = common.SERVER_EVENT_RESULT_ACCEPTED
_TAG_INVALID = common.SERVER_EVENT_RESULT_TAG_INVALID
_NEED_TAGS = {"volume-extended", "power-update", "accelerator-request-bound"}
_POWER = {"POWER_ON": actions.START, "POWER_OFF": actions.STOP}


class Events:
    def __init__(self, cell: Cell, beginnings: Beginnings) -> None:
        self._cell = cell
        self._begin = beginnings
        self._handlers: dict[str, Callable[[Server, str], None]] = {
            "network-changed": self._refresh,
            "network-vif-plugged": self._refresh,
            "network-vif-unplugged": self._refresh,
            "network-vif-deleted": self._drop,
            "volume-extended": self._extend,
            "power-update": self._power,
        }

    def take(self, events: Iterable[ServerEvent]) -> list[ServerEventResult.ValueType]:
        return [self._take(event) for event in events]

    def _take(self, event: ServerEvent) -> ServerEventResult.ValueType:
        try:
            server = self._cell.db.read(lambda c: self._cell.servers.get(c, event.server_id))
        except errors.NotFound:
            return common.SERVER_EVENT_RESULT_SERVER_NOT_FOUND
        if not server.host:
            return common.SERVER_EVENT_RESULT_NO_HOST
        if event.name in _NEED_TAGS and not event.tag:
            return _TAG_INVALID
        if event.name == "power-update" and event.tag not in _POWER:
            return _TAG_INVALID
        handler = self._handlers.get(event.name)
        if handler is not None and event.status != "in-progress":
            try:
                handler(server, event.tag)
            except (errors.FailedPrecondition, errors.NotFound) as error:
                # The server is not in a state in which there is anything to be done about it.
                _log.info("Event %s of server %s is over: %s", event.name, server.id, error)
        return _ACCEPTED

    def _refresh(self, server: Server, _port_id: str) -> None:
        self._begin.action(actions.REFRESH_NETWORK, server.id)

    def _drop(self, server: Server, port_id: str) -> None:
        for interface in server.interfaces:
            if interface.port_id == port_id:
                # The port is gone: there is none to be given back.
                payload = {"port": port_id, "created": True}
                self._begin.action(actions.DROP_INTERFACE, server.id, payload)

    def _extend(self, server: Server, volume_id: str) -> None:
        if any(device.volume_id == volume_id for device in server.block_devices):
            self._begin.action(actions.EXTEND_VOLUME, server.id, {"volume": volume_id})

    def _power(self, server: Server, wanted: str) -> None:
        self._begin.action(_POWER[wanted], server.id)
