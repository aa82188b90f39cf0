"""An agent gives each PCI device once: beside other guests, in races, after failures and restarts."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from protonova.common.v1 import numa_pb2, pci_pb2, server_pb2
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2
from protonova.services.compute import virt
from protonova.services.runtime import errors
from tests.functional.compute.test_agent import SECONDS, Agent, fence
from tests.support.numa import guest
from tests.support.pci import GPU, NIC, VF, addresses, request

HEAD = "0000:05:00.0"
DEVICES = [
    {"address": "0000:81:00.0", "numa_cell": 0, **GPU},
    {"address": "0000:82:00.0", "numa_cell": 1, "count": 2, **GPU},
    {"address": HEAD, "type": "type-PF", "devname": "eth5", **NIC},
    {"address": "0000:05:02.0", "type": "type-VF", "parent": HEAD, "count": 2, **VF},
]
ONE = guest(((0,), 64))
SPECS = [GPU, {"devname": "eth5"}]


class Machine(Agent):
    """One host: two cells of four CPUs, three GPUs, and a card with two virtual functions."""

    def __init__(self, state, specs=SPECS, **pci) -> None:
        self.faults = state / "faults.json"
        self.faults.write_text('{"rules": []}')
        self.pci = {"device_spec": [json.dumps(spec) for spec in specs], **pci}
        super().__init__(state, hosts=["one"])

    def start(self) -> None:
        virt.options.register(self.conf)
        fake = {
            "vcpus": 8,
            "numa_cells": 2,
            "pci_devices": [json.dumps(each) for each in DEVICES],
            "faults": str(self.faults),
        }
        compute = {"cpu_shared_set": "0,4", "cpu_dedicated_set": "1-3,5-7"}
        for group, values in (("fake", fake), ("compute", compute), ("pci", self.pci)):
            for name, value in values.items():
                self.conf.set_override(name, value, group=group)
        super().start()

    def boot(
        self,
        *wanted: pci_pb2.PciRequest,
        server_id: str = "",
        operation: str = "",
        topology: numa_pb2.GuestTopology | None = ONE,
        providers: dict[str, list[str]] | None = None,
    ) -> guest_pb2.Guest:
        server = server_pb2.Server(
            id=server_id or str(uuid.uuid4()),
            instance_name="i",
            name="web",
            pci_requests=wanted,
            numa_topology=topology,
        )
        server.flavor.vcpus, server.flavor.memory_mb = len(topology.cells[0].cpus) if topology else 1, 64
        told = guest_pb2.SpawnGuestRequest(
            host="one", server=server, fence=fence(operation or f"create-{server.id}", "spawning")
        )
        for request_id, some in (providers or {}).items():
            told.pci_providers[request_id].provider_ids.extend(some)
        self.cell.servers.add(server.id)
        return list(self.guests.SpawnGuest(told))[-1].guest

    def devices(self, *wanted: pci_pb2.PciRequest, **rest) -> list[str]:
        return addresses(self.boot(*wanted, **rest).pci_devices)

    def delete(self, server_id: str) -> None:
        self.guests.DestroyGuest(
            guest_pb2.DestroyGuestRequest(
                host="one", server_id=server_id, fence=fence(f"del-{server_id}", "guest")
            )
        )

    def reported(self, until) -> host_pb2.HostReport:
        """The first report of the host that is as wanted."""
        while True:
            for report in self.cell.reports.get(timeout=SECONDS).hosts:
                if until(report):
                    return report


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.close()


def free(report: host_pb2.HostReport) -> dict[tuple[str, int], int]:
    """By product and total."""
    return {(pool.product_id, pool.total): pool.free for pool in report.devices.pools}


def test_what_the_host_tells_of_its_devices(machine):
    report = machine.reported(lambda report: True)
    assert free(report) == {("20b5", 1): 1, ("20b5", 2): 2, ("1572", 1): 1, ("154c", 2): 2}
    assert not report.devices.server_ids
    server = str(uuid.uuid4())
    machine.boot(request(1, kind="type-VF", **VF), server_id=server)
    report = machine.reported(lambda report: report.devices.server_ids)
    assert free(report) == {("20b5", 1): 1, ("20b5", 2): 2, ("1572", 1): 0, ("154c", 2): 1}
    assert list(report.devices.server_ids) == [server]
    machine.delete(server)
    report = machine.reported(lambda report: free(report)["154c", 2] == 2)
    # Schedulers may not have heard of it yet.
    assert list(report.devices.server_ids) == [server]


def test_devices_lie_near_the_guest(machine):
    found = machine.boot(request(2, "required"))
    assert found.numa_topology.cells[0].host_cell == 1
    assert addresses(found.pci_devices) == ["0000:82:00.0", "0000:82:01.0"]
    assert machine.boot(topology=guest((range(3), 64))).numa_topology.cells[0].host_cell == 0
    with pytest.raises(errors.FailedPrecondition, match="near enough"):
        machine.boot(request(1, "required"))
    assert machine.devices(request(1, "preferred")) == ["0000:81:00.0"]


def test_what_is_not_there_is_refused_with_the_reason_and_leaves_nothing(machine):
    machine.boot(request(2))
    with pytest.raises(errors.FailedPrecondition) as refused:
        machine.boot(request(2))
    assert refused.value.reason == "HOST_REFUSES"
    assert refused.value.facts["resource"] == "pci_devices"
    assert "2 of 'gpu' are wanted, 1 are free" in refused.value.message
    assert len(machine.ids()) == 1
    assert len(machine.devices(request(1))) == 1


def test_a_card_is_given_whole_or_in_parts(machine):
    function = str(uuid.uuid4())
    machine.boot(request(1, kind="type-VF", **VF), server_id=function)
    with pytest.raises(errors.FailedPrecondition, match="0 are free"):
        machine.boot(request(1, kind="type-PF", **NIC))
    machine.delete(function)
    assert machine.devices(request(1, kind="type-PF", **NIC)) == [HEAD]
    with pytest.raises(errors.FailedPrecondition, match="0 are free"):
        machine.boot(request(1, kind="type-VF", **VF))


def test_racing_guests_never_share_a_device(machine):
    def boot(_: int):
        try:
            return machine.devices(request(1), topology=None)
        except errors.FailedPrecondition as error:
            return error.reason

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(boot, range(8)))
    assert outcomes.count("HOST_REFUSES") == 5
    found = [address for outcome in outcomes if outcome != "HOST_REFUSES" for address in outcome]
    assert sorted(found) == ["0000:81:00.0", "0000:82:00.0", "0000:82:01.0"]


def test_a_repeated_spawn_gives_the_same_devices(machine):
    server = str(uuid.uuid4())
    first = machine.devices(request(1), server_id=server)
    assert machine.devices(request(1), server_id=server) == first
    assert machine.devices(request(1), server_id=server, operation="another") == first


def test_what_guests_have_outlives_the_agent_and_its_journal(machine, tmp_path):
    before = machine.devices(request(2), topology=None)
    machine.stop()
    for file in tmp_path.glob("compute-journal.sqlite*"):
        file.unlink()
    machine.start()
    after = machine.devices(request(1), topology=None)
    assert len({*before, *after}) == 3
    with pytest.raises(errors.FailedPrecondition):
        machine.boot(request(1), topology=None)


@pytest.mark.parametrize("stage", ["begin", "image", "start"])
def test_a_spawn_that_fails_holds_no_more_than_what_is_left_of_it(machine, stage):
    rule = {"call": "spawn", "stage": stage, "guest": "*", "error": "HostRefuses", "message": "no luck"}
    machine.faults.write_text(json.dumps({"rules": [rule]}))
    server = str(uuid.uuid4())
    with pytest.raises(errors.FailedPrecondition, match="no luck"):
        machine.boot(request(3), server_id=server, topology=None)
    machine.faults.write_text('{"rules": []}')
    if server in machine.ids():
        with pytest.raises(errors.FailedPrecondition):
            machine.boot(request(1), topology=None)
    machine.delete(server)
    assert len(machine.devices(request(3), topology=None)) == 3


def test_devices_that_guests_may_have_no_longer_stay_theirs(machine):
    server = str(uuid.uuid4())
    function = machine.devices(request(1, kind="type-VF", **VF), server_id=server)
    machine.stop()
    machine.pci["device_spec"] = [json.dumps(NIC)]
    machine.start()
    with pytest.raises(errors.FailedPrecondition, match="0 are free"):
        machine.boot(request(1, kind="type-PF", **NIC))
    assert machine.devices(request(1, kind="type-VF", **VF), server_id=server, operation="again") == function
    machine.delete(server)
    assert machine.devices(request(1, kind="type-PF", **NIC)) == [HEAD]


@pytest.mark.parametrize(
    ("specs", "options", "told"),
    [
        ([{"vendor": "10de"}], {}, r"\[pci\]device_spec: there is no field 'vendor'"),
        (
            [{"address": "0000:81:00.9"}],
            {},
            r"\[pci\]device_spec: address '0000:81:00.9' has '9' as its function",
        ),
        (SPECS, {"report_in_placement": True}, "cannot both be told to placement"),
        (
            [{"address": "5:2.0", "traits": "a"}, {"address": "5:2.1"}],
            {"report_in_placement": True},
            "different resource classes or traits",
        ),
    ],
)
def test_devices_that_cannot_be_offered_are_an_error_at_start(tmp_path, specs, options, told):
    with pytest.raises(virt.errors.DriverError, match=told):
        Machine(tmp_path, specs, **options)
