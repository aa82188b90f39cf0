"""Flavor extra specs that name an attribute of a host."""

from __future__ import annotations

from protonova.services.scheduler.filters import attributes
from protonova.services.scheduler.filters.attributes import ABSENT
from protonova.services.scheduler.filters.filter import Filter, everyone
from protonova.services.scheduler.filters.matching import matches
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable, Mask

_SCOPE = "capabilities"
_ADDRESS_BITS = "hw:maxphysaddr_bits"


class ComputeCapabilitiesFilter(Filter):
    """Every extra spec that names an attribute, plainly or as `capabilities:<attribute>[:<key>…]`, matches what the
    host has by the operator in its value. A plain one that is no attribute is somebody else's and passes; one in
    the scope must be there. Other scopes are not looked at, but for `hw:maxphysaddr_bits`: the host's addresses are
    at least that wide."""

    name = "ComputeCapabilitiesFilter"

    def passing(self, hosts: HostTable, request: Request) -> Mask:
        mask = everyone(hosts)
        for key, wanted in request.extra_specs.items():
            scope, *path = key.split(":")
            if key == _ADDRESS_BITS:
                mask &= address_bits(hosts, wanted)
            elif scope == _SCOPE and path:
                mask &= self._having(hosts, path, wanted, absent=False)
            elif not path:
                mask &= self._having(hosts, [key], wanted, absent=True)
        return mask

    def _having(self, hosts: HostTable, path: list[str], wanted: str, *, absent: bool) -> Mask:
        found = attributes.find(hosts, path)
        if found is None:
            return everyone(hosts) if absent else ~everyone(hosts)
        return found.judged(lambda value: absent if value is ABSENT else matches(value, wanted))


def address_bits(hosts: HostTable, wanted: str) -> Mask:
    """Hosts whose physical addresses can be that wide; none, for what is no number."""
    bits = int(wanted) if wanted.isdecimal() else None
    return hosts.by_kind(lambda kind: bits is not None and kind.address_bits >= bits)
