"""Cells, hosts and zones, and the operators' view of operations."""

import pytest

from protonova.api.v1 import cell_pb2
from protonova.api.v1 import host_pb2 as pb
from protonova.common.v1 import operation_pb2
from protonova.services.runtime import errors


def services(region, **fields):
    return list(region.api.hosts.ListComputeServices(pb.ListComputeServicesRequest(**fields)).services)


def test_services_of_all_cells_with_silent_ones_in_part(any_region):
    region = any_region
    one, two = region.add_cell("one", hosts=2), region.add_cell("two")
    assert {(service.host, service.cell_id) for service in services(region)} == {
        ("one-host0", one.id),
        ("one-host1", one.id),
        ("two-host0", two.id),
    }
    assert [service.host for service in services(region, host="one-host1")] == ["one-host1"]
    two.stop()
    assert len(services(region)) == 2
    [silent] = [service for service in services(region, allow_partial=True) if service.partial]
    assert (silent.host, silent.binary, silent.cell_id) == ("two-host0", "nova-compute", two.id)


def test_a_service_is_changed_and_deleted_in_its_cell(region):
    region.add_cell("one")
    cell = region.add_cell("two")
    [service] = services(region, host="two-host0")
    changed = region.api.hosts.UpdateComputeService(
        pb.UpdateComputeServiceRequest(id=service.id, disabled=True, disabled_reason="work")
    ).service
    assert (changed.disabled, changed.disabled_reason, changed.cell_id) == (True, "work", cell.id)
    by_host = pb.UpdateComputeServiceRequest(host="two-host0", binary="nova-compute", disabled=False)
    assert not region.api.hosts.UpdateComputeService(by_host).service.disabled
    with pytest.raises(errors.InvalidArgument) as raised:
        region.api.hosts.DeleteComputeService(pb.DeleteComputeServiceRequest(number=1))
    assert raised.value.reason == "COMPUTE_SERVICE_AMBIGUOUS"
    region.api.hosts.DeleteComputeService(pb.DeleteComputeServiceRequest(id=service.id))
    assert cell.hosts == []
    with pytest.raises(errors.NotFound) as raised:
        region.api.hosts.DeleteComputeService(pb.DeleteComputeServiceRequest(id=service.id))
    assert raised.value.reason == "COMPUTE_SERVICE_NOT_FOUND"


def hypervisors(region, **fields):
    request = pb.ListHypervisorsRequest(**{"page_size": -1, **fields})
    return [hypervisor.hostname for hypervisor in region.api.hosts.ListHypervisors(request).hypervisors]


def test_hypervisors_by_number(region):
    region.add_cell("one", hosts=3)
    assert hypervisors(region) == ["one-host0", "one-host1", "one-host2"]
    assert hypervisors(region, page_size=2) == ["one-host0", "one-host1"]
    assert hypervisors(region, page_token="2") == ["one-host2"]
    assert hypervisors(region, hostname_pattern="host1") == ["one-host1"]
    assert hypervisors(region, page_size=0) == []
    with pytest.raises(errors.InvalidArgument):
        hypervisors(region, page_token="gone")
    found = region.api.hosts.GetHypervisor(pb.GetHypervisorRequest(number=2)).hypervisor
    assert region.api.hosts.GetHypervisor(pb.GetHypervisorRequest(id=found.id)).hypervisor == found
    with pytest.raises(errors.NotFound) as raised:
        region.api.hosts.GetHypervisor(pb.GetHypervisorRequest(number=9))
    assert raised.value.reason == "HYPERVISOR_NOT_FOUND"


def test_disabled_hypervisors_do_not_count(region):
    cell = region.add_cell("one", hosts=2)
    cell.add_host("off", disabled=True)
    statistics = region.api.hosts.GetHypervisorStatistics(pb.GetHypervisorStatisticsRequest())
    assert (statistics.count, statistics.totals.vcpus, statistics.totals.memory_mb) == (2, 8, 16384)


def test_a_zone_is_there_while_one_of_its_hosts_is(region):
    cell = region.add_cell("one")
    cell.add_host("east", zone="east", disabled=True)
    zones = region.api.hosts.ListAvailabilityZones(pb.ListAvailabilityZonesRequest(with_services=True)).zones
    assert [(zone.name, zone.available, len(zone.services)) for zone in zones] == [
        ("east", False, 1),
        ("nova", True, 1),
    ]


def test_zones_and_hosts_of_a_silent_cell_are_still_known(region):
    region.add_cell("living")
    cell = region.add_cell("silent", hosts=0)
    cell.add_host("east", zone="east")
    region.create(availability_zone="east")
    cell.stop()
    region.api.hosts.ListAvailabilityZones(pb.ListAvailabilityZonesRequest())
    region.create(availability_zone="east", host="east")
    with pytest.raises(errors.InvalidArgument):
        region.create(availability_zone="west")


def test_cells_are_told_of(region):
    watching = region.api.cells.WatchCells(cell_pb2.WatchCellsRequest())
    assert next(watching).WhichOneof("change") == "snapshot_end"
    cell = region.add_cell("one")
    told = next(watching)
    assert (told.cell.id, told.cell.conductor_target) == (cell.id, cell.target)
    region.api.cells.RegisterCell(cell_pb2.RegisterCellRequest(cell=told.cell))
    moved = cell_pb2.Cell(id=cell.id, name="one", conductor_target="127.0.0.1:1")
    region.api.cells.RegisterCell(cell_pb2.RegisterCellRequest(cell=moved))
    again = next(watching)
    assert (again.cell.conductor_target, again.revision) == ("127.0.0.1:1", told.revision + 1)
    watching.cancel()
    resumed = region.api.cells.WatchCells(cell_pb2.WatchCellsRequest(resume_revision=told.revision))
    assert next(resumed).cell == again.cell
    resumed.cancel()
    assert [cell.name for cell in region.api.cells.ListCells(cell_pb2.ListCellsRequest()).cells] == ["one"]
    with pytest.raises(errors.InvalidArgument) as raised:
        region.api.cells.RegisterCell(cell_pb2.RegisterCellRequest(cell=cell_pb2.Cell(id="x", name="y")))
    assert raised.value.reason == "CELL_INVALID"


def test_operators_see_operations(region):
    answers = [region.create() for _ in range(3)]
    for answer in answers:
        region.built(answer)
    first = region.api.operations.ListOperations(operation_pb2.ListOperationsRequest(page_size=2))
    rest = region.api.operations.ListOperations(
        operation_pb2.ListOperationsRequest(page_size=2, page_token=first.next_page_token)
    )
    seen = [operation.subject for operation in (*first.operations, *rest.operations)]
    assert seen == [answer.reservation_id for answer in reversed(answers)]
    one = first.operations[0]
    assert (one.kind, one.state) == ("build", operation_pb2.OPERATION_STATE_DONE)
    assert region.api.operations.GetOperation(operation_pb2.GetOperationRequest(id=one.id)).operation == one
    done = operation_pb2.ListOperationsRequest(states=[operation_pb2.OPERATION_STATE_STUCK])
    assert not region.api.operations.ListOperations(done).operations
    with pytest.raises(errors.FailedPrecondition) as raised:
        region.api.operations.RetryOperation(operation_pb2.RetryOperationRequest(id=one.id))
    assert raised.value.reason == "OPERATION_NOT_STUCK"
    with pytest.raises(errors.NotFound) as raised:
        region.api.operations.GetOperation(operation_pb2.GetOperationRequest(id="none"))
    assert raised.value.reason == "OPERATION_NOT_FOUND"
