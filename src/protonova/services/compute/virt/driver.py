"""The door to a hypervisor: what the compute agent may ask of it, and the words both use.

The hypervisor owns the truth about guests; a driver holds no other. One `Driver` serves one host. Every
method that changes something looks first and then acts, so each can be repeated after a crash at any point
and ends in the same place. Whether a request is still wanted (fencing, journals, operations) is the caller's
business; a driver only sees to it that calls for the same guest run one after another and that a `destroy`
takes back a `spawn` of the same guest that still runs.

Methods may be called from many threads. They raise the errors of `virt.errors` only.
"""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO, Protocol

from protonova.common.v1.diagnostics_pb2 import ServerDiagnostics
from protonova.common.v1.numa_pb2 import GuestTopology, HostTopology
from protonova.common.v1.pci_pb2 import PciDevice
from protonova.services.pci.devices import Device

__all__ = [
    "ConsoleAddress",
    "ConsoleKind",
    "Driver",
    "FilePiece",
    "FilePieces",
    "FixedIP",
    "GuestEvent",
    "GuestEventKind",
    "GuestSpec",
    "GuestState",
    "HostInventory",
    "ImageFetch",
    "ImageSource",
    "LiveProgress",
    "NicSpec",
    "PowerState",
    "Progress",
    "ShareMount",
    "SnapshotFile",
    "Storage",
    "VolumeDisk",
    "VolumeUsage",
    "never",
    "quiet",
]

Progress = Callable[[int, str], None]
"""Told how far a long call is: percent (0 to 100, never falling) and a few words."""

Cancelled = Callable[[], bool]
"""Asked now and then during a long call; True makes it stop with `errors.Cancelled`."""


def quiet(percent: int, text: str) -> None:
    """A `Progress` nobody listens to."""


def never() -> bool:
    """A `Cancelled` that lets every call finish."""
    return False


class ImageFetch(Protocol):
    """Writes the bytes of an image as the image service holds them. Given to a driver by its agent."""

    def __call__(self, image_id: str, writer: BinaryIO) -> None: ...


class PowerState(enum.IntEnum):
    """Numbers as the API shows them."""

    NOSTATE = 0
    RUNNING = 1
    PAUSED = 3
    SHUTDOWN = 4
    CRASHED = 6
    SUSPENDED = 7


@dataclass(frozen=True)
class ImageSource:
    """The image a root disk is made from, as its record in the image service says."""

    id: str
    disk_format: str
    container_format: str = "bare"
    size: int = 0  # bytes of the file; 0 = unknown
    checksum: str = ""  # MD5, hexadecimal; empty = not recorded
    hash_algo: str = ""  # name of the stronger digest ("sha512")
    hash_value: str = ""
    min_disk: int = 0  # GiB
    min_ram: int = 0  # MiB
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FixedIP:
    """An address of a port, with what DHCP has to tell the guest about its subnet."""

    address: str
    cidr: str = ""  # "10.0.0.0/24"
    gateway: str = ""
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()  # (destination, next hop)
    dhcp: bool = True


@dataclass(frozen=True)
class NicSpec:
    """One port, bound to this host."""

    port_id: str
    mac: str
    network_id: str
    bridge: str = ""
    mtu: int = 1500
    fixed_ips: tuple[FixedIP, ...] = ()
    vnic_type: str = "normal"
    model: str = ""  # empty: image property hw_vif_model or the driver's choice


@dataclass(frozen=True)
class VolumeDisk:
    """A volume to be attached, with the connection the volume service gave for this host."""

    volume_id: str
    connection: Mapping[str, Any]  # {"driver_volume_type": …, "data": {…}}
    boot_index: int | None = None
    device_name: str = ""  # "/dev/vdb"; empty = next free
    disk_bus: str = ""
    device_type: str = "disk"
    attachment_id: str = ""
    read_only: bool = False


@dataclass(frozen=True)
class ShareMount:
    """A share that a guest has whenever it runs."""

    share_id: str
    tag: str  # at most 36 bytes, by which the guest mounts it
    protocol: str  # "NFS"
    export_location: str  # "10.0.0.1:/shares/a"


@dataclass(frozen=True)
class GuestSpec:
    """All a host has to know to run a guest."""

    server_id: str
    name: str  # name at the hypervisor ("instance-0000002a")
    project_id: str = ""
    user_id: str = ""
    display_name: str = ""
    hostname: str = ""
    vcpus: int = 1
    memory_mb: int = 512
    root_gb: int = 0  # 0 = as large as the image
    ephemeral_gb: int = 0
    swap_mb: int = 0
    flavor_name: str = ""
    extra_specs: Mapping[str, str] = field(default_factory=dict)
    image: ImageSource | None = None  # None = boots from a volume
    nics: tuple[NicSpec, ...] = ()
    disks: tuple[VolumeDisk, ...] = ()
    shares: tuple[ShareMount, ...] = ()
    config_drive: bool = False
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Metadata by path on the config drive ("openstack/latest/meta_data.json"). The caller writes them;
    a driver only stores them."""
    user_data: bytes = field(default=b"", repr=False)
    key_name: str = ""
    public_key: str = ""
    admin_password: str = field(default="", repr=False)
    numa: GuestTopology | None = None
    """Where its NUMA cells lie on this host and its CPUs are pinned; None = wherever the host likes."""
    devices: tuple[PciDevice, ...] = ()
    """PCI devices of this host that are the guest's alone."""

    @property
    def disk_gb(self) -> int:
        """Local disk the guest takes from the host's inventory."""
        return self.root_gb + self.ephemeral_gb + -(-self.swap_mb // 1024)


@dataclass(frozen=True)
class SnapshotFile:
    """A copy of a root disk, open at its beginning."""

    file: BinaryIO
    disk_format: str  # as the image service calls it
    size: int  # bytes


@dataclass(frozen=True)
class GuestState:
    """What the hypervisor says about one guest of ours."""

    server_id: str
    name: str
    power_state: PowerState
    vcpus: int = 0
    memory_mb: int = 0
    root_device: str = ""  # "/dev/vda"; told by `spawn`, empty elsewhere


class GuestEventKind(enum.Enum):
    STARTED = "started"
    STOPPED = "stopped"  # the guest switched itself off, or somebody did at the hypervisor
    CRASHED = "crashed"
    PAUSED = "paused"
    RESUMED = "resumed"
    SUSPENDED = "suspended"
    DELETED = "deleted"  # gone from the hypervisor
    RESYNC = "resync"  # events may have been missed: compare `guests()` (server_id is empty)


@dataclass(frozen=True)
class GuestEvent:
    """A change seen at the hypervisor, wanted or not. Events of one guest arrive in order."""

    kind: GuestEventKind
    server_id: str
    power_state: PowerState = PowerState.NOSTATE


class ConsoleKind(enum.Enum):
    VNC = "vnc"
    SPICE = "spice"
    SERIAL = "serial"


@dataclass(frozen=True)
class ConsoleAddress:
    """Where a console is reached; 0 = on no such port."""

    host: str
    port: int = 0
    tls_port: int = 0


EventCallback = Callable[[GuestEvent], None]


@dataclass(frozen=True)
class HostInventory:
    """What this host can give to guests. `reserved_*` is kept for the host itself, already counted in. `vcpus` are
    shared by guests, `dedicated_cpus` are given to one each."""

    hostname: str
    hypervisor_type: str  # "QEMU", "fake"
    hypervisor_version: int  # 7002000 = 7.2.0
    vcpus: int
    memory_mb: int
    disk_gb: int
    dedicated_cpus: int = 0
    vgpus: int = 0
    reserved_vcpus: int = 0
    reserved_memory_mb: int = 0
    reserved_disk_gb: int = 0
    cpu_allocation_ratio: float = 4.0
    memory_allocation_ratio: float = 1.0
    disk_allocation_ratio: float = 1.0
    free_disk_gb: int = 0
    host_ip: str = ""
    architecture: str = "x86_64"
    cpu_info: Mapping[str, Any] = field(default_factory=dict)
    traits: frozenset[str] = frozenset()
    supported_instances: tuple[tuple[str, str, str], ...] = ()  # (architecture, hypervisor, VM mode)
    booted_at: datetime | None = None  # when the host was started, by its own clock; None = unknown
    share_protocols: tuple[str, ...] = ()  # of shares that guests can have; none = the host gives them none


@dataclass(frozen=True)
class FilePiece:
    """A part of a file of a guest that goes to another host. Pieces of one file follow each other; what lies
    between two is zeros."""

    name: str  # within the guest's directory
    size: int  # bytes of the whole file
    offset: int
    data: bytes


FilePieces = Callable[[], Iterator[FilePiece]]
"""Begins to read all files of a guest at another host; each call reads them anew. Raises `SourceUnavailable`."""


@dataclass(frozen=True)
class LiveProgress:
    """How far a live migration is, in bytes; 0 = not known."""

    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0


@dataclass(frozen=True)
class VolumeUsage:
    """What a guest has asked of a volume since it was started."""

    server_id: str
    volume_id: str
    read_requests: int = 0
    read_bytes: int = 0
    write_requests: int = 0
    write_bytes: int = 0


class Storage(enum.Enum):
    """How the local disks of a guest get to the destination of a live migration."""

    AS_IT_IS = "as it is"  # copied unless both hosts share them
    COPIED = "copied"
    SHARED = "shared"


class Driver(abc.ABC):
    """One hypervisor host."""

    host: str

    def identify(self, marks: Sequence[str]) -> None:
        """Who this host is: guests are marked with the last of these from now on, and those that carry any of them
        are this driver's. Of no concern to a driver whose guests can be nobody else's."""
        return

    @abc.abstractmethod
    def spawn(
        self,
        spec: GuestSpec,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        """Make the guest and start it. A guest that already runs is left alone; one that was half made is
        made whole. After an error what is there remains until `destroy` or another `spawn`."""

    @abc.abstractmethod
    def destroy(self, server_id: str) -> None:
        """Stop the guest by force and remove everything it has on this host: definition, disks, config
        drive, logs, network leases. A guest that is not there is fine. Stops a running `spawn` of it."""

    @abc.abstractmethod
    def power_on(self, server_id: str, spec: GuestSpec | None = None) -> GuestState:
        """Start the guest if it does not run; with a spec, with the devices that spec describes."""

    @abc.abstractmethod
    def power_off(self, server_id: str, timeout: float = 60.0, graceful: bool = True) -> GuestState:
        """Ask the guest to shut down for up to `timeout` seconds, then switch it off. Without `graceful` (or
        with timeout 0) it is switched off at once. The saved memory of a suspended guest is thrown away."""

    @abc.abstractmethod
    def reboot(
        self, server_id: str, hard: bool, timeout: float = 60.0, spec: GuestSpec | None = None
    ) -> GuestState:
        """Soft: ask the guest, return once it has gone down and up again, else `GuestUnresponsive` after
        `timeout` seconds (falling back to hard is the caller's decision). Hard: switch off, define anew
        (from the spec when given), start; brings up a guest that was off or crashed as well."""

    @abc.abstractmethod
    def console_output(self, server_id: str, max_bytes: int = 102400) -> bytes:
        """The end of what the guest wrote to its serial console since it was last started by us."""

    @abc.abstractmethod
    def guests(self) -> list[GuestState]:
        """All guests on this host that this driver made. Guests of others are neither seen nor touched."""

    @abc.abstractmethod
    def guest(self, server_id: str) -> GuestState:
        """One guest, or `GuestNotFound`."""

    @abc.abstractmethod
    def prefetch_image(self, image: ImageSource, cancelled: Cancelled = never) -> bool:
        """Have an image on this host so that a `spawn` from it need not fetch it; whether it was there
        before."""

    def forget_images(self, unused_seconds: float) -> int:
        """Remove images that no guest here needs and that nobody asked for within so many seconds; how many went.
        None where the driver keeps none."""
        return 0

    @abc.abstractmethod
    def snapshot(self, server_id: str, snapshot_id: str, cancelled: Cancelled = never) -> None:
        """Copy the guest's root disk as it is at one moment, and keep the copy beside the guest under this id. A
        copy that is there already is left alone. A running guest runs on."""

    @abc.abstractmethod
    def open_snapshot(self, server_id: str, snapshot_id: str) -> SnapshotFile:
        """The copy, to be read and closed; raises `SnapshotNotFound`."""

    @abc.abstractmethod
    def drop_snapshot(self, server_id: str, snapshot_id: str) -> None:
        """Remove the copy; one that is not there is fine."""

    @abc.abstractmethod
    def inventory(self) -> HostInventory:
        """What the host has. Cheap enough to be asked every minute."""

    def metrics(self) -> Mapping[str, float]:
        """What the host measures of itself, by name; `cpu.*.percent` since it was asked last. Nothing where the
        driver cannot tell."""
        return {}

    def volume_usage(self) -> Sequence[VolumeUsage]:
        """What running guests have read from their volumes and written to them; nothing where the driver cannot
        tell."""
        return ()

    @abc.abstractmethod
    def topology(self) -> HostTopology | None:
        """The NUMA cells of the host, without what guests hold of them; None when it tells of none."""

    @abc.abstractmethod
    def topologies(self) -> Mapping[str, GuestTopology]:
        """By server id what was given to the guests here that have a topology: kept with them from the first
        moment of a `spawn`, whatever becomes of it, until they are destroyed."""

    @abc.abstractmethod
    def pci_devices(self) -> Sequence[Device]:
        """All PCI devices of the host, whoever has them; none where the driver cannot tell."""

    @abc.abstractmethod
    def devices_held(self) -> Mapping[str, Sequence[PciDevice]]:
        """By server id the PCI devices that were given to the guests here; kept as their topologies are."""

    @abc.abstractmethod
    def events(self, callback: EventCallback) -> Callable[[], None]:
        """Have the callback called, from a thread of the driver, for each change; returns what ends that."""

    # -- guests that go from host to host ----------------------------------------------------------------------

    @abc.abstractmethod
    def check_receive(self, spec: GuestSpec, disks_are_there: bool | None = None) -> None:
        """Whether this host would take the guest, and (unless None) whether its local disks are here already,
        because hosts share them; `HostRefuses` where not. Changes nothing."""

    @abc.abstractmethod
    def set_aside(self, server_id: str, label: str, timeout: float = 60.0) -> None:
        """Switch the guest off (after asking it for up to `timeout` seconds) and set aside under a label all it
        has: to the hypervisor, and to every other call, it is not here any more. A guest that is set aside under
        the label already, and not here, is fine; one that was never here is `GuestNotFound`. What it was given
        of the host's CPUs and pages stays its own."""

    @abc.abstractmethod
    def take_back(
        self, server_id: str, label: str, spec: GuestSpec | None = None, start: bool = True
    ) -> GuestState:
        """Put back what was set aside under a label, with the devices that the spec describes, and start it or
        leave it off. A guest that is here and was not set aside is only started, if that is wanted."""

    @abc.abstractmethod
    def discard(self, server_id: str, label: str = "") -> None:
        """Remove what was set aside of a guest under a label, or (empty) under any. Nothing there is fine."""

    @abc.abstractmethod
    def asides(self) -> list[tuple[str, str]]:
        """(server id, label) of everything that is set aside here."""

    @abc.abstractmethod
    def aside_files(self, server_id: str, label: str) -> Iterator[FilePiece]:
        """All that another host needs to make the guest that was set aside, or `GuestNotFound`."""

    @abc.abstractmethod
    def receive(
        self,
        spec: GuestSpec,
        files: FilePieces,
        start: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        """Make the guest of files that another host has set aside, its disks grown to what the spec says, and start
        it or leave it off. As with `spawn`, a guest that is here whole is left alone."""

    @abc.abstractmethod
    def live_facts(self, server_id: str) -> bytes:
        """What a destination's driver has to know of a running guest to say whether it can take it over."""

    @abc.abstractmethod
    def live_prepare(
        self, spec: GuestSpec, source_host: str, storage: Storage, facts: bytes, check_only: bool = False
    ) -> bytes:
        """Ready this host to take over a running guest, or only check whether it could. What is answered is for
        the source's driver. `MigrationImpossible` where it cannot. `destroy` takes it back."""

    @abc.abstractmethod
    def live_migrate(
        self, spec: GuestSpec, destination_host: str, ticket: bytes, told: Callable[[LiveProgress], None]
    ) -> None:
        """Move a running guest; returns when it runs at its destination. A call for a guest that is being moved
        joins in, and one for a guest that has been moved returns at once. `MigrationAborted` and
        `MigrationFailed` leave the guest running here. What remains here afterwards goes with `destroy`."""

    @abc.abstractmethod
    def live_abort(self, server_id: str) -> None:
        """End a live migration of a guest from here; none is fine."""

    @abc.abstractmethod
    def live_force(self, server_id: str) -> None:
        """Make a live migration of a guest from here finish, at the cost of a pause; none is fine."""

    @abc.abstractmethod
    def live_finish(self, spec: GuestSpec) -> GuestState:
        """The guest that has come here runs: keep it for good. `GuestNotFound` where none has come."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the hypervisor. Guests run on."""

    # -- states of a guest that stays where it is ------------------------------------------------------------

    @abc.abstractmethod
    def pause(self, server_id: str) -> GuestState:
        """Have the guest stand still in memory. One that does not run is `GuestInWrongState`."""

    @abc.abstractmethod
    def unpause(self, server_id: str) -> GuestState:
        """Let a paused guest go on. One that neither runs nor is paused is `GuestInWrongState`."""

    @abc.abstractmethod
    def suspend(self, server_id: str) -> GuestState:
        """Write the guest's memory to this host's disk and stop it. One that is off is `GuestInWrongState`."""

    @abc.abstractmethod
    def resume(self, server_id: str) -> GuestState:
        """Let a suspended guest go on where it was; one that is off otherwise is started."""

    @abc.abstractmethod
    def trigger_crash_dump(self, server_id: str) -> GuestState:
        """Send the guest a non-maskable interrupt. One that does not run is `GuestInWrongState`."""

    @abc.abstractmethod
    def diagnostics(self, server_id: str) -> ServerDiagnostics:
        """What the hypervisor measures of a guest. One that does not run is `GuestInWrongState`."""

    @abc.abstractmethod
    def set_password(self, server_id: str, password: str, user: str = "") -> GuestState:
        """Have the guest's agent set a password: of `user`, or of the administrator of the guest's system.
        Raises `GuestAgentRefuses`, `Unsupported`, and `GuestInWrongState` for a guest that does not run."""

    @abc.abstractmethod
    def rescue(
        self, spec: GuestSpec, image: ImageSource, progress: Progress = quiet, cancelled: Cancelled = never
    ) -> GuestState:
        """Boot the guest from a fresh disk made of `image`, beside its own disks. These keep their places when the
        image says on which bus, or as what device, the rescue disk goes; otherwise they follow it. The spec's
        documents go on the config drive while it lasts. A guest that is rescued already is left alone."""

    @abc.abstractmethod
    def unrescue(self, server_id: str, *, start: bool = True) -> GuestState:
        """End a rescue and remove what it made. With `start` the guest boots as it was before, if it does not run
        so already; without, one that was rescued is off."""

    @abc.abstractmethod
    def rebuild(
        self,
        spec: GuestSpec,
        token: str,
        *,
        preserve_ephemeral: bool = False,
        start: bool = True,
        progress: Progress = quiet,
        cancelled: Cancelled = never,
    ) -> GuestState:
        """Make the guest's disks anew, as the spec describes it, and start it or leave it off. Disks are made once
        for a token: a repeat with the same one makes whole what is half made and wipes nothing."""

    # -- what is plugged into guests: running ones at once, and all of them for their next start ---------------

    @abc.abstractmethod
    def attach_volume(self, server_id: str, volume: VolumeDisk) -> str:
        """Plug a volume in, under the name it wishes where that is free; returns its name ("/dev/vdb"). One that
        is plugged in stays as it is."""

    @abc.abstractmethod
    def detach_volume(self, server_id: str, volume_id: str) -> None:
        """Take a volume out; one that is not there is fine. `DeviceDetachFailed` when the guest holds on to it."""

    @abc.abstractmethod
    def swap_volume(self, server_id: str, volume_id: str, new: VolumeDisk) -> None:
        """Copy a volume of a running guest to another one, which then takes its place under its name, and may have
        its id. When the new one is in its place already there is nothing to do."""

    @abc.abstractmethod
    def extend_volume(self, server_id: str, volume_id: str, size_gb: int) -> None:
        """Let the guest see that a volume has grown."""

    @abc.abstractmethod
    def snapshot_volume(self, server_id: str, volume_id: str, new_file: str) -> Mapping[str, Any]:
        """Have a running guest write to a new file, which is there beside the volume's own and stands on it.
        Returns how the volume is connected to from now on; empty = as before. A guest that writes there already is
        left alone. `GuestInWrongState` where it does not run, `VolumeUnacceptable` where the volume is no file."""

    @abc.abstractmethod
    def merge_volume(
        self, server_id: str, volume_id: str, file_to_merge: str, merge_target_file: str
    ) -> None:
        """Merge files that a volume of a running guest stands on. Without a target, what lies above `file_to_merge`
        (all, if that is empty) goes up into the file the guest writes to; with one, `file_to_merge` and what lies
        between goes down into the target. What is merged already is fine. `VolumeMergeFailed` otherwise."""

    @abc.abstractmethod
    def attach_interface(self, server_id: str, nic: NicSpec) -> None:
        """Plug a port in; one that is plugged in learns its addresses anew."""

    @abc.abstractmethod
    def detach_interface(self, server_id: str, port_id: str) -> None:
        """Take a port out; one that is not there is fine. `DeviceDetachFailed` when the guest holds on to it."""

    @abc.abstractmethod
    def attach_share(self, server_id: str, share: ShareMount) -> None:
        """Have a guest that is off start with a share from now on. Each start mounts it here, and is
        `ShareUnavailable` where that fails. A guest that runs without it is `GuestInWrongState`."""

    @abc.abstractmethod
    def detach_share(self, server_id: str, share_id: str) -> None:
        """Have it start without, and unmount it here; one that is not there is fine. A guest that runs with it is
        `GuestInWrongState`."""

    # -- consoles -------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def console(self, server_id: str, kind: ConsoleKind) -> ConsoleAddress:
        """Where a running guest shows itself; `ConsoleTypeUnavailable` where it does not do so this way."""

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[GuestState]:
        return iter(self.guests())
