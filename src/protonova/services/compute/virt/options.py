"""Options of the virt drivers. Drivers get them as typed settings and never see the configuration."""

from __future__ import annotations

from oslo_config import cfg

from protonova.services.runtime.options import console

COMMON: list[cfg.Opt] = [
    cfg.FloatOpt(
        "cpu_allocation_ratio", default=4.0, min=0.0, help="Virtual CPUs sold for one physical CPU."
    ),
    cfg.FloatOpt("ram_allocation_ratio", default=1.0, min=0.0, help="Memory sold for the memory there is."),
    cfg.FloatOpt("disk_allocation_ratio", default=1.0, min=0.0, help="Disk sold for the disk there is."),
    cfg.IntOpt("reserved_host_cpus", default=0, min=0, help="CPUs kept for the host."),
    cfg.IntOpt("reserved_host_memory_mb", default=512, min=0, help="Memory kept for the host, in MiB."),
    cfg.IntOpt("reserved_host_disk_mb", default=0, min=0, help="Disk kept for the host, in MiB."),
]

CPUS: list[cfg.Opt] = [
    cfg.StrOpt(
        "cpu_shared_set",
        default="",
        help="CPUs that guests share, such as '0-3,^1'. Empty: all, or none where there are dedicated ones.",
    ),
    cfg.StrOpt(
        "cpu_dedicated_set",
        default="",
        help="CPUs that are given to one guest each; sold as PCPU. Empty: none.",
    ),
    cfg.MultiStrOpt(
        "reserved_huge_pages",
        default=[],
        help="Pages kept for the host: 'node:0,size:2048,count:64', size in KiB; once for each node and size.",
    ),
]

FAKE: list[cfg.Opt] = [
    cfg.IntOpt("vcpus", default=64, min=1, help="CPUs of each fake host."),
    cfg.IntOpt("memory_mb", default=262144, min=1, help="Memory of each fake host, in MiB."),
    cfg.IntOpt("disk_gb", default=4096, min=0, help="Disk of each fake host, in GiB."),
    cfg.IntOpt("numa_cells", default=1, min=1, help="NUMA cells of each fake host."),
    cfg.IntOpt("threads_per_core", default=1, min=1, help="Threads of each core of a fake host."),
    cfg.DictOpt(
        "huge_pages", default={}, help="Larger pages of each fake host: size in KiB and how many, '2048:512'."
    ),
    cfg.IntOpt(
        "sockets",
        default=0,
        min=0,
        help="Processor packages of each fake host, over which its cells are divided; 0 = one for each cell.",
    ),
    cfg.MultiStrOpt(
        "pci_devices",
        default=[],
        help="PCI devices of each fake host, as JSON: address, vendor_id, product_id, and if wanted type, "
        "numa_cell, parent, devname, count.",
    ),
    cfg.IntOpt("vgpus", default=0, min=0, help="Virtual GPUs of each fake host."),
    cfg.BoolOpt("enforce_capacity", default=True, help="Refuse guests that do not fit beside the others."),
    cfg.StrOpt(
        "store",
        default="",
        help="File the fake guests are kept in (default: below state_path). ':memory:' = not kept.",
    ),
    cfg.BoolOpt(
        "shared_storage",
        default=False,
        help="Whether fake hosts share their guests' disks: live migrations then copy none.",
    ),
    cfg.ListOpt(
        "share_protocols",
        default=["LOCAL", "NFS"],
        help="Protocols of shares that fake guests can have; empty = hosts that give their guests none.",
    ),
    cfg.DictOpt("metrics", default={}, help="What each fake host measures: cpu.percent:12.5,…"),
    cfg.StrOpt("faults", default="", help="JSON file with the fault plan, read again when it changes."),
]

LIBVIRT: list[cfg.Opt] = [
    cfg.StrOpt("uri", default="qemu:///system", help="Address of the libvirt daemon."),
    cfg.StrOpt(
        "virt_type",
        default="auto",
        choices=["auto", "kvm", "qemu"],
        help="Hardware virtualization, emulation, or the best that the host offers.",
    ),
    cfg.StrOpt(
        "instances_path", default="", help="Directory of images, disks and logs (default: below state_path)."
    ),
    cfg.StrOpt(
        "run_as",
        default="",
        help="User QEMU runs as ('+0:+0' = root). Default: libvirt's choice, or the owner of instances_path "
        "where that one cannot reach it.",
    ),
    cfg.StrOpt("cpu_model", default="", help="CPU model of guests (default: fastest that is sensible)."),
    cfg.StrOpt("machine_type", default="", help="Machine type of guests (default: chosen by virt_type)."),
    cfg.StrOpt("disk_cachemode", default="", help="Cache mode of local disks (default: by file system)."),
    cfg.BoolOpt("vnc", default=True, help="Give guests of this host a VNC screen, where [vnc] is enabled."),
    cfg.StrOpt(
        "vnc_listen", default="", help="Address VNC screens listen on (default: [vnc] server_listen)."
    ),
    cfg.IntOpt(
        "device_detach_attempts",
        default=8,
        min=1,
        help="How often a guest is asked to give a device back before that is told as failed.",
    ),
    cfg.IntOpt(
        "device_detach_timeout", default=20, min=1, help="Seconds a guest has for each of these attempts."
    ),
    cfg.IntOpt(
        "volume_swap_timeout", default=3600, min=1, help="Seconds copying a volume to another may take."
    ),
    cfg.IntOpt(
        "share_mount_timeout", default=30, min=1, help="Seconds mounting a share of a guest's may take."
    ),
    cfg.BoolOpt("force_raw_images", default=False, help="Keep images as raw files instead of qcow2."),
    cfg.IntOpt("image_max_gb", default=0, min=0, help="Largest image file that is fetched; 0 = any."),
    cfg.StrOpt(
        "live_migration_uri",
        default="qemu+tcp://{address}/system",
        help="Where libvirt daemons of other hosts reach this host's; {address} is the address below.",
    ),
    cfg.StrOpt(
        "live_migration_inbound_addr",
        default="",
        help="Address of this host that live migrations come in at (default: my_ip).",
    ),
    cfg.StrOpt("network", default="flat", choices=["flat", "none"], help="'flat': bridges and DHCP by us."),
    cfg.BoolOpt(
        "network_gateway",
        default=True,
        help="Put the subnet's gateway address on the bridge, so that guests and host reach each other. "
        "Off where a router of its own has that address.",
    ),
    cfg.BoolOpt(
        "network_metadata",
        default=False,
        help="Put 169.254.169.254 on the bridge and tell guests the way (with network_gateway only). "
        "The host itself then reaches no metadata service of the cloud it may live in.",
    ),
]

DEVICES: list[cfg.Opt] = [
    cfg.ListOpt(
        "enabled_mdev_types",
        default=[],
        help="Types of mediated devices that guests get as virtual GPUs, e.g. nvidia-35.",
    ),
]

GROUPS: dict[str, list[cfg.Opt]] = {
    "virt": COMMON,
    "compute": CPUS,
    "fake": FAKE,
    "libvirt": LIBVIRT,
    "devices": DEVICES,
    # Read by others too.
    **console.OPTIONS,
}


def register(conf: cfg.ConfigOpts) -> None:
    """Declare the groups on a configuration; a second time changes nothing."""
    for group, options in GROUPS.items():
        conf.register_opts(options, group=group)
