"""What an image says of the machine it runs on: architecture, hypervisor, virtual machine mode, version.

A host of which nothing is known in some respect passes in it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping

from protonova.services.scheduler.filters.compute_capabilities import address_bits
from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.hosts import HostKind
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask

_ARCHITECTURES = {"amd64": "x86_64", "x86": "i686", "i386": "i686", "arm64": "aarch64", "x86-64": "x86_64"}
# Of hosts that do not tell which guests they take: one machine monitor under two names, and the modes it has.
_SAME_HYPERVISOR = {"kvm": "qemu"}
_USUAL_MODES = {"lxc": ("exe",), "xen": ("xen", "hvm")}
_MODES = {"pv": "xen", "hv": "hvm", "baremetal": "hvm"}
_COMPARISONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
}
_PREDICATE = re.compile(r"\s*(<=|>=|==|!=|<|>|=)?\s*(\d+(?:\.\d+)*)\s*")


class ImagePropertiesFilter(Filter):
    """Some kind of guest that the host takes is of the architecture, hypervisor and VM mode the image asks for, the
    hypervisor's version meets the image's predicate, and addresses are as wide as it asks."""

    name = "ImagePropertiesFilter"
    rebuild = True

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        properties = request.image_properties
        architecture = _property(properties, "hw_architecture", "architecture")
        if not architecture and request.spec.image.id:
            architecture = self.conf.filter_scheduler.image_properties_default_architecture
        hypervisor = _property(properties, "img_hv_type", "hypervisor_type").lower()
        mode = _property(properties, "hw_vm_mode", "vm_mode").lower()
        version = _property(properties, "img_hv_requested_version", "hypervisor_version_requires")
        bits = properties.get("hw_maxphysaddr_bits", "")
        machine, mode = _machine(architecture), _MODES.get(mode, mode)
        mask = everyone(hosts)
        if machine or hypervisor or mode:
            mask &= hosts.by_kind(lambda kind: _takes(kind, machine, hypervisor, mode))
        if version:
            mask &= hosts.by_kind(lambda kind: version_meets(kind.hypervisor_version, version))
        if bits:
            mask &= address_bits(hosts, bits)
        return mask


def _takes(kind: HostKind, machine: str, hypervisor: str, mode: str) -> bool:
    if kind.guests:
        return any(
            machine in ("", _machine(guest[0]))
            and hypervisor in ("", guest[1].lower())
            and mode in ("", guest[2].lower())
            for guest in kind.guests
        )
    return (
        (not machine or not kind.architecture or _machine(kind.architecture) == machine)
        and (
            not hypervisor
            or not kind.hypervisor_type
            or _monitor(kind.hypervisor_type) == _monitor(hypervisor)
        )
        and (not mode or mode in _USUAL_MODES.get(kind.hypervisor_type.lower(), ("hvm",)))
    )


def version_meets(found: int, wanted: str) -> bool:
    """Whether a version, packed as a number (1002003 = 1.2.3), meets all predicates such as ">=1.2,<2"."""
    if not found:
        return True
    version = (found // 1_000_000, found // 1000 % 1000, found % 1000)
    for part in wanted.split(","):
        match = _PREDICATE.fullmatch(part)
        if match is None:
            return False
        asked = tuple(int(number) for number in match[2].split("."))[:3]
        asked += (0,) * (3 - len(asked))
        if not _COMPARISONS[match[1] or "=="](version, asked):
            return False
    return True


def _property(properties: Mapping[str, str], name: str, legacy: str) -> str:
    return properties.get(name) or properties.get(legacy, "")


def _machine(architecture: str) -> str:
    name = architecture.lower()
    return _ARCHITECTURES.get(name, name)


def _monitor(hypervisor: str) -> str:
    name = hypervisor.lower()
    return _SAME_HYPERVISOR.get(name, name)
