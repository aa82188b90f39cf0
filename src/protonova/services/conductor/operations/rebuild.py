"""Rebuild: the root disk is made anew, of the same image or another one, where the server is.

The record says what the server is to be from the beginning on; its ports, volumes and allocations stay. The
first step only asks: while it runs the guest is as it was, and a refusal leaves the server so, with its old image.
From the second step on there is no way back to the old disk, and what fails leaves an ERROR that says why; another
rebuild may follow it.
"""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import (
    BlockDevice,
    BlockDeviceDestination,
    ImageSnapshot,
    Server,
    TaskState,
    VmState,
)
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import server_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.conductor import actions, faults
from protonova.services.conductor.actions import REBUILD
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import agent, volume
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.spawn import guest_of
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

_VOLUME = BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME


class Rebuilding(Step):
    """Asks whether the host may run the new image."""

    name = "rebuilding"
    event = "rebuild_server"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.guest_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        agent.guests_on(cell, cell.host(server.host), server.host)
        if run.payload["other_image"]:
            self._ask(server)
        return Outcome(memory={"begun": True}, apply=_now_at(cell, run, "REBUILD_BLOCK_DEVICE_MAPPING"))

    def _ask(self, server: Server) -> None:
        spec = scheduler_pb2.RequestSpec(
            project_id=server.project_id,
            user_id=server.user_id,
            flavor=server.flavor,
            image=server.image,
            boots_from_volume=boot_volume(server) is not None,
            host=server.host,
            node=server.node,
            scheduler_hints=server.scheduler_hints,
        )
        answer = self._cell.outside.scheduler.CheckRebuild(scheduler_pb2.CheckRebuildRequest(spec=spec))
        if answer.filter:
            raise errors.FailedPrecondition(
                f"Host {server.host} may not run the image: {answer.filter}: {answer.reason}",
                reason="HOST_REFUSES",
                host=server.host,
                filter=answer.filter,
            )


class Reimaging(Step):
    """Writes the image over the volume that the server boots from. Meanwhile the guest is off, and the volume is
    held by a new attachment."""

    name = "rebuild_block_device_mapping"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.volume_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        advance = _now_at(cell, run, "REBUILD_SPAWNING")
        if not run.payload["reimage"]:
            return Outcome(apply=advance)
        server = cell.db.read(lambda c: cell.servers.get(c, run.subject))
        device = boot_volume(server)
        if device is None:
            return Outcome(apply=advance)
        self._stop(run, server)
        self._hold(server, device)
        self._write(run, device, run.payload["image_id"])
        self._connect(server, device)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                for known in changed.block_devices:
                    if known.id == device.id:
                        known.CopyFrom(device)

            cell.servers.write(connection, run.subject, alter)
            advance(connection)

        return Outcome(apply=apply)

    def _stop(self, run: Run, server: Server) -> None:
        cell = self._cell
        request = guest_pb2.StopGuestRequest(host=server.host, fence=agent.fence(run), server_id=server.id)
        guests = agent.guests_on(cell, cell.host(server.host), server.host)
        with agent.calling(server.host):
            try:
                guests.StopGuest(request, timeout=cell.conf.conductor.guest_timeout)
            except errors.NotFound as error:
                if error.reason != "GUEST_NOT_FOUND":
                    raise

    def _hold(self, server: Server, device: BlockDevice) -> None:
        """Only a volume that nobody uses can be written over; the new attachment keeps it from others."""
        volumes = self._cell.outside.volumes
        there = volumes.attachments_between(device.volume_id, server.id)
        # An earlier try may have made it.
        made = [attachment for attachment in there if attachment != device.attachment_id]
        device.attachment_id = made[0] if made else volumes.create_attachment(device.volume_id, server.id)
        for attachment in there:
            if attachment != device.attachment_id:
                volumes.delete_attachment(attachment)

    def _write(self, run: Run, device: BlockDevice, image_id: str) -> None:
        volumes = self._cell.outside.volumes
        if volumes.get(device.volume_id).status != "downloading":
            volumes.reimage(device.volume_id, image_id)
        while (found := volumes.get(device.volume_id)).status == "downloading":
            run.wait(self._cell.conf.conductor.volume_poll_interval)
        if found.status not in ("available", "reserved", "attaching", "in-use"):
            raise errors.FailedPrecondition(
                f"The image could not be written over volume {found.id}; its status is {found.status}.",
                reason="VOLUME_NOT_MADE",
                volume_id=found.id,
                status=found.status,
            )

    def _connect(self, server: Server, device: BlockDevice) -> None:
        host = self._cell.host(server.host)
        connector = {"host": server.host, "ip": host.report.host_ip if host else "", "os_type": "linux"}
        volume.connect(self._cell, device, connector)


class Respawning(Step):
    name = "rebuild_spawning"
    event = "compute_rebuild_instance"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.spawn_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, kept = cell.db.read(
            lambda c: (cell.servers.get(c, run.subject), building.load(c, run.subject))
        )
        request = guest_pb2.RebuildGuestRequest(
            host=server.host,
            fence=agent.fence(run),
            server=server,
            admin_password=kept.admin_password,
            files=[guest_pb2.GuestFile(path=file.path, contents=file.contents) for file in kept.files],
            preserve_ephemeral=run.payload["preserve_ephemeral"],
            start=run.payload["start"],
        )
        guests = agent.guests_on(cell, cell.host(server.host), server.host)
        with agent.calling(server.host):
            guest = guest_of(run, guests.RebuildGuest(request, timeout=self.timeout))
        if run.payload["reimage"]:
            volume.complete_volumes(cell, server)
        state = REBUILD.after if run.payload["start"] else VmState.VM_STATE_STOPPED

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                actions.settle(REBUILD, changed, vm_state=state, power_state=guest.power_state)
                changed.launched_at.CopyFrom(changed.updated_at)
                changed.root_device_name = guest.root_device_name or changed.root_device_name
                if guest.HasField("numa_topology"):
                    changed.numa_topology.CopyFrom(guest.numa_topology)
                if guest.pci_devices:
                    del changed.pci_devices[:]
                    changed.pci_devices.extend(guest.pci_devices)

            building.forget(connection, run.subject)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host)


class Rebuild(Kind):
    name = REBUILD.operation

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Rebuilding(cell), Reimaging(cell), Respawning(cell)]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        begun = "begun" in run.memory

        def alter(server: Server) -> None:
            actions.settle(REBUILD, server, vm_state=VmState.VM_STATE_ERROR if begun else None)
            faults.set_fault(server, error)
            if not begun:
                server.image.CopyFrom(ImageSnapshot.FromString(base64.b64decode(run.payload["image_before"])))

        building.forget(connection, run.subject)
        self._cell.servers.change(connection, run.subject, alter)


def alter_record(server: Server, request: pb.RebuildServerRequest) -> dict[str, Any]:
    """Makes the record say what the server is to be; returns the operation's payload. Raises FIELD_INVALID."""
    reimaged = boot_volume(server) is not None
    payload = {
        "start": server.vm_state != VmState.VM_STATE_STOPPED,
        "preserve_ephemeral": request.preserve_ephemeral,
        "other_image": request.other_image,
        "reimage": reimaged and request.reimage,
        "image_id": request.server.image.id,
        "image_before": base64.b64encode(server.image.SerializeToString()).decode(),
    }
    for path in request.update_mask.paths:
        if path not in _CHANGEABLE:
            raise errors.InvalidArgument(
                f"'{path}' of a server does not change by a rebuild.", reason="FIELD_INVALID", field=path
            )
        server.ClearField(path)  # type: ignore[arg-type]
    given = Server()
    given.CopyFrom(request.server)
    for field, _ in request.server.ListFields():
        if field.name not in request.update_mask.paths:
            given.ClearField(field.name)  # type: ignore[arg-type]
    server.MergeFrom(given)
    if not reimaged:
        server.image.CopyFrom(request.server.image)
    elif request.reimage:
        server.image.CopyFrom(request.server.image)
        # Whoever boots from a volume has no image of its own.
        server.image.id = ""
    server.progress = 0
    return payload


def boot_volume(server: Server) -> BlockDevice | None:
    """The volume a server boots from; None for one that has its root disk on its host."""
    if server.image.id:
        return None
    booted = [
        device
        for device in server.block_devices
        if device.destination == _VOLUME and device.HasField("boot_index") and device.boot_index >= 0
    ]
    return min(booted, key=lambda device: device.boot_index) if booted else None


_CHANGEABLE = frozenset(
    {
        "name",
        "description",
        "metadata",
        "access_ip_v4",
        "access_ip_v6",
        "auto_disk_config",
        "hostname",
        "key_name",
        "key_data",
        "user_data",
        "trusted_image_certificates",
    }
)


def _now_at(cell: Cell, run: Run, state: str) -> Any:
    """Writes the task state of the step that follows."""

    def apply(connection: Connection) -> None:
        def alter(server: Server) -> None:
            if REBUILD.owns(server.task_state):
                server.task_state = TaskState.Value(f"TASK_STATE_{state}")

        cell.servers.change(connection, run.subject, alter)

    return apply
