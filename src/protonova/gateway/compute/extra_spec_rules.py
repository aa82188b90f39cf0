"""What extra specs of flavors may say, from 2.86 on.

Within the namespaces listed here a key must be a known one and its value must fit; other namespaces, and keys
without one, belong to operators and hold whatever they like.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

# A rule tells what is wrong with a value; nothing for a good one.
Rule = Callable[[str], str | None]

_WORDS = frozenset(("1", "t", "true", "on", "y", "yes", "0", "f", "false", "off", "n", "no"))


def _any(_: str) -> str | None:
    return None


def _boolean(value: str) -> str | None:
    return None if value.lower() in _WORDS else "is not a boolean"


def _one_of(*values: str) -> Rule:
    return lambda value: None if value in values else f"is not one of {', '.join(values)}"


def _like(pattern: str) -> Rule:
    compiled = re.compile(pattern)
    return lambda value: None if compiled.fullmatch(value) else f"does not match {pattern}"


def _integer(least: int | None = None, most: int | None = None) -> Rule:
    def check(value: str) -> str | None:
        try:
            number = int(value)
        except ValueError:
            return "is not an integer"
        if least is not None and number < least:
            return f"is less than {least}"
        if most is not None and number > most:
            return f"is greater than {most}"
        return None

    return check


_CPUS = r"\^?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*"
_AMOUNT = _integer(0)
_SHARES = _one_of("custom", "high", "normal", "low")

# Namespace → key → rule.
KEYS: dict[str, dict[str, Rule]] = {
    "accel": {"device_profile": _any},
    "hw": {
        **dict.fromkeys(
            (
                "cpu_realtime",
                "hide_hypervisor_id",
                "locked_memory",
                "boot_menu",
                "vif_multiqueue_enabled",
                "mem_encryption",
                "pmu",
                "virtio_packed_ring",
                "ephemeral_encryption",
            ),
            _boolean,
        ),
        **dict.fromkeys(
            (
                "numa_nodes",
                "cpu_sockets",
                "cpu_cores",
                "cpu_threads",
                "cpu_max_sockets",
                "cpu_max_cores",
                "cpu_max_threads",
                "maxphysaddr_bits",
            ),
            _integer(1),
        ),
        "cpu_realtime_mask": _like(r"(\^)?\d+((-\d+)?(,\^?\d+(-\d+)?)?)*"),
        "cpu_policy": _one_of("dedicated", "shared", "mixed"),
        "cpu_thread_policy": _one_of("prefer", "isolate", "require"),
        "emulator_threads_policy": _one_of("isolate", "share"),
        "cpu_dedicated_mask": _like(_CPUS),
        "mem_page_size": _like(r"(large|small|any|\d+([kKMGT]i?)?(b|bit|B)?)"),
        "pci_numa_affinity_policy": _one_of("required", "preferred", "legacy", "socket"),
        "mem_encryption_model": _one_of("amd-sev", "amd-sev-es", "amd-sev-snp"),
        "pmem": _like(r"([a-zA-Z0-9_]+(,)?)+"),
        "serial_port_count": _AMOUNT,
        "tpm_model": _one_of("tpm-tis", "tpm-crb"),
        "tpm_version": _one_of("1.2", "2.0"),
        "tpm_secret_security": _one_of("user", "host", "deployment"),
        "watchdog_action": _one_of("none", "pause", "poweroff", "reset", "disabled"),
        "viommu_model": _one_of("intel", "smmuv3", "virtio", "auto"),
        "sound_model": _one_of("sb16", "es1370", "pcspk", "ac97", "ich6", "ich9", "usb", "virtio"),
        "usb_model": _one_of("none", "nec-xhci", "qemu-xhci"),
        "redirected_usb_ports": _integer(0, 15),
        "ephemeral_encryption_format": _one_of("plain", "luks", "luksv2"),
        "maxphysaddr_mode": _one_of("passthrough", "emulate"),
    },
    "hw_rng": {"allowed": _boolean, "rate_bytes": _AMOUNT, "rate_period": _AMOUNT},
    "hw_video": {"ram_max_mb": _AMOUNT},
    "os": {"secure_boot": _one_of("disabled", "required")},
    "pci_passthrough": {"alias": _like(r"[^:]+:\d+(?:\s*,\s*[^:]+:\d+)*")},
    "quota": {
        **{
            f"{what}_{tail}": rule
            for what in ("cpu", "memory", "disk_io", "vif")
            for tail, rule in (
                ("limit", _AMOUNT),
                ("reservation", _integer()),
                ("shares_level", _SHARES),
                ("shares_share", _AMOUNT),
            )
        },
        **{
            f"disk_{way}_{unit}_sec": _AMOUNT
            for way in ("read", "write", "total")
            for unit in ("bytes", "iops")
        },
        **{
            f"vif_{way}_{tail}": _AMOUNT
            for way in ("inbound", "outbound")
            for tail in ("average", "peak", "burst")
        },
        "cpu_shares": _AMOUNT,
        "cpu_period": _AMOUNT,
        "cpu_quota": _integer(),
    },
    "vmware": {"hw_version": _any, "storage_policy": _any},
}
# Keys with numbers in them.
NUMBERED: tuple[tuple[re.Pattern[str], Rule], ...] = (
    (re.compile(r"hw:numa_cpus\.\d+"), _like(_CPUS)),
    (re.compile(r"hw:numa_mem\.\d+"), _integer(1)),
)
# Keys without a namespace that mean something.
BARE: dict[str, Rule] = {"hide_hypervisor_id": _boolean, "group_policy": _one_of("isolate", "none")}

_CAPABILITIES = frozenset(
    (
        "id", "uuid", "service_id", "host", "vcpus", "memory_mb", "local_gb", "vcpus_used", "memory_mb_used",
        "local_gb_used", "hypervisor_type", "hypervisor_version", "hypervisor_hostname", "free_ram_mb",
        "free_disk_gb", "current_workload", "running_vms", "disk_available_least", "host_ip", "mapped",
        "cpu_allocation_ratio", "ram_allocation_ratio", "disk_allocation_ratio", "total_usable_ram_mb",
        "total_usable_disk_gb", "disk_mb_used", "free_disk_mb", "vcpus_total", "num_instances",
        "num_io_ops", "failed_builds", "aggregates", "cell_uuid", "updated",
    )
)  # fmt: skip
_CAPABILITIES_WITH_PARTS = frozenset(
    (
        "cpu_info", "metrics", "stats", "numa_topology", "supported_hv_specs", "pci_device_pools", "nodename",
        "pci_stats", "supported_instances", "limits", "instances",
    )
)  # fmt: skip
_GROUPED = re.compile(r"(resources|trait)([a-zA-Z0-9_-]{1,64})?:(.*)")
_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+")


@functools.cache
def _standard(kind: str) -> frozenset[str]:
    # Both libraries are slow to load and seldom asked.
    import os_resource_classes
    import os_traits

    return frozenset(os_resource_classes.STANDARDS if kind == "resources" else os_traits.get_traits())


def refusal(key: str, value: str) -> str | None:
    """What is wrong with an extra spec; nothing when it is good."""
    rule = _rule(key)
    if rule is None:
        return f"The extra spec '{key}' is not known."
    wrong = rule(value)
    return f"The extra spec '{key}': '{value}' {wrong}." if wrong else None


def _rule(key: str) -> Rule | None:
    if ":" not in key:
        return BARE.get(key, _any)
    for pattern, rule in NUMBERED:
        if pattern.fullmatch(key):
            return rule
    grouped = _GROUPED.fullmatch(key)
    if grouped:
        return _grouped(grouped[1], grouped[3])
    namespace, _, name = key.partition(":")
    if namespace == "aggregate_instance_extra_specs":
        return _any if name else None
    if namespace == "capabilities":
        first, *parts = name.split(":")
        known = first in _CAPABILITIES_WITH_PARTS or (first in _CAPABILITIES and not parts)
        return _any if known else None
    if namespace in KEYS:
        return KEYS[namespace].get(name)
    return _any


def _grouped(kind: str, name: str) -> Rule | None:
    if name not in _standard(kind) and _CUSTOM.fullmatch(name) is None:
        return None
    return _AMOUNT if kind == "resources" else _one_of("required", "forbidden")
