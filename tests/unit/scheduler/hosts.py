"""A view of hosts made by hand, and what one filter or weigher says of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from protonova.services.runtime import config
from protonova.services.scheduler import filters, weighers
from protonova.services.scheduler.aggregates import Aggregate
from protonova.services.scheduler.filters.filter import Filter
from protonova.services.scheduler.hosts import HostKind, HostLoad, HostRecord
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.table import HostTable
from protonova.services.scheduler.view import HostView
from tests.functional.scheduler.region import spec

KINDS = ("hypervisor_type", "hypervisor_version", "architecture", "cpu_info", "disk_formats", "guests")
LOADS = ("servers", "io_operations", "failed_builds", "flavors", "image_properties")


class Rack:
    """Hosts by name, each told by its fields: of a record, its kind and its load; `free` and `taken` by resource
    class."""

    def __init__(
        self, hosts: Mapping[str, Mapping[str, Any]], aggregates: Mapping[str, Any] | None = None
    ) -> None:
        self.view = HostView()
        self.names = list(hosts)
        for name, given in hosts.items():
            fields = {"cell_id": "cell-1", "node": name, **given}
            kind = HostKind(**{key: fields.pop(key) for key in KINDS if key in fields})
            load = HostLoad(**{key: fields.pop(key) for key in LOADS if key in fields})
            free, taken = fields.pop("free", {}), fields.pop("taken", {})
            devices = fields.pop("devices", b"")
            self.view.put_host(HostRecord(node_id=name, host=name, kind=kind, **fields), devices)
            self.view.put_load(name, load)
            self.view.put_provider(name, name, free, taken)
        for number, (members, metadata) in enumerate((aggregates or {}).items()):
            self.aggregate(f"id-{number}", members.split(), metadata)

    def aggregate(self, aggregate_id: str, hosts: Iterable[str], metadata: Mapping[str, str]) -> None:
        self.view.aggregates.put(Aggregate(aggregate_id, aggregate_id, frozenset(hosts), metadata))

    def table(self) -> HostTable:
        return self.view.table(self.names)[0]

    def passing(self, name: str, *, options: Mapping[str, Any] | None = None, **fields: Any) -> str:
        """Names of the hosts that one filter lets through."""
        conf = config.load(files=[], **(options or {}))
        return self.through(filters.AVAILABLE[name](conf), **fields)

    def through(self, each: Filter, **fields: Any) -> str:
        mask = each.passing(self.table(), request(**fields))
        assert mask.dtype == bool
        return " ".join(host for host, passes in zip(self.names, mask, strict=True) if passes)

    def raw(self, name: str, *, options: Mapping[str, Any] | None = None, **fields: Any) -> list[float]:
        """What one weigher says of each host."""
        conf = config.load(files=[], **(options or {}))
        weigher = weighers.AVAILABLE[name](conf)
        return [float(value) for value in weigher.raw(self.table(), request(**fields))]


def request(flavor: Mapping[str, str] | None = None, **fields: Any) -> Request:
    """`flavor`: its id and name."""
    message = spec(**fields)
    for name, value in (flavor or {}).items():
        setattr(message.flavor, name, value)
    return Request(message)
