"""What conductors do by themselves about servers that are left as they should not be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from protonova.common.v1 import upkeep_pb2
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1 import server_pb2
from protonova.services.runtime import errors
from tests.functional.conductor.test_interfaces import attach
from tests.functional.conductor.test_power import ACTIVE, idle
from tests.functional.conductor.test_rescue import RESCUED, rescue
from tests.support.conductor import Conductor, Edges, as_user, new_build

HOUR = 3600


def run(cell: Conductor, name: str) -> int:
    return cell.upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name=name)).upkeep.last_count


@pytest.fixture
def patient(tmp_path: Path, edges: Edges) -> Iterator[Conductor]:
    conductor = Conductor(tmp_path, edges, rescue_timeout=HOUR, heal_instance_info_cache_interval=-1)
    conductor.report("host1")
    yield conductor
    conductor.close()


def rescued_ago(cell: Conductor, server_id: str, seconds: int) -> None:
    def earlier(server: Server) -> None:
        server.rescued_at.seconds -= seconds

    cell.cell.db.write(lambda c: cell.cell.servers.change(c, server_id, earlier))


def test_a_rescue_ends_when_its_time_is_over(patient: Conductor, edges: Edges):
    long, short = patient.boot(), patient.boot()
    for server in (long, short):
        rescue(patient, server.id)
        patient.wait(server.id, lambda s: s.vm_state == RESCUED and idle(s))
    assert run(patient, "rescued-servers") == 0
    rescued_ago(patient, long.id, HOUR)
    rescued_ago(patient, short.id, HOUR - 600)
    assert run(patient, "rescued-servers") == 1
    patient.wait(long.id, lambda s: s.vm_state == ACTIVE and idle(s))
    assert list(edges.guests.rescued) == [short.id]
    # Rescued again, its time begins anew.
    rescue(patient, long.id)
    patient.wait(long.id, lambda s: s.vm_state == RESCUED and idle(s))
    assert run(patient, "rescued-servers") == 0


def test_rescues_without_a_limit_stay(cell: Conductor, edges: Edges):
    server = cell.boot()
    rescue(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == RESCUED and idle(s))
    rescued_ago(cell, server.id, HOUR * 1000)
    assert run(cell, "rescued-servers") == 0
    assert list(edges.guests.rescued) == [server.id]


def test_a_build_ends_when_its_time_is_over(tmp_path: Path, edges: Edges):
    cell = Conductor(tmp_path, edges, instance_build_timeout=1)
    cell.report("host1", "host2")
    try:
        edges.guests.gate("SpawnGuest")
        build = new_build("host1", "host2")
        cell.create(build)
        failed = cell.wait(build.server.id, lambda s: s.vm_state == VmState.VM_STATE_ERROR and idle(s))
        assert failed.HasField("fault")
        assert failed.host == ""
        assert edges.guests.where(failed.id) == []
        assert edges.allocations.providers(failed.id) == []
    finally:
        edges.guests.gates["SpawnGuest"].open.set()
        cell.close()


@pytest.fixture
def plugged(patient: Conductor, edges: Edges) -> Server:
    server = patient.boot()
    attach(patient, server, network_id=edges.networks.add_network("private").id)
    return patient.get(server.id)


def test_network_info_that_is_old_is_read_anew(patient: Conductor, edges: Edges, plugged: Server):
    (interface,) = plugged.interfaces
    run(patient, "network-info")
    patient.settled(plugged.id)
    assert run(patient, "network-info") == 0
    edges.networks.add_floating("192.0.2.9")
    floating = edges.networks.floating_ip("192.0.2.9")
    edges.networks.lead_floating_ip(floating.id, interface.port_id, interface.addresses[0].address)
    assert run(patient, "network-info") == 1
    patient.settled(plugged.id)
    shown = patient.get(plugged.id).interfaces[0].addresses[0]
    assert list(shown.floating_addresses) == ["192.0.2.9"]
    assert run(patient, "network-info") == 0


def test_a_port_that_is_not_shown_is_left_alone(patient: Conductor, edges: Edges, plugged: Server):
    run(patient, "network-info")
    patient.settled(plugged.id)
    (interface,) = patient.get(plugged.id).interfaces
    edges.networks.ports[interface.port_id] = replace(
        edges.networks.ports[interface.port_id], device_id="somebody else"
    )
    run(patient, "network-info")
    patient.settled(plugged.id)
    assert list(patient.get(plugged.id).interfaces) == [interface]


def test_a_network_service_that_is_away_is_told(patient: Conductor, edges: Edges, plugged: Server):
    edges.networks.errors["ports_of"].append(errors.Unavailable("The network is away."))
    with pytest.raises(errors.Unavailable):
        run(patient, "network-info")
    with as_user(request_id="req-stop"):
        patient.servers.StopServer(server_pb2.StopServerRequest(id=plugged.id))
    patient.settled(plugged.id)
