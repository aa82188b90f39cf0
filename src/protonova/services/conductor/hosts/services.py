"""Compute services and hypervisors: the operators' view of hosts."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.common.v1.host_pb2 import ComputeService, Hypervisor, HypervisorServer
from protonova.common.v1.server_pb2 import PowerState, VmState
from protonova.conductor.v1 import host_pb2
from protonova.services.conductor.hosts.record import BINARY, Host
from protonova.services.conductor.hosts.store import Hosts
from protonova.services.conductor.moves import store as moves
from protonova.services.conductor.servers.store import Servers
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import hosts, servers
from protonova.services.runtime import errors

# Servers that stand in the database but hold nothing on a host.
_HOLDS_NOTHING = (VmState.VM_STATE_SHELVED_OFFLOADED, VmState.VM_STATE_DELETED)


def list_services(store: Hosts, request: host_pb2.ListComputeServicesRequest) -> list[ComputeService]:
    if request.binary not in ("", BINARY):
        return []
    conditions = [hosts.c.host == request.host] if request.host else []
    return [host.service() for host in store.db.read(lambda connection: store.find(connection, *conditions))]


def update_service(store: Hosts, request: host_pb2.UpdateComputeServiceRequest) -> ComputeService:
    """Raises `errors.NotFound` (COMPUTE_SERVICE_NOT_FOUND), `errors.FailedPrecondition` (HOST_NOT_CLEAN)."""
    values: dict[str, Any] = {}
    if request.HasField("disabled"):
        values["disabled"] = request.disabled
        values["disabled_reason"] = ""
    if request.HasField("disabled_reason"):
        values["disabled_reason"] = request.disabled_reason
    if request.HasField("forced_down"):
        values["forced_down"] = request.forced_down

    def change(connection: Connection) -> ComputeService:
        host = _service_host(store, connection, request.id, request.host)
        if host.forced_down and not values.get("forced_down", True):
            _check_clean(connection, host)
        if values:
            store.steer(connection, host, dict(values))
            host = _service_host(store, connection, host.service_id, "")
        return host.service()

    return store.db.write(change)


def delete_service(store: Hosts, service_id: str) -> None:
    """Raises `errors.NotFound` (COMPUTE_SERVICE_NOT_FOUND), `errors.FailedPrecondition` (HOST_IN_USE)."""

    def remove(connection: Connection) -> None:
        host = _service_host(store, connection, service_id, "")
        count = connection.scalar(
            sa.select(sa.func.count())
            .select_from(servers)
            .where(servers.c.host == host.name, servers.c.deleted_at == 0)
        )
        if count:
            raise errors.FailedPrecondition(
                f"Host {host.name} has {count} servers.", reason="HOST_IN_USE", host=host.name, servers=count
            )
        if moving := moves.unfinished_on(connection, host.name):
            raise errors.FailedPrecondition(
                f"Host {host.name} has {moving} unfinished migrations.",
                reason="HOST_IN_USE",
                host=host.name,
                migrations=moving,
            )
        store.remove(connection, host)

    store.db.write(remove)


def list_hypervisors(
    store: Hosts, names: Servers, request: host_pb2.ListHypervisorsRequest
) -> list[Hypervisor]:
    def read(connection: Connection) -> list[Hypervisor]:
        found = store.find(connection, *_hypervisor_conditions(request))
        if not found:
            return []
        some = request.hostname_pattern or request.hosts or len(found) == 1
        chosen = [host.name for host in found] if some else None
        usage = _usage(connection, chosen)
        guests = _guests(connection, names, chosen) if request.with_servers else {}
        answer = []
        for host in found:
            hypervisor = host.hypervisor()
            if used := usage.get(host.name):
                hypervisor.vcpus_used = int(used.vcpus)
                hypervisor.memory_mb_used = int(used.memory_mb)
                hypervisor.local_gb_used = int(used.disk_gb)
                hypervisor.running_guests = int(used.guests)
                hypervisor.workload = int(used.busy)
            hypervisor.servers.extend(guests.get(host.name, ()))
            answer.append(hypervisor)
        return answer

    return store.db.read(read)


def _check_clean(connection: Connection, host: Host) -> None:
    """A host is not up again before its agent has removed what was evacuated from it."""
    if left := len(moves.left_behind(connection, host.name)):
        raise errors.FailedPrecondition(
            f"Host {host.name} may have {left} guests that were evacuated: its agent has to remove them first.",
            reason="HOST_NOT_CLEAN",
            host=host.name,
            migrations=left,
        )


def _service_host(store: Hosts, connection: Connection, service_id: str, name: str) -> Host:
    if service_id.isdecimal():
        condition = hosts.c.number == int(service_id)
    elif service_id:
        condition = hosts.c.service_id == service_id
    else:
        condition = hosts.c.host == name
    found = store.find(connection, condition)
    if not found:
        raise errors.NotFound(
            f"Compute service {service_id or name} could not be found.",
            reason="COMPUTE_SERVICE_NOT_FOUND",
            service=service_id or name,
        )
    return found[0]


def _hypervisor_conditions(request: host_pb2.ListHypervisorsRequest) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if request.id.isdecimal():
        conditions.append(hosts.c.number == int(request.id))
    elif request.id:
        conditions.append(hosts.c.node_id == request.id)
    if request.hostname_pattern:
        conditions.append(hosts.c.node.contains(request.hostname_pattern, autoescape=True))
    if request.hosts:
        conditions.append(hosts.c.host.in_(request.hosts))
    return conditions


def _on_hosts(chosen: list[str] | None) -> list[sa.ColumnElement[bool]]:
    where = [servers.c.deleted_at == 0, servers.c.vm_state.not_in(_HOLDS_NOTHING)]
    return [*where, servers.c.host != "" if chosen is None else servers.c.host.in_(chosen)]


def _usage(connection: Connection, chosen: list[str] | None) -> dict[str, Any]:
    """What the servers of each host take, by host; all hosts at once."""
    busy = sa.case((servers.c.task_state != IDLE, 1), else_=0)
    running = sa.case((servers.c.power_state == PowerState.POWER_STATE_RUNNING, 1), else_=0)
    query = (
        sa.select(
            servers.c.host,
            sa.func.sum(servers.c.vcpus).label("vcpus"),
            sa.func.sum(servers.c.memory_mb).label("memory_mb"),
            sa.func.sum(servers.c.disk_gb).label("disk_gb"),
            sa.func.sum(running).label("guests"),
            sa.func.sum(busy).label("busy"),
        )
        .where(*_on_hosts(chosen))
        .group_by(servers.c.host)
    )
    return {row.host: row for row in connection.execute(query)}


def _guests(
    connection: Connection, names: Servers, chosen: list[str] | None
) -> dict[str, list[HypervisorServer]]:
    query = (
        sa.select(servers.c.host, servers.c.number, servers.c.id)
        .where(*_on_hosts(chosen))
        .order_by(servers.c.number)
    )
    found: dict[str, list[HypervisorServer]] = defaultdict(list)
    for host, number, server_id in connection.execute(query):
        found[host].append(HypervisorServer(id=server_id, name=names.instance_name(number, server_id)))
    return found
