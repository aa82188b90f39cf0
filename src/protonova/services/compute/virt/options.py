"""Options of the virt drivers. Drivers get them as typed settings and never see the configuration."""

from __future__ import annotations

from oslo_config import cfg

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

FAKE: list[cfg.Opt] = [
    cfg.IntOpt("vcpus", default=64, min=1, help="CPUs of each fake host."),
    cfg.IntOpt("memory_mb", default=262144, min=1, help="Memory of each fake host, in MiB."),
    cfg.IntOpt("disk_gb", default=4096, min=0, help="Disk of each fake host, in GiB."),
    cfg.BoolOpt("enforce_capacity", default=True, help="Refuse guests that do not fit beside the others."),
    cfg.StrOpt(
        "store",
        default="",
        help="File the fake guests are kept in (default: below state_path). ':memory:' = not kept.",
    ),
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
    cfg.BoolOpt("vnc", default=True, help="Give guests a VNC screen on a loopback port."),
    cfg.StrOpt("vnc_listen", default="127.0.0.1", help="Address VNC screens listen on."),
    cfg.BoolOpt("force_raw_images", default=False, help="Keep images as raw files instead of qcow2."),
    cfg.IntOpt("image_max_gb", default=0, min=0, help="Largest image file that is fetched; 0 = any."),
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

GROUPS: dict[str, list[cfg.Opt]] = {"virt": COMMON, "fake": FAKE, "libvirt": LIBVIRT}


def register(conf: cfg.ConfigOpts) -> None:
    """Declare the groups on a configuration; a second time changes nothing."""
    for group, options in GROUPS.items():
        conf.register_opts(options, group=group)
