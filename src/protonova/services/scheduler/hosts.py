"""One host as the scheduler knows it.

Hosts of one kind are told apart by name and size only, so that what is compared by text is compared once for each
kind, however many hosts are of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import orjson

NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class HostKind:
    """What a host has in common with others of its kind. `cpu_info` is a JSON document; `guests` are
    (architecture, hypervisor, VM mode), empty where the host does not tell."""

    hypervisor_type: str = ""
    hypervisor_version: int = 0
    architecture: str = ""
    cpu_info: str = ""
    disk_formats: frozenset[str] = frozenset()
    guests: tuple[tuple[str, str, str], ...] = ()

    @cached_property
    def processor(self) -> Mapping[str, Any]:
        """`cpu_info` as it is written; empty where it cannot be read."""
        try:
            found = orjson.loads(self.cpu_info or "{}")
        except orjson.JSONDecodeError:
            return NONE
        return found if isinstance(found, dict) else NONE

    @property
    def address_bits(self) -> int:
        """How wide a physical address of a guest can be; 0 = not told."""
        told = self.processor.get("maxphysaddr")
        bits = told.get("bits", 0) if isinstance(told, dict) else 0
        return bits if isinstance(bits, int) else 0


@dataclass(frozen=True, slots=True)
class HostRecord:
    """One hypervisor node. `node_id` is also the id of its root resource provider.

    `availability_zone` is the one its agent declares in what feeds tell, the one it is in by its aggregates too in
    what a table holds.
    """

    node_id: str
    host: str
    node: str
    cell_id: str
    availability_zone: str = ""
    up: bool = True
    disabled: bool = False
    kind: HostKind = field(default_factory=HostKind)
    vcpus: int = 0
    memory_mb: int = 0
    local_gb: int = 0
    host_ip: str = ""
    metrics: Mapping[str, float] = field(default_factory=lambda: NONE)
    # A HostTopology as it travels: few of them are ever looked into. Empty = none told.
    topology: bytes = b""


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What runs on a host: how many servers, how many of them are at work on its disks, builds in a row that it
    refused, servers by flavor id and by image property ("name=value")."""

    servers: int = 0
    io_operations: int = 0
    failed_builds: int = 0
    flavors: Mapping[str, int] = field(default_factory=lambda: NONE)
    image_properties: Mapping[str, int] = field(default_factory=lambda: NONE)


NO_LOAD = HostLoad()
