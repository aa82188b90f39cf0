"""Volumes of servers: what is asked for is looked at, then the operation begins.

Whose a volume is, whether it is free and where it lies is the volume service's to say; it is asked before anything
is written, and again by the reservation, which is the only thing that excludes others.
"""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy.engine import Connection

from protonova.common.v1.server_pb2 import (
    BlockDevice,
    BlockDeviceDestination,
    BlockDeviceSource,
    Server,
    VmState,
)
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.servers import device_names
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.waiting import raise_failure
from protonova.services.conductor.states import vm_state_name
from protonova.services.runtime import context, errors
from protonova.services.runtime.openstack.volume import Volume
from protonova.services.runtime.operations import Engine

_SHELVED = (VmState.VM_STATE_SHELVED, VmState.VM_STATE_SHELVED_OFFLOADED)


class VolumeAttachments:
    def __init__(self, cell: Cell, engine: Engine, beginnings: Beginnings) -> None:
        self._cell = cell
        self._engine = engine
        self._begin = beginnings

    def attach(self, request: pb.AttachVolumeRequest) -> BlockDevice:
        """Returns once the volume is reserved, or after a while. Raises what the contract says."""
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, request.server_id))
        _check_shelved(actions.ATTACH_VOLUME, server, allowed=request.allow_shelved)
        actions.check(actions.ATTACH_VOLUME, server, context.current())
        volume = self._usable(request, server)
        payload: dict[str, Any] = {
            "volume": volume.id,
            "delete_on_termination": request.delete_on_termination,
        }
        device = BlockDevice(
            id=str(uuid.uuid4()),
            source=BlockDeviceSource.BLOCK_DEVICE_SOURCE_VOLUME,
            destination=BlockDeviceDestination.BLOCK_DEVICE_DESTINATION_VOLUME,
            volume_id=volume.id,
            size_gb=volume.size_gb,
            device_type="disk",
            tag=request.tag,
        )
        payload["device"] = device.id

        def alter(changed: Server) -> None:
            _check_shelved(actions.ATTACH_VOLUME, changed, allowed=request.allow_shelved)
            self._check_place(request, changed, volume)
            device.device_name = device_names.next_name(changed, request.device_name)
            changed.block_devices.append(device)

        operation = self._begin.action(actions.ATTACH_VOLUME, server.id, payload, alter=alter)
        patience = cell.conf.conductor.answer_timeout
        found = self._engine.wait(operation, patience, past="reserve")
        if "attachment" not in found.memory:
            # What goes wrong once it is reserved is told by the server, however soon it does.
            raise_failure(found)
        device.delete_on_termination = request.delete_on_termination
        return device

    def detach(self, request: pb.DetachVolumeRequest) -> None:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, request.server_id))
        _check_shelved(actions.DETACH_VOLUME, server, allowed=request.allow_shelved)
        device = attached(server, request.volume_id)
        if device_names.is_root(device):
            raise errors.InvalidArgument(
                f"Volume {request.volume_id} is the root disk of server {server.id}, which cannot be detached.",
                reason="VOLUME_IS_ROOT",
                volume_id=request.volume_id,
            )
        status = self._volume(request.volume_id).status
        if status == "detaching":
            raise _unusable(request.volume_id, "detaching", "it is being detached already")
        payload: dict[str, Any] = {}

        def alter(changed: Server) -> None:
            _check_shelved(actions.DETACH_VOLUME, changed, allowed=request.allow_shelved)
            found = attached(changed, request.volume_id)
            payload.update(device=found.id, volume=found.volume_id, attachment=found.attachment_id)

        self._begin.action(actions.DETACH_VOLUME, server.id, payload, alter=alter)

    def swap(self, request: pb.SwapVolumeRequest) -> None:
        cell = self._cell
        server = cell.db.read(lambda c: cell.servers.get(c, request.server_id))
        attached(server, request.volume_id)
        old = self._volume(request.volume_id)
        try:
            new = self._volume(request.new_volume_id)
        except errors.NotFound as error:
            raise errors.InvalidArgument(
                error.message, reason="VOLUME_NOT_FOUND", volume_id=request.new_volume_id
            ) from error
        if old.id == new.id:
            raise _unusable(old.id, "same", "it cannot be swapped for itself")
        if old.migration_status not in ("migrating", "starting"):
            raise errors.FailedPrecondition(
                f"Volume {old.id} is not being migrated by the volume service.",
                reason="VOLUME_NOT_MIGRATING",
                volume_id=old.id,
            )
        if new.size_gb < old.size_gb:
            raise _unusable(new.id, "size", f"it is smaller than volume {old.id}")
        if new.multiattach or old.multiattach:
            raise _unusable(new.id, "multiattach", "volumes for several servers cannot be swapped")
        payload: dict[str, Any] = {"new_volume": new.id}

        def alter(changed: Server) -> None:
            found = attached(changed, old.id)
            payload.update(device=found.id, volume=found.volume_id, attachment=found.attachment_id)

        self._begin.action(actions.SWAP_VOLUME, server.id, payload, alter=alter)

    def snapshot(self, request: pb.SnapshotVolumeRequest) -> None:
        self._assist(actions.SNAPSHOT_VOLUME, request, {"new_file": request.new_file})

    def merge(self, request: pb.MergeVolumeRequest) -> None:
        files = {"file_to_merge": request.file_to_merge, "merge_target_file": request.merge_target_file}
        self._assist(actions.MERGE_VOLUME, request, files)

    def _assist(
        self,
        action: actions.Action,
        request: pb.SnapshotVolumeRequest | pb.MergeVolumeRequest,
        files: dict[str, str],
    ) -> None:
        payload = {**files, "volume": request.volume_id, "snapshot": request.snapshot_id}

        def alter(changed: Server) -> dict[str, str]:
            found = attached(changed, request.volume_id)
            if not found.attachment_id:
                raise errors.FailedPrecondition(
                    f"Volume {request.volume_id} is not attached to server {changed.id} yet.",
                    reason="VOLUME_NOT_ATTACHED",
                    volume_id=request.volume_id,
                )
            return {**payload, "device": found.id}

        self._begin.action(action, request.server_id, alter=alter)

    def update(self, request: pb.UpdateVolumeAttachmentRequest) -> None:
        cell, ctx = self._cell, context.current()

        def alter(server: Server) -> None:
            actions.check(actions.UPDATE_ATTACHMENT, server, ctx)
            device = attached(server, request.volume_id)
            if not device.attachment_id:
                raise errors.NotFound(
                    f"Volume {request.volume_id} is not attached to server {server.id} yet.",
                    reason="ATTACHMENT_NOT_FOUND",
                    volume_id=request.volume_id,
                )
            device.delete_on_termination = request.delete_on_termination

        def change(connection: Connection) -> None:
            cell.servers.change(connection, request.server_id, alter)

        cell.db.write(change)

    # ---- checks

    def _volume(self, volume_id: str) -> Volume:
        """Raises `errors.NotFound` (VOLUME_NOT_FOUND), also for volumes of other projects."""
        ctx = context.current()
        try:
            found = self._cell.outside.volumes.get(volume_id)
        except (errors.NotFound, errors.InvalidArgument):
            found = None
        if found is None or not (ctx.is_admin or found.project_id == ctx.project_id):
            raise errors.NotFound(
                f"Volume {volume_id} could not be found.", reason="VOLUME_NOT_FOUND", volume_id=volume_id
            )
        return found

    def _usable(self, request: pb.AttachVolumeRequest, server: Server) -> Volume:
        volume = self._volume(request.volume_id)
        self._check_place(request, server, volume)
        if volume.multiattach and not request.allow_multiattach:
            raise _unusable(volume.id, "multiattach", "it is one for several servers")
        usable = ("available", "in-use") if volume.multiattach else ("available",)
        if volume.status not in usable:
            raise _unusable(volume.id, "status", f"it is not available but {volume.status}")
        zone = self._cell.conf.cinder.cross_az_attach or not server.availability_zone
        if not zone and volume.zone != server.availability_zone:
            raise _unusable(
                volume.id,
                "zone",
                f"it is in availability zone {volume.zone}, the server in {server.availability_zone}",
            )
        return volume

    def _check_place(self, request: pb.AttachVolumeRequest, server: Server, volume: Volume) -> None:
        """Whether the server has a place for it."""
        if any(device.volume_id == volume.id for device in server.block_devices):
            raise _unusable(volume.id, "attached", f"server {server.id} has it already")
        most = self._cell.conf.compute.max_disk_devices_to_attach
        if 0 <= most <= device_names.count(server):
            raise errors.PermissionDenied(
                f"Server {server.id} has as many disks as are allowed, {most}.",
                reason="TOO_MANY_DISKS",
                limit=most,
            )
        if server.vm_state == VmState.VM_STATE_SHELVED_OFFLOADED:
            if request.tag:
                raise errors.InvalidArgument(
                    "A volume with a tag cannot be attached to a shelved server that is on no host.",
                    reason="TAG_UNSUPPORTED",
                    tag=request.tag,
                )
            if volume.multiattach:
                raise _unusable(volume.id, "multiattach", "the server is shelved and on no host")


def attached(server: Server, volume_id: str) -> BlockDevice:
    """Raises `errors.NotFound` (ATTACHMENT_NOT_FOUND)."""
    for device in server.block_devices:
        if device.volume_id == volume_id:
            return device
    raise errors.NotFound(
        f"Volume {volume_id} is not attached to server {server.id}.",
        reason="ATTACHMENT_NOT_FOUND",
        volume_id=volume_id,
        server_id=server.id,
    )


def _check_shelved(action: actions.Action, server: Server, *, allowed: bool) -> None:
    if server.vm_state in _SHELVED and not allowed:
        raise errors.FailedPrecondition(
            f"Cannot '{action.name}' server {server.id} while it is shelved.",
            reason="SERVER_STATE",
            server_id=server.id,
            action=action.name,
            attribute="vm_state",
            value=vm_state_name(server.vm_state),
        )


def _unusable(volume_id: str, cause: str, why: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Volume {volume_id} cannot be used: {why}.",
        reason="VOLUME_UNUSABLE",
        volume_id=volume_id,
        cause=cause,
    )
