"""Devices of fake guests: plugged and taken out at once, unless the fault plan has it otherwise."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Driver,
    GuestSpec,
    NicSpec,
    PowerState,
    ShareMount,
    VolumeDisk,
    VolumeUsage,
)
from protonova.services.compute.virt.turns import Revoked, Turns

from .faults import FaultPlan
from .store import Record, Store

_LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Plugs:
    """The volumes, ports and shares a spec begins with, as a record keeps them."""

    volumes: dict[str, str]
    ports: dict[str, str]
    shares: dict[str, str]


class FakePlugging(Driver):
    """The part of the driver that plugs devices."""

    faults: FaultPlan
    _store: Store
    _turns: Turns

    def attach_volume(self, server_id: str, volume: VolumeDisk) -> str:
        with self._turns.take(server_id) as revoked:
            record = self._called("attach_volume", server_id, revoked)
            name = record.volumes.get(volume.volume_id)
            if name is None:
                name = free_name(record.volumes, volume.device_name)
                self._keep_plug(record, "volumes", volume.volume_id, name)
            return name

    def detach_volume(self, server_id: str, volume_id: str) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("detach_volume", server_id, revoked)
            self._take_out("detach_volume", record, "volumes", volume_id)

    def swap_volume(self, server_id: str, volume_id: str, new: VolumeDisk) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("swap_volume", server_id, revoked)
            renamed = new.volume_id != volume_id
            if renamed and new.volume_id in record.volumes:
                self._drop(record, "volumes", volume_id)
                return
            name = self._volume(record, volume_id)
            if record.power_state is not PowerState.RUNNING:
                raise errors.VolumeSwapFailed(f"guest {server_id} does not run, nothing can be copied")
            self._keep_plug(record, "volumes", new.volume_id, name)
            if renamed:
                self._drop(record, "volumes", volume_id)

    def extend_volume(self, server_id: str, volume_id: str, size_gb: int) -> None:
        with self._turns.take(server_id) as revoked:
            self._volume(self._called("extend_volume", server_id, revoked), volume_id)

    def snapshot_volume(self, server_id: str, volume_id: str, new_file: str) -> Mapping[str, Any]:
        with self._turns.take(server_id) as revoked:
            self._running_with(self._called("snapshot_volume", server_id, revoked), volume_id)
        return {}

    def merge_volume(
        self, server_id: str, volume_id: str, file_to_merge: str, merge_target_file: str
    ) -> None:
        with self._turns.take(server_id) as revoked:
            self._running_with(self._called("merge_volume", server_id, revoked), volume_id)

    def volume_usage(self) -> Sequence[VolumeUsage]:
        """Fake guests read and write nothing."""
        return [
            VolumeUsage(state.server_id, volume_id)
            for state in self.guests()
            if state.power_state is PowerState.RUNNING
            for volume_id in self._record(state.server_id).volumes
        ]

    def attach_interface(self, server_id: str, nic: NicSpec) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("attach_interface", server_id, revoked)
            if nic.vnic_type != "normal":
                raise errors.HostRefuses(f"ports of type {nic.vnic_type} cannot be plugged here")
            self._keep_plug(record, "ports", nic.port_id, seen_as(nic))

    def detach_interface(self, server_id: str, port_id: str) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("detach_interface", server_id, revoked)
            self._take_out("detach_interface", record, "ports", port_id)

    def plugged(self, server_id: str) -> Plugs:
        """What is plugged into a guest."""
        record = self._record(server_id)
        return Plugs(dict(record.volumes), dict(record.ports), dict(record.shares))

    def attach_share(self, server_id: str, share: ShareMount) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("attach_share", server_id, revoked)
            if share.share_id in record.shares:
                return
            _must_be_off(record)
            self._keep_plug(record, "shares", share.share_id, share.tag)

    def detach_share(self, server_id: str, share_id: str) -> None:
        with self._turns.take(server_id) as revoked:
            record = self._called("detach_share", server_id, revoked)
            if share_id in record.shares:
                _must_be_off(record)
                self._drop(record, "shares", share_id)

    # -- inside ---------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def _record(self, server_id: str) -> Record: ...

    @abc.abstractmethod
    def _names(self, server_id: str) -> tuple[str, ...]: ...

    @abc.abstractmethod
    def _visit(self, call: str, stage: str, names: tuple[str, ...], stopped: Revoked) -> None: ...

    def _called(self, call: str, server_id: str, stopped: Revoked) -> Record:
        self._visit(call, "begin", self._names(server_id), stopped)
        return self._record(server_id)

    def _volume(self, record: Record, volume_id: str) -> str:
        if volume_id not in record.volumes:
            raise errors.DeviceNotFound(f"guest {record.server_id} has no volume {volume_id}")
        return record.volumes[volume_id]

    def _running_with(self, record: Record, volume_id: str) -> None:
        self._volume(record, volume_id)
        if record.power_state not in (PowerState.RUNNING, PowerState.PAUSED):
            raise errors.GuestInWrongState(f"guest {record.server_id} does not run")

    def _take_out(self, call: str, record: Record, kind: str, device: str) -> None:
        if device not in getattr(record, kind):
            return
        if record.power_state is PowerState.RUNNING:
            verdict = self.faults.at(self.host, call, "guest", *self._names(record.server_id))
            if verdict.deaf:
                raise errors.DeviceDetachFailed(f"guest {record.server_id} does not let go of {device}")
        self._drop(record, kind, device)

    def _keep_plug(self, record: Record, kind: str, device: str, seen: str) -> None:
        getattr(record, kind)[device] = seen
        self._store.put_plug(self.host, record.server_id, kind, device, seen)

    def _drop(self, record: Record, kind: str, device: str) -> None:
        getattr(record, kind).pop(device, None)
        self._store.drop_plug(self.host, record.server_id, kind, device)

    def _plug_all(self, record: Record, spec: GuestSpec) -> None:
        """What a guest is made with."""
        wanted = plugs_of(spec)
        for kind, devices in vars(wanted).items():
            for device in set(getattr(record, kind)) - set(devices):
                self._drop(record, kind, device)
            for device, seen in devices.items():
                self._keep_plug(record, kind, device, seen)


def plugs_of(spec: GuestSpec) -> Plugs:
    volumes: dict[str, str] = {}
    for volume in spec.disks:
        volumes[volume.volume_id] = free_name(volumes, volume.device_name, root=spec.image is None)
    ports = {nic.port_id: seen_as(nic) for nic in spec.nics}
    return Plugs(volumes, ports, {share.share_id: share.tag for share in spec.shares})


def _must_be_off(record: Record) -> None:
    if record.power_state in (PowerState.RUNNING, PowerState.PAUSED):
        raise errors.GuestInWrongState(f"guest {record.server_id} runs", state="running")


def free_name(taken: dict[str, str], wanted: str, *, root: bool = False) -> str:
    """The name wished for, or the first that is free; `/dev/vda` is the root disk's."""
    names = set(taken.values())
    if wanted and wanted not in names:
        return wanted
    for letter in _LETTERS if root else _LETTERS[1:]:
        if (name := f"/dev/vd{letter}") not in names:
            return name
    raise errors.HostRefuses("the guest has more disks than can be named")


def seen_as(nic: NicSpec) -> str:
    return f"{nic.mac}={' '.join(ip.address for ip in nic.fixed_ips)}"
