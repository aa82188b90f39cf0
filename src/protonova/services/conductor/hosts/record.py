"""A host's row as the messages others see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from protonova.common.v1.host_pb2 import ComputeService, Hypervisor
from protonova.conductor.v1.host_pb2 import HostReport, HostState
from protonova.services.conductor.clock import set_time
from protonova.services.conductor.hosts import uptime
from protonova.services.conductor.tables import hosts

BINARY = "nova-compute"


class Host:
    """One row of `hosts`, with whether its heartbeat was fresh when it was read."""

    def __init__(self, row: Any, cell_id: str) -> None:
        self._row = row
        self._cell_id = cell_id
        self.fresh: bool = bool(row.fresh)
        self.forced_down: bool = row.forced_down
        self.name: str = row.host
        self.number: int = row.number
        self.service_id: str = row.service_id
        self.node_id: str = row.node_id
        self.generation: int = row.generation
        self.up: bool = self.fresh and not self.forced_down
        self.reported_up: bool = row.reported_up
        self.disabled: bool = row.disabled
        self.failed_builds: int = row.failed_builds
        self.report = HostReport.FromString(row.report)

    @property
    def agent_target(self) -> str:
        return self.report.agent_target

    def service(self) -> ComputeService:
        row = self._row
        service = ComputeService(
            id=row.service_id,
            number=row.number,
            host=row.host,
            binary=BINARY,
            availability_zone=self.report.availability_zone,
            disabled=row.disabled,
            disabled_reason=row.disabled_reason,
            forced_down=row.forced_down,
            up=self.up,
            cell_id=self._cell_id,
        )
        set_time(service.updated_at, row.heartbeat_at)
        return service

    def hypervisor(self) -> Hypervisor:
        """Without usage and servers."""
        report = self.report
        return Hypervisor(
            id=report.node_id,
            number=self.number,
            hostname=report.node,
            type=report.hypervisor_type,
            version=report.hypervisor_version,
            host_ip=report.host_ip,
            service=self.service(),
            vcpus=report.vcpus,
            memory_mb=report.memory_mb,
            local_gb=report.local_gb,
            disk_available_least_gb=report.disk_available_least_gb,
            cpu_info=report.cpu_info,
            uptime=report.uptime or _uptime(report),
        )

    def state(self) -> HostState:
        return host_state(self.report, up=self.up, disabled=self.disabled, cell_id=self._cell_id)


def _uptime(report: HostReport) -> str:
    if not report.HasField("booted_at"):
        return ""
    return uptime.written(report.booted_at.ToDatetime(UTC), datetime.now(UTC))


def host_state(report: HostReport, *, up: bool, disabled: bool, cell_id: str) -> HostState:
    """What scheduling depends on."""
    return HostState(
        host=report.host,
        node=report.node,
        node_id=report.node_id,
        availability_zone=report.availability_zone,
        up=up,
        disabled=disabled,
        hypervisor_type=report.hypervisor_type,
        hypervisor_version=report.hypervisor_version,
        architecture=report.architecture,
        vcpus=report.vcpus,
        memory_mb=report.memory_mb,
        local_gb=report.local_gb,
        cell_id=cell_id,
        supported_disk_formats=report.supported_disk_formats,
        host_ip=report.host_ip,
        cpu_info=report.cpu_info,
        metrics=report.metrics,
        supported_guests=report.supported_guests,
        topology=report.topology if report.HasField("topology") else None,
        devices=report.devices if report.HasField("devices") else None,
    )


def select_hosts(fresh: ColumnElement[bool]) -> sa.Select:
    """Rows that `Host` takes."""
    return sa.select(hosts, fresh.label("fresh"))
