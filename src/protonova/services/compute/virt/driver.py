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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

__all__ = [
    "Driver",
    "FixedIP",
    "GuestEvent",
    "GuestEventKind",
    "GuestSpec",
    "GuestState",
    "HostInventory",
    "ImageFetch",
    "ImageSource",
    "NicSpec",
    "PowerState",
    "Progress",
    "VolumeDisk",
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
    config_drive: bool = False
    documents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Metadata by path on the config drive ("openstack/latest/meta_data.json"). The caller writes them;
    a driver only stores them."""
    user_data: bytes = field(default=b"", repr=False)
    key_name: str = ""
    public_key: str = ""
    admin_password: str = field(default="", repr=False)

    @property
    def disk_gb(self) -> int:
        """Local disk the guest takes from the host's inventory."""
        return self.root_gb + self.ephemeral_gb + -(-self.swap_mb // 1024)


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


EventCallback = Callable[[GuestEvent], None]


@dataclass(frozen=True)
class HostInventory:
    """What this host can give to guests. `reserved_*` is kept for the host itself, already counted in."""

    hostname: str
    hypervisor_type: str  # "QEMU", "fake"
    hypervisor_version: int  # 7002000 = 7.2.0
    vcpus: int
    memory_mb: int
    disk_gb: int
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


class Driver(abc.ABC):
    """One hypervisor host."""

    host: str

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
        with timeout 0) it is switched off at once."""

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
    def inventory(self) -> HostInventory:
        """What the host has. Cheap enough to be asked every minute."""

    @abc.abstractmethod
    def events(self, callback: EventCallback) -> Callable[[], None]:
        """Have the callback called, from a thread of the driver, for each change; returns what ends that."""

    @abc.abstractmethod
    def close(self) -> None:
        """Let go of the hypervisor. Guests run on."""

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[GuestState]:
        return iter(self.guests())
