"""What an image says of the machine it runs on: architecture, hypervisor, virtual machine mode, version.

A host of which nothing is known in some respect passes in it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping

from protonova.services.scheduler.filters.filter import Filter, each, everyone
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostRecord, HostTable, Mask

_ARCHITECTURES = {"amd64": "x86_64", "x86": "i686", "i386": "i686", "arm64": "aarch64", "x86-64": "x86_64"}
# One machine monitor under two names.
_SAME_HYPERVISOR = {"kvm": "qemu"}
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
    name = "ImagePropertiesFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        properties = request.image_properties
        architecture = _property(properties, "hw_architecture", "architecture")
        if not architecture and request.spec.image.id:
            architecture = self.conf.filter_scheduler.image_properties_default_architecture
        hypervisor = _property(properties, "img_hv_type", "hypervisor_type")
        mode = _property(properties, "hw_vm_mode", "vm_mode")
        version = _property(properties, "img_hv_requested_version", "hypervisor_version_requires")
        if not (architecture or hypervisor or mode or version):
            return everyone(hosts)
        machine = _machine(architecture)
        monitor = _monitor(hypervisor)

        def judge(record: HostRecord) -> bool:
            return (
                (not machine or not record.architecture or _machine(record.architecture) == machine)
                and (not monitor or not record.hypervisor_type or _monitor(record.hypervisor_type) == monitor)
                and (not mode or mode.lower() in _modes(record))
                and (not version or version_meets(record.hypervisor_version, version))
            )

        return each(hosts, judge)


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


def _modes(record: HostRecord) -> tuple[str, ...]:
    return {"lxc": ("exe",), "xen": ("xen", "hvm")}.get(record.hypervisor_type.lower(), ("hvm",))
