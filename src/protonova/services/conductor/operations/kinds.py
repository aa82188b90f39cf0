"""All that a conductor runs as operations."""

from __future__ import annotations

from protonova.services.conductor.cell import Cell
from protonova.services.conductor.operations import (
    assisted_snapshot,
    one_call,
    password,
    reboot,
    snapshot,
    start,
    stop,
)
from protonova.services.conductor.operations.addresses import ChangeAddresses, RefreshNetwork
from protonova.services.conductor.operations.attach_interface import AttachInterface
from protonova.services.conductor.operations.attach_share import AttachShare
from protonova.services.conductor.operations.attach_volume import AttachVolume
from protonova.services.conductor.operations.create import Create
from protonova.services.conductor.operations.delete import Delete
from protonova.services.conductor.operations.detach_interface import DetachInterface
from protonova.services.conductor.operations.detach_share import DetachShare
from protonova.services.conductor.operations.detach_volume import DetachVolume
from protonova.services.conductor.operations.extend_volume import ExtendVolume
from protonova.services.conductor.operations.image import DiscardImage
from protonova.services.conductor.operations.moves.confirm import ConfirmResize
from protonova.services.conductor.operations.moves.crossing import AbandonArrival
from protonova.services.conductor.operations.moves.evacuate import Evacuate
from protonova.services.conductor.operations.moves.live import LiveMigration
from protonova.services.conductor.operations.moves.resize import Resize
from protonova.services.conductor.operations.moves.revert import RevertResize
from protonova.services.conductor.operations.moves.transfer import (
    LeaveAgain,
    ReceiveServer,
    ReturnServer,
    WithdrawServer,
)
from protonova.services.conductor.operations.offload import Offload
from protonova.services.conductor.operations.prefetch import PrefetchImages
from protonova.services.conductor.operations.rebuild import Rebuild
from protonova.services.conductor.operations.rescue import Rescue, unrescue
from protonova.services.conductor.operations.reset_state import ResetState
from protonova.services.conductor.operations.shelve import Shelve
from protonova.services.conductor.operations.soft_delete import KeepOff, Restore, SoftDelete
from protonova.services.conductor.operations.swap_volume import SwapVolume
from protonova.services.conductor.operations.unshelve import Unshelve
from protonova.services.conductor.operations.volume_image import VolumeImage
from protonova.services.runtime.operations import Kind


def kinds(cell: Cell) -> list[Kind]:
    return [
        Create(cell),
        Delete(cell),
        SoftDelete(cell),
        Restore(cell),
        KeepOff(cell),
        start.kind(cell),
        stop.kind(cell),
        reboot.kind(cell),
        *one_call.kinds(cell),
        password.kind(cell),
        Rescue(cell),
        unrescue(cell),
        Rebuild(cell),
        ResetState(cell),
        snapshot.create_image(cell),
        snapshot.create_backup(cell),
        VolumeImage(cell),
        DiscardImage(cell),
        Shelve(cell),
        Offload(cell),
        Unshelve(cell),
        Resize(cell),
        ConfirmResize(cell),
        RevertResize(cell),
        AbandonArrival(cell),
        ReceiveServer(cell),
        ReturnServer(cell),
        LeaveAgain(cell),
        WithdrawServer(cell),
        LiveMigration(cell),
        Evacuate(cell),
        AttachInterface(cell),
        DetachInterface(cell),
        ChangeAddresses(cell),
        RefreshNetwork(cell),
        AttachVolume(cell),
        DetachVolume(cell),
        SwapVolume(cell),
        AttachShare(cell),
        DetachShare(cell),
        ExtendVolume(cell),
        assisted_snapshot.SnapshotVolume(cell),
        assisted_snapshot.MergeVolume(cell),
        PrefetchImages(cell),
    ]
