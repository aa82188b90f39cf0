"""A shelved server starts again: where it is, or on a new host, from what it was kept as, when it has left its own.

When no host can take it, it is what it was before: kept, and on no host.
"""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.resources_pb2 import Destination
from protonova.common.v1.server_pb2 import ImageSnapshot, Server, TaskState, VmState
from protonova.compute.v1 import guest_pb2
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.conductor import faults
from protonova.services.conductor.actions import UNSHELVE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, claim, offload
from protonova.services.conductor.operations.image import DISCARD
from protonova.services.conductor.operations.moves import relocation
from protonova.services.conductor.operations.moves.guests import received
from protonova.services.numa import usage
from protonova.services.runtime import errors
from protonova.services.runtime.operations import FAILED, Kind, Outcome, Restart, Run, Step

KIND = UNSHELVE.operation
_NO_HOST = "No valid host was found."


def payload(server: Server, spec: scheduler_pb2.RequestSpec, zone: str | None) -> dict[str, Any]:
    """`zone`: where the server is pinned from now on, empty = nowhere; None = as before."""
    return {
        "left": server.vm_state == VmState.VM_STATE_SHELVED_OFFLOADED,
        "image": server.shelved_image_id,
        "spec": base64.b64encode(spec.SerializeToString()).decode(),
        "zone": zone,
    }


class PowerOn(Step):
    """Of a server that is still on its host."""

    name = "power_on"
    event = "compute_unshelve_instance"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return not run.payload["left"]

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda connection: cell.servers.get(connection, run.subject))
        request = guest_pb2.StartGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id)
        with agent.calling(server.host):
            guests = agent.guests_on(cell, cell.host(server.host), server.host)
            guest = guests.StartGuest(request, timeout=self.timeout).guest
        return Outcome(apply=lambda connection: _back(cell, connection, run, guest), host=server.host)


class _Elsewhere(Step):
    """A step of a server that has left its host."""

    def __init__(self, cell: Cell, timeout: float) -> None:
        super().__init__(timeout=timeout, undo_timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["left"])

    def _server(self, run: Run) -> Server:
        return self._cell.db.read(lambda connection: self._cell.servers.get(connection, run.subject))


class Schedule(_Elsewhere):
    name = "schedule"
    event = "conductor_unshelve_instance"

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        spec = scheduler_pb2.RequestSpec.FromString(base64.b64decode(run.payload["spec"]))
        spec.ignore_hosts.extend(run.memory.get("refused", ()))
        answer = cell.outside.scheduler.SelectDestinations(
            scheduler_pb2.SelectDestinationsRequest(spec=spec, server_ids=[run.subject]), timeout=self.timeout
        )
        selection = answer.selections[0]
        if not selection.HasField("destination"):
            raise errors.FailedPrecondition(
                f"{_NO_HOST} {selection.failure.removeprefix(_NO_HOST)}".strip(), reason="NO_VALID_HOST"
            )
        chosen = selection.destination

        def apply(connection: Connection) -> None:
            def alter(server: Server) -> None:
                server.host, server.node = chosen.host, chosen.node
                server.availability_zone = chosen.availability_zone
                server.task_state = TaskState.TASK_STATE_SPAWNING

            cell.servers.change(connection, run.subject, alter)

        memory = {"destination": base64.b64encode(chosen.SerializeToString()).decode()}
        return Outcome(memory=memory, apply=apply, host=chosen.host)

    def undo(self, run: Run) -> Outcome:
        cell, server = self._cell, self._server(run)
        claim.release_claims(cell, server.id)
        claim.place(cell, server, "")
        return Outcome(apply=lambda connection: _nowhere(cell, connection, run.subject))


class Connect(_Elsewhere):
    """Ports and volumes come to the host."""

    name = "connect"

    def do(self, run: Run) -> Outcome:
        cell, server, host = self._cell, self._server(run), _chosen(run).host
        interfaces = relocation.bind_ports(cell, server, host)
        devices = relocation.attach(cell, run, server, host)
        relocation.detach_others(cell, server.id, devices)

        def apply(connection: Connection) -> None:
            cell.servers.change(
                connection, run.subject, lambda changed: relocation.enter(changed, interfaces, devices)
            )

        return Outcome(apply=apply)

    def undo(self, run: Run) -> Outcome | None:
        if not self.needed(run):
            return None
        server = self._server(run)
        offload.unbind(self._cell, server.id)
        return offload.disconnect(self._cell, server)


class Spawn(_Elsewhere):
    """The guest is made from the image, or of its volumes."""

    name = "spawn"
    event = "compute_unshelve_instance"

    def do(self, run: Run) -> Outcome:
        cell, wanted = self._cell, self._server(run)
        if run.payload["image"]:
            wanted.image.CopyFrom(self._image(wanted, run.payload["image"]))
        request = guest_pb2.SpawnGuestRequest(host=wanted.host, fence=agent.fence(run), server=wanted)
        with agent.calling(wanted.host):
            guests = agent.guests_on(cell, cell.host(wanted.host), wanted.host)
            guest = received(run, guests.SpawnGuest(request, timeout=self.timeout))
        return Outcome(apply=lambda connection: _back(cell, connection, run, guest), host=wanted.host)

    def undo(self, run: Run) -> None:
        if self.needed(run):
            agent.destroy(self._cell, run, _chosen(run).host)

    def _image(self, server: Server, image_id: str) -> ImageSnapshot:
        """What the guest is made of: the bytes of one image, with what the other one's owner said of it."""
        kept = self._cell.outside.images.get(image_id)
        return ImageSnapshot(
            id=kept.id,
            name=kept.name,
            disk_format=kept.disk_format,
            container_format=kept.container_format,
            size_bytes=kept.size,
            checksum=kept.checksum,
            hash_algorithm=kept.hash_algorithm,
            hash_value=kept.hash_value,
            properties=server.image.properties,
        )


class Unshelve(Kind):
    name = KIND

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        self._cell = cell
        self.steps = [
            PowerOn(cell),
            Schedule(cell, own.schedule_timeout),
            Connect(cell, own.network_timeout + own.volume_timeout),
            Spawn(cell, own.spawn_timeout),
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        if run.payload["image"]:
            self.engine.create(connection, DISCARD, run.payload["image"], {})

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        refused = [
            *run.memory.get("refused", ()),
            *([_chosen(run).host] if "destination" in run.memory else ()),
        ]
        most = int(self._cell.conf.scheduler.max_attempts)
        goes_on = run.state != FAILED and faults.another_host_may_do(error) and 0 < len(refused) < most

        def alter(server: Server) -> None:
            if goes_on:
                server.task_state = UNSHELVE.doing
                return
            settle(UNSHELVE, server)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)
        return Restart({"refused": refused}) if goes_on else None


def _chosen(run: Run) -> Destination:
    return Destination.FromString(base64.b64decode(run.memory["destination"]))


def _nowhere(cell: Cell, connection: Connection, server_id: str) -> None:
    def alter(server: Server) -> None:
        server.host = server.node = ""
        if server.HasField("numa_topology"):
            server.numa_topology.CopyFrom(usage.requested(server.numa_topology))

    cell.servers.change(connection, server_id, alter)


def _back(cell: Cell, connection: Connection, run: Run, guest: guest_pb2.Guest) -> None:
    zone = run.payload["zone"]

    def alter(server: Server) -> None:
        settle(UNSHELVE, server, vm_state=VmState.VM_STATE_ACTIVE, power_state=guest.power_state)
        server.shelved_image_id = ""
        server.ClearField("shelved_at")
        server.launched_at.CopyFrom(server.updated_at)
        if guest.HasField("numa_topology"):
            server.numa_topology.CopyFrom(guest.numa_topology)
        if zone is not None:
            server.pinned_availability_zone = zone
            if not zone:
                server.ClearField("pinned_availability_zone")

    cell.servers.change(connection, run.subject, alter)
