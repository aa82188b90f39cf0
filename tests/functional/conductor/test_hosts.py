"""Hosts: reports, heartbeats, up and down, operators' decisions, the host feed, hypervisors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import host_pb2 as pb
from protonova.services.conductor import tables
from protonova.services.runtime import errors
from tests.support.conductor import SECONDS, Conductor, Edges, new_server, node_id
from tests.support.databases import EVERY, fresh


@pytest.fixture(params=EVERY)
def cell(request, tmp_path, edges: Edges) -> Iterator[Conductor]:
    for url in fresh(request.param, tmp_path):
        conductor = Conductor(tmp_path, edges, url, conductor__up_check_interval=0.05)
        conductor.report("host1", "host2")
        yield conductor
        conductor.close()


@contextlib.contextmanager
def watching(cell: Conductor, revision: int = 0):
    stream = cell.hosts.WatchHosts(pb.WatchHostsRequest(resume_revision=revision), timeout=SECONDS)
    yield stream
    stream.cancel()


def snapshot(stream) -> dict[str, pb.HostState]:
    found = {}
    for change in stream:
        if change.HasField("host"):
            found[change.host.host] = change.host
        if change.WhichOneof("change") == "snapshot_end":
            return found
    raise AssertionError("The feed ended.")


def silence(cell: Conductor, *names: str) -> None:
    """Lets the last heartbeat be an hour old."""
    cell.cell.db.write(
        lambda c: c.execute(
            sa.update(tables.hosts)
            .where(tables.hosts.c.host.in_(names))
            .values(heartbeat_at=tables.hosts.c.heartbeat_at - 3_600_000_000)
        )
    )


def services(cell: Conductor, **fields) -> dict:
    answer = cell.hosts.ListComputeServices(pb.ListComputeServicesRequest(**fields))
    return {service.host: service for service in answer.services}


def steer(cell: Conductor, **fields):
    return cell.hosts.UpdateComputeService(pb.UpdateComputeServiceRequest(**fields)).service


def hypervisors(cell: Conductor, **fields) -> list:
    return list(cell.hosts.ListHypervisors(pb.ListHypervisorsRequest(**fields)).hypervisors)


def test_each_host_is_given_an_id_for_its_guests_that_lasts(cell: Conductor):
    report = pb.HostReport(host="host1", node="host1", node_id=node_id("host1"))
    request = pb.ReportHostsRequest(hosts=[report], unchanged_hosts=["host2"])
    first = cell.hosts.ReportHosts(request).identities
    assert set(first) == {"host1"}
    assert first["host1"] == services(cell)["host1"].id
    assert cell.hosts.ReportHosts(request).identities == first
    request.hosts[0].host, request.hosts[0].node_id = "host3", node_id("host3")
    assert cell.hosts.ReportHosts(request).identities["host3"] != first["host1"]


def test_a_report_makes_a_host_known(cell: Conductor):
    service = services(cell)["host1"]
    assert service.binary == "nova-compute"
    assert service.number == 1
    assert len(service.id) == 36
    assert service.up
    assert not service.disabled
    assert service.cell_id == cell.cell.id
    assert service.updated_at.seconds
    assert services(cell, host="host2").keys() == {"host2"}
    assert services(cell, binary="nova-scheduler") == {}
    (hypervisor,) = hypervisors(cell, id=node_id("host1"))
    assert (hypervisor.hostname, hypervisor.vcpus, hypervisor.service.id) == ("host1", 8, service.id)


def test_reporting_again_changes_no_identity(cell: Conductor):
    before = services(cell)["host1"]
    cell.report("host1", vcpus=64)
    after = services(cell)["host1"]
    assert (after.id, after.number) == (before.id, before.number)
    assert hypervisors(cell, id=node_id("host1"))[0].vcpus == 64


def test_how_long_a_host_has_been_running(cell: Conductor):
    report = cell.host_report("host1")
    report.booted_at.FromDatetime(datetime.now(UTC) - timedelta(days=3, minutes=5, seconds=20))
    cell.hosts.ReportHosts(pb.ReportHostsRequest(hosts=[report]))
    assert hypervisors(cell, id=node_id("host1"))[0].uptime.partition(" up ")[2].startswith("3 days, ")
    assert hypervisors(cell, id=node_id("host2"))[0].uptime == ""


def test_heartbeats_of_hosts_nobody_knows(cell: Conductor):
    answer = cell.hosts.ReportHosts(pb.ReportHostsRequest(unchanged_hosts=["host1", "host9", "host2"]))
    assert answer.unknown_hosts == ["host9"]


def test_a_thousand_heartbeats_change_one_column_and_tell_nobody(cell: Conductor):
    names = [f"sim{number}" for number in range(1200)]
    cell.report(*names)
    with watching(cell) as stream:
        states = snapshot(stream)
        assert len(states) == 1202
        cell.hosts.ReportHosts(pb.ReportHostsRequest(unchanged_hosts=names))
        cell.report("host1", vcpus=9)
        change = next(stream)
        assert change.host.vcpus == 9
    assert all(service.up for service in services(cell).values())


def test_only_what_scheduling_depends_on_is_told(cell: Conductor):
    with watching(cell) as stream:
        snapshot(stream)
        cell.report("host1", uptime="up 3 days", disk_available_least_gb=1)
        cell.report("host1", uptime="up 4 days", memory_mb=1)
        change = next(stream)
    assert change.host.memory_mb == 1
    assert change.host.node_id == node_id("host1")
    assert change.host.up


def test_a_host_goes_down_and_comes_up(cell: Conductor):
    with watching(cell) as stream:
        assert snapshot(stream)["host1"].up
        silence(cell, "host1")
        assert not services(cell)["host1"].up
        down = next(stream)
        assert (down.host.host, down.host.up) == ("host1", False)
        cell.hosts.ReportHosts(pb.ReportHostsRequest(unchanged_hosts=["host1", "host2"]))
        up = next(stream)
        assert (up.host.host, up.host.up) == ("host1", True)
        assert up.revision > down.revision
    with watching(cell, down.revision) as stream:
        assert next(stream).host.up


def test_operators_decide(cell: Conductor):
    service = services(cell)["host1"]
    with watching(cell) as stream:
        snapshot(stream)
        changed = steer(cell, id=service.id, disabled=True, disabled_reason="broken fan")
        assert (changed.disabled, changed.disabled_reason) == (True, "broken fan")
        assert next(stream).host.disabled
        assert not steer(cell, id=str(service.number), forced_down=True).up
        assert not next(stream).host.up
        cell.hosts.ReportHosts(pb.ReportHostsRequest(unchanged_hosts=["host1"]))
        cell.report("host1")
        assert not services(cell)["host1"].up
        changed = steer(cell, host="host1", disabled=False, forced_down=False)
        assert changed.up
        assert changed.disabled_reason == ""
        told = next(stream).host
        assert told.up
        assert not told.disabled


def test_new_hosts_may_have_to_wait(tmp_path, edges: Edges):
    conductor = Conductor(tmp_path, edges, enable_new_services=False)
    conductor.report("host1")
    assert services(conductor)["host1"].disabled
    conductor.close()


@pytest.mark.parametrize("service_id", ["77", "5e1b8f2e-7a6f-4f6a-8d2e-000000000000"])
def test_no_such_service(cell: Conductor, service_id: str):
    for call, request in (
        (cell.hosts.UpdateComputeService, pb.UpdateComputeServiceRequest(id=service_id, disabled=True)),
        (cell.hosts.DeleteComputeService, pb.DeleteComputeServiceRequest(id=service_id)),
    ):
        with pytest.raises(errors.NotFound) as caught:
            call(request)
        assert caught.value.reason == "COMPUTE_SERVICE_NOT_FOUND"


def on_host(cell: Conductor, host: str, **fields) -> Server:
    server = new_server(host=host, vm_state="VM_STATE_ACTIVE", power_state="POWER_STATE_RUNNING", **fields)
    cell.store(server)
    return server


def test_a_service_goes_when_its_host_is_empty(cell: Conductor):
    server = on_host(cell, "host1")
    service = services(cell)["host1"]
    with pytest.raises(errors.FailedPrecondition) as caught:
        cell.hosts.DeleteComputeService(pb.DeleteComputeServiceRequest(id=service.id))
    assert caught.value.reason == "HOST_IN_USE"

    def gone(changed: Server) -> None:
        changed.deleted_at.CopyFrom(changed.updated_at)

    cell.cell.db.write(lambda connection: cell.cell.servers.change(connection, server.id, gone))
    with watching(cell) as stream:
        snapshot(stream)
        cell.hosts.DeleteComputeService(pb.DeleteComputeServiceRequest(id=service.id))
        assert next(stream).deleted_node_id == node_id("host1")
    assert services(cell).keys() == {"host2"}
    answer = cell.hosts.ReportHosts(pb.ReportHostsRequest(unchanged_hosts=["host1"]))
    assert answer.unknown_hosts == ["host1"]


def test_a_node_that_was_made_anew(cell: Conductor):
    with watching(cell) as stream:
        snapshot(stream)
        cell.report("host1", node_id=node_id("other"))
        changes = [next(stream), next(stream)]
    assert {change.WhichOneof("change") for change in changes} == {"host", "deleted_node_id"}
    assert node_id("host1") in {change.deleted_node_id for change in changes}


def test_hypervisors_show_what_servers_take(cell: Conductor):
    first = on_host(cell, "host1")
    on_host(cell, "host1", task_state="TASK_STATE_REBOOTING")
    on_host(cell, "host1", deleted_at={"seconds": 1})
    one, two = hypervisors(cell, with_servers=True)
    assert (one.vcpus_used, one.memory_mb_used, one.local_gb_used) == (2, 1024, 2)
    assert (one.running_guests, one.workload) == (2, 1)
    assert (one.servers[0].id, one.servers[0].name) == (first.id, "instance-00000001")
    assert len(one.servers) == 2
    assert (two.vcpus_used, two.running_guests, list(two.servers)) == (0, 0, [])
    assert [h.hostname for h in hypervisors(cell, hostname_pattern="ost2")] == ["host2"]
    assert hypervisors(cell, hostname_pattern="%") == []
    assert [h.hostname for h in hypervisors(cell, id="2")] == ["host2"]


def test_a_report_without_a_name(cell: Conductor):
    with pytest.raises(errors.InvalidArgument):
        cell.hosts.ReportHosts(pb.ReportHostsRequest(hosts=[pb.HostReport(vcpus=1)]))
