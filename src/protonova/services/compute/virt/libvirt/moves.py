"""Guests of libvirt that go from host to host.

Cold: what is set aside is the guest's directory under another name, with the domain undefined. To put it back the
directory gets its name again. A destination makes a directory of the same files; its root disk stands on its own
copy of the image.

Live: the daemons move the guest themselves (peer to peer). The destination makes the directory first, with disks
that are empty where they are to be copied. At the source the domain remains, shut off, until it is destroyed: by
that a repeated call knows that the guest has gone.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import libvirt

from protonova.services.compute.virt import errors
from protonova.services.compute.virt.driver import (
    Cancelled,
    FilePiece,
    FilePieces,
    GuestSpec,
    GuestState,
    LiveProgress,
    Progress,
    Storage,
    never,
    quiet,
)

from . import disks, domain, naming, power, qemu_img, travel
from .images import Base
from .layout import Aside, GuestDirectory, Layout

if TYPE_CHECKING:

    class _Base:
        """Whatever the driver has that this is a part of."""

        def __getattr__(self, name: str) -> Any: ...

else:
    _Base = object

_GIB = 1 << 30
_LOOK_SECONDS = 0.5
_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM
)


class MovingGuests(_Base):
    """The part of the libvirt driver that is about moves."""

    # -- cold ---------------------------------------------------------------------------------------------------

    def check_receive(self, spec: GuestSpec, disks_are_there: bool | None = None) -> None:
        self._acceptable(spec)
        directory = GuestDirectory(self.settings.instances, spec.server_id)
        if disks_are_there is not None and spec.image is not None:
            there = directory.root_disk.exists()
            if there != disks_are_there:
                words = "are on" if there else "are not on"
                raise errors.HostRefuses(f"the disks of guest {spec.server_id} {words} {self.host}")

    def set_aside(self, server_id: str, label: str, timeout: float = 60.0) -> None:
        with self._turns.take(server_id) as revoked:
            directory = GuestDirectory(self.settings.instances, server_id)
            aside = Aside(self.settings.instances, server_id, label)
            found = self._find(server_id)
            if found is None and not directory.path.exists():
                if aside.path.exists():
                    return
                raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
            if found is not None:
                with self._line.speaking():
                    listens = found.isActive() and found.state()[0] == libvirt.VIR_DOMAIN_RUNNING
                    if not (
                        timeout > 0
                        and listens
                        and power.ask_to_stop(found, server_id, self._watch, timeout, revoked)
                    ):
                        power.stop(found)
                    with power.not_running_is_fine():
                        found.undefineFlags(_UNDEFINE)
            if self._networks is not None:
                self._networks.unplug(server_id)
            directory.make()
            aside.take(directory)

    def take_back(
        self, server_id: str, label: str, spec: GuestSpec | None = None, start: bool = True
    ) -> GuestState:
        with self._turns.take(server_id):
            directory = GuestDirectory(self.settings.instances, server_id)
            aside = Aside(self.settings.instances, server_id, label)
            found = self._find(server_id)
            if aside.path.exists():
                if found is not None or directory.path.exists():
                    raise errors.GuestInWrongState(
                        f"guest {server_id} is on {self.host} beside what was set aside"
                    )
                aside.give_back(directory)
            layout = directory.load()
            if layout is None:
                if found is None:
                    raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
                return self._state(found)
            if found is not None and found.isActive():
                return self._made(found, layout)
            if spec is not None:
                layout = self._as_ordered(layout, spec, directory)
            self._plug(layout.spec)
            return self._define_and_start(layout, directory, start=start)

    def discard(self, server_id: str, label: str = "") -> None:
        with self._turns.take(server_id):
            for aside in Aside.all(self.settings.instances):
                if aside.server_id == server_id and label in ("", aside.label):
                    aside.remove()

    def asides(self) -> list[tuple[str, str]]:
        return [(aside.server_id, aside.label) for aside in Aside.all(self.settings.instances)]

    def aside_files(self, server_id: str, label: str) -> Iterator[FilePiece]:
        aside = Aside(self.settings.instances, server_id, label)
        if not aside.path.exists():
            raise errors.GuestNotFound(f"nothing of {server_id} is set aside as {label}", server_id=server_id)
        yield from travel.outgoing(aside)

    def receive(
        self,
        spec: GuestSpec,
        files: FilePieces,
        start: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        with self._turns.take(spec.server_id) as revoked:

            def check() -> None:
                if revoked() or cancelled():
                    raise errors.Cancelled(f"the arrival of {spec.server_id} was taken back")

            check()
            directory = GuestDirectory(self.settings.instances, spec.server_id)
            found = self._find(spec.server_id)
            layout = directory.load()
            if found is not None and layout is not None:
                # It has come already.
                if found.isActive() or not start:
                    return self._made(found, layout)
                self._plug(layout.spec)
                return self._define_and_start(layout, directory)
            spec = self._acceptable(spec)
            directory.make(self.host)
            directory.keep_topology(spec.numa)
            directory.keep_devices(spec.devices)
            disks.room(directory.path, spec)
            progress(5, "image")
            base = self._base(spec, cancelled)
            check()
            progress(20, "disks")
            pieces = files()
            try:
                travel.incoming(directory, _checked(pieces, check), with_base=base is None)
            finally:
                _close(pieces)
            _stand_on(directory, base)
            _grow(directory, spec)
            base = base or _own_base(directory)
            local = disks.make(_keeping_documents(spec, directory), directory, base)
            check()
            progress(80, "network")
            self._plug(spec)
            progress(90, "start")
            return self._define_and_start(Layout(spec, local), directory, start=start)

    # -- live ---------------------------------------------------------------------------------------------------

    def live_facts(self, server_id: str) -> bytes:
        directory = GuestDirectory(self.settings.instances, server_id)
        found = self._find(server_id)
        if found is None:
            raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
        with self._line.speaking() as connection:
            if not found.isActive():
                raise errors.GuestInWrongState(f"guest {server_id} does not run")
            version = connection.getVersion()
            paused = found.state()[0] == libvirt.VIR_DOMAIN_PAUSED
        config = directory.config_drive.read_bytes() if directory.config_drive.exists() else b""
        sizes = {path.name: _size(path) for path in directory.local_disks()}
        facts = {
            "name": found.name(),
            "version": version,
            "paused": paused,
            "mark": directory.mark(),
            "config": base64.b64encode(config).decode(),
            "sizes": sizes,
        }
        return json.dumps(facts).encode()

    def live_prepare(
        self, spec: GuestSpec, source_host: str, storage: Storage, facts: bytes, check_only: bool = False
    ) -> bytes:
        known = json.loads(facts)
        directory = GuestDirectory(self.settings.instances, spec.server_id)
        shared = bool(known["mark"]) and directory.mark() == known["mark"]
        with self._line.speaking() as connection:
            version = connection.getVersion()
        if version < known["version"]:
            raise errors.MigrationImpossible(
                f"QEMU of {self.host} ({version}) is older than that of {source_host} ({known['version']})"
            )
        if known["sizes"] and storage is Storage.SHARED and not shared:
            raise errors.MigrationImpossible(f"{self.host} shares no storage with {source_host}")
        if known["sizes"] and storage is Storage.COPIED and shared:
            raise errors.MigrationImpossible(f"{self.host} shares the guest's storage with {source_host}")
        spec = self._acceptable(spec)
        if check_only:
            return b""
        with self._turns.take(spec.server_id) as revoked:
            if shared:
                layout = directory.load()
                assert layout is not None
                local = layout.disks
            else:
                directory.make(self.host)
                directory.keep_topology(spec.numa)
                disks.room(directory.path, spec)
                base = self._base(spec, revoked)
                if base is None and "disk" in known["sizes"]:
                    raise errors.MigrationImpossible(f"the image of guest {spec.server_id} cannot be fetched")
                _empty(directory, known["sizes"], base)
                if known["config"]:
                    directory.config_drive.write_bytes(base64.b64decode(known["config"]))
                local = disks.make(_keeping_documents(spec, directory), directory, base)
            directory.keep_paused(known["paused"])
            self._plug(spec)
            with self._line.speaking() as connection:
                name = naming.free(connection, spec)
            layout = naming.renamed(Layout(spec, local), name)
            if not shared:
                directory.save(layout)
            # It goes by its old name until it is here.
            leaving = naming.renamed(layout, known.get("name", "") or name)
            definition = domain.build(leaving, self._facts(), str(directory.console))
        return json.dumps(
            {
                "uri": self.settings.live_uri(),
                "address": self.settings.live_address,
                "copy": not shared and bool(known["sizes"]),
                "definition": definition,
                "name": name if name != leaving.spec.name else "",
            }
        ).encode()

    def live_migrate(
        self, spec: GuestSpec, destination_host: str, ticket: bytes, told: Callable[[LiveProgress], None]
    ) -> None:
        server_id = spec.server_id
        found = self._find(server_id)
        if found is None:
            raise errors.GuestNotFound(f"no guest {server_id} on {self.host}", server_id=server_id)
        with self._line.speaking():
            state, reason = found.state()
            if state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_MIGRATED:
                return
            under_way = found.isActive() and found.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE
        mover: threading.Thread | None = None
        failure: list[BaseException] = []
        if not under_way:
            known = json.loads(ticket)

            def move() -> None:
                try:
                    found.migrateToURI3(known["uri"], _parameters(known), _flags(known))
                except libvirt.libvirtError as error:
                    failure.append(error)

            mover = threading.Thread(target=move, name=f"live-{server_id}", daemon=True)
            mover.start()
        self._await(found, mover, told)
        with self._line.speaking():
            if found.isActive():
                text = str(failure[0].get_error_message()) if failure else "it is still here"  # type: ignore[attr-defined]
                aborted = failure and failure[0].get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED  # type: ignore[attr-defined]
                if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED and server_id in self._forced:
                    found.resume()
                self._forced.discard(server_id)
                kind = errors.MigrationAborted if aborted else errors.MigrationFailed
                raise kind(f"guest {server_id} was not migrated: {text}")
        self._forced.discard(server_id)

    def live_abort(self, server_id: str) -> None:
        found = self._find(server_id)
        if found is not None:
            with self._line.speaking(), power.not_running_is_fine():
                if found.isActive() and found.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                    found.abortJob()

    def live_force(self, server_id: str) -> None:
        """The guest is paused: then nothing changes any more that would have to be sent again."""
        found = self._find(server_id)
        if found is not None:
            with self._line.speaking(), power.not_running_is_fine():
                running = found.isActive() and found.state()[0] == libvirt.VIR_DOMAIN_RUNNING
                if running and found.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                    self._forced.add(server_id)
                    found.suspend()

    def live_finish(self, spec: GuestSpec) -> GuestState:
        with self._turns.take(spec.server_id):
            directory = GuestDirectory(self.settings.instances, spec.server_id)
            found = self._find(spec.server_id)
            if found is None:
                raise errors.GuestNotFound(
                    f"no guest {spec.server_id} has come to {self.host}", server_id=spec.server_id
                )
            directory.make(self.host)
            with self._line.speaking():
                # One that was paused to make it finish goes on; one that its user has paused does not.
                if found.state()[0] == libvirt.VIR_DOMAIN_PAUSED and not directory.is_paused():
                    found.resume()
            return self._made(found, directory.load())

    # -- inside -------------------------------------------------------------------------------------------------

    def _await(
        self, found: Any, mover: threading.Thread | None, told: Callable[[LiveProgress], None]
    ) -> None:
        """Until the migration is over, however it ends."""
        pause = threading.Event()
        while True:
            if mover is not None:
                mover.join(_LOOK_SECONDS)
                if not mover.is_alive():
                    return
            else:
                pause.wait(_LOOK_SECONDS)
            try:
                stats = found.jobStats() if found.isActive() else {}
            except libvirt.libvirtError:
                stats = {}
            if mover is None and stats.get("type", 0) == libvirt.VIR_DOMAIN_JOB_NONE:
                return
            if stats:
                told(_progress(stats))

    def _base(self, spec: GuestSpec, cancelled: Cancelled) -> Base | None:
        """What the root disk stands on here; None where there is none, or where the image is gone."""
        if spec.image is None:
            return None
        try:
            return self._images.get(spec.image, cancelled=cancelled)
        except (errors.ImageUnacceptable, errors.ImageUnavailable):
            return None

    def _as_ordered(self, layout: Layout, spec: GuestSpec, directory: GuestDirectory) -> Layout:
        """The disks as they were kept, all else as ordered."""
        wanted = _keeping_documents(self._acceptable(spec), directory)
        kept = layout.spec
        wanted = dataclasses.replace(
            wanted, numa=wanted.numa or kept.numa, devices=wanted.devices or kept.devices
        )
        return Layout(wanted, layout.disks)


def _keeping_documents(spec: GuestSpec, directory: GuestDirectory) -> GuestSpec:
    """A config drive that came along stays: the password in it is known to nobody else."""
    return dataclasses.replace(spec, documents={}) if directory.config_drive.exists() else spec


def _checked(pieces: Iterator[FilePiece], check: Callable[[], None]) -> Iterator[FilePiece]:
    for piece in pieces:
        check()
        yield piece


def _close(pieces: Iterator[FilePiece]) -> None:
    close = getattr(pieces, "close", None)
    if close is not None:
        close()


def _stand_on(directory: GuestDirectory, base: Base | None) -> None:
    """Has the root disk that came stand on the image as it is here, or on what came with it."""
    if not directory.root_disk.exists():
        return
    own = directory.path / travel.BASE
    if base is not None:
        qemu_img.rebase(directory.root_disk, base.path, base.format)
    elif own.exists():
        qemu_img.rebase(directory.root_disk, own, _format(own))


def _own_base(directory: GuestDirectory) -> Base | None:
    """A root disk that came is one even where its image is gone."""
    if not directory.root_disk.exists():
        return None
    size = int(qemu_img.info(directory.root_disk, "qcow2")["virtual-size"])
    own = directory.path / travel.BASE
    return Base("", own, _format(own) if own.exists() else "raw", size)


def _format(path: Any) -> str:
    with path.open("rb") as file:
        return "qcow2" if file.read(4) == b"QFI\xfb" else "raw"


def _grow(directory: GuestDirectory, spec: GuestSpec) -> None:
    """Disks of a larger flavor; none is ever made smaller. Swap holds nothing worth keeping."""
    if directory.root_disk.exists():
        size = int(qemu_img.info(directory.root_disk, "qcow2")["virtual-size"])
        if spec.root_gb * _GIB > size:
            qemu_img.resize(directory.root_disk, "qcow2", spec.root_gb * _GIB)
    if directory.ephemeral.exists() and directory.ephemeral.stat().st_size < spec.ephemeral_gb * _GIB:
        with directory.ephemeral.open("r+b") as file:
            file.truncate(spec.ephemeral_gb * _GIB)
    if directory.swap.exists() and directory.swap.stat().st_size != spec.swap_mb << 20:
        directory.swap.unlink()


def _size(path: Any) -> int:
    """Bytes as the guest sees them."""
    if path.name == "disk":
        return int(qemu_img.info(path, "qcow2")["virtual-size"])
    return int(path.stat().st_size)


def _empty(directory: GuestDirectory, sizes: dict[str, int], base: Base | None) -> None:
    """Disks that the migration fills."""
    for name, size in sizes.items():
        path = directory.path / name
        path.unlink(missing_ok=True)
        if name == "disk" and base is not None:
            qemu_img.overlay(base.path, base.format, path, size)
        else:
            with path.open("wb") as file:
                file.truncate(size)
        path.chmod(0o600)


def _flags(ticket: dict[str, Any]) -> int:
    flags: int = (
        libvirt.VIR_MIGRATE_LIVE
        | libvirt.VIR_MIGRATE_PEER2PEER
        | libvirt.VIR_MIGRATE_PERSIST_DEST
        | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    )
    return (
        flags | libvirt.VIR_MIGRATE_NON_SHARED_INC if ticket["copy"] else flags | libvirt.VIR_MIGRATE_UNSAFE
    )


def _parameters(ticket: dict[str, Any]) -> dict[str, Any]:
    parameters = {
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: ticket["definition"],
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: ticket["definition"],
    }
    if ticket.get("name"):
        parameters[libvirt.VIR_MIGRATE_PARAM_DEST_NAME] = ticket["name"]
    if ticket["address"]:
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{ticket['address']}"
        if ticket["copy"]:
            parameters[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = "0.0.0.0"  # noqa: S104 - of the destination
    return parameters


def _progress(stats: dict[str, Any]) -> LiveProgress:
    return LiveProgress(
        memory_total=int(stats.get("memory_total", 0)),
        memory_processed=int(stats.get("memory_processed", 0)),
        memory_remaining=int(stats.get("memory_remaining", 0)),
        disk_total=int(stats.get("disk_total", 0)),
        disk_processed=int(stats.get("disk_processed", 0)),
        disk_remaining=int(stats.get("disk_remaining", 0)),
    )
