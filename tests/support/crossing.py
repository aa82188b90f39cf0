"""Two cells whose servers move between them: each with its own agent and hosts, and what api does between them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from protonova.api.v1 import transfer_pb2 as pb
from protonova.api.v1 import transfer_pb2_grpc
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.common.v1.resources_pb2 import Destination
from protonova.compute.v1 import guest_image_pb2_grpc, guest_move_pb2_grpc, guest_pb2_grpc
from protonova.services.compute.guests import GuestServicer
from protonova.services.compute.moves import GuestMoveServicer
from protonova.services.compute.snapshots import GuestImageServicer
from protonova.services.conductor import cell as cells
from protonova.services.runtime import config, errors
from protonova.services.runtime.channel import connect
from tests.support import moving
from tests.support.conductor import Conductor, node_id
from tests.support.gates import Gates
from tests.support.moving import HOSTS, FakeHosts, MovingEdges

FAR_HOSTS = ("far1", "far2")
NEAR, FAR = "near", "far"


class Transfers(transfer_pb2_grpc.TransferServiceServicer):
    """Carries what cells say to each other; `where` = the cell of each server that was ever switched."""

    def __init__(self, conf: Any) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._channels: dict[str, Any] = {}
        self.where: dict[str, str] = {}
        self.gates = Gates()
        # Servers nobody finds any more, which is what api was told.
        self.released: list[str] = []

    def lead_to(self, cell_id: str, address: str) -> None:
        self._channels[cell_id] = connect(self._conf, address)

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def CarryTransfer(self, request, context):
        channel = self._channels.get(request.cell_id)
        if channel is None:
            raise errors.Unavailable("The cell does not answer.", reason="CELL_UNAVAILABLE")
        path = f"/protonova.conductor.v1.TransferService/{request.method}"
        response = channel.unary_unary(path)(request.request)
        self.gates.leave(request.method)
        return pb.CarryTransferResponse(response=response)

    def SwitchServerCell(self, request, context):
        self.gates.enter("SwitchServerCell")
        if request.server_id in self.released:
            raise errors.NotFound("It is deleted.", reason="SERVER_NOT_FOUND")
        with self._lock:
            there = self.where.setdefault(request.server_id, request.from_cell_id)
            if there not in (request.from_cell_id, request.to_cell_id):
                raise errors.FailedPrecondition("It is elsewhere.", reason="SERVER_IN_OTHER_CELL")
            self.where[request.server_id] = request.to_cell_id
        self.gates.leave("SwitchServerCell")
        return pb.SwitchServerCellResponse()


class CrossingEdges(MovingEdges):
    """`fakes` are the hosts of the near cell, `far` those of the other."""

    def __init__(self, directory: Path, **settings: Any) -> None:
        (directory / "far").mkdir()
        self.far = FakeHosts(directory / "far", FAR_HOSTS, **settings)
        super().__init__(directory, **settings)
        self.transfers.released = self.region.released
        self._far_agent = self._serve("far-agent", *self._services(self.far))
        self.ids = {name: _cell_id(name) for name in (NEAR, FAR)}
        self.scheduler.place = self.place

    def agent_services(self) -> list[tuple[Any, Any]]:
        return self._services(self.fakes)

    def api_services(self) -> list[tuple[Any, Any]]:
        self.transfers = Transfers(self.conf)
        add = transfer_pb2_grpc.add_TransferServiceServicer_to_server
        return [*super().api_services(), (add, self.transfers)]

    def close(self) -> None:
        super().close()
        self._far_agent.stop(0)
        self.transfers.close()
        self.far.hosts.close()
        self.far.journal.close()

    @property
    def far_target(self) -> str:
        return self._far_agent.address

    def conductor(self, directory: Path, name: str, url: str = "", **overrides: Any) -> Conductor:
        """A cell that is reached by the other; without a URL its database is a file of its directory."""
        directory.mkdir(exist_ok=True)
        options = {**self.options, "cell__name": name, "shutdown_timeout": 1, **overrides}
        conductor = Conductor(directory, self, url, **options)
        self.transfers.lead_to(self.ids[name], conductor.server.address)
        if name == NEAR:
            conductor.report(*HOSTS, host_ip="192.0.2.1")
        else:
            conductor.report(*FAR_HOSTS, agent_target=self.far_target, host_ip="192.0.2.2")
        return conductor

    def place(self, host: str, flavor: Flavor) -> Destination:
        found = moving.place(host, flavor)
        found.cell_id = self.ids[FAR if host in FAR_HOSTS else NEAR]
        return found

    def held(self, consumer_id: str) -> dict[str, int]:
        """CPUs by host."""
        found = self.allocations.held.get(consumer_id)
        names = {node_id(name): name for name in (*HOSTS, *FAR_HOSTS)}
        if found is None:
            return {}
        return {names[key]: value.amounts["VCPU"] for key, value in found.allocations.providers.items()}

    def running(self, server_id: str) -> list[str]:
        return self.fakes.running(server_id) + self.far.running(server_id)

    def where(self, server_id: str) -> list[str]:
        return self.fakes.where(server_id) + self.far.where(server_id)

    def aside(self, server_id: str) -> list[str]:
        return self.fakes.aside(server_id) + self.far.aside(server_id)

    def _services(self, fakes: FakeHosts) -> list[tuple[Any, Any]]:
        return [
            (
                guest_pb2_grpc.add_GuestServiceServicer_to_server,
                GuestServicer(fakes.hosts, fakes.journal, fakes.pinning),
            ),
            (
                guest_move_pb2_grpc.add_GuestMoveServiceServicer_to_server,
                GuestMoveServicer(self.conf, fakes.hosts, fakes.journal, fakes.pinning),
            ),
            (
                guest_image_pb2_grpc.add_GuestImageServiceServicer_to_server,
                GuestImageServicer(fakes.hosts, fakes.journal, self.glance),
            ),
        ]


def _cell_id(name: str) -> str:
    return cells.cell_id(config.load(files=[], cell__name=name))
