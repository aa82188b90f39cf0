"""How long a decision takes among a thousand, ten thousand and a hundred thousand hosts: in memory, and end to
end (see `destinations.py`)."""

from __future__ import annotations

import gc
import json
import random
import time
import tracemalloc
import uuid

from benchmarks.figures import Line
from benchmarks.load import Times, repeat
from benchmarks.scheduler import destinations
from protonova.common.v1 import flavor_pb2, numa_pb2, pci_pb2, server_pb2
from protonova.conductor.v1 import host_pb2
from protonova.placement.v1 import allocation_pb2, resource_provider_pb2
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.runtime import config
from protonova.services.scheduler import filters, options, weighers  # noqa: F401 - registers the options
from protonova.services.scheduler.destinations import planner
from protonova.services.scheduler.following import take_host, take_load, take_provider
from protonova.services.scheduler.offer import Offer
from protonova.services.scheduler.planning import Rules
from protonova.services.scheduler.request import Request
from protonova.services.scheduler.view import HostView

_TARGETS_MS = {1_000: "<1", 10_000: "<4", 100_000: "<40"}
_MEASURED = 10_000
_CELLS = 20
_AMOUNTS = {"VCPU": 2, "MEMORY_MB": 2048, "DISK_GB": 10}
_CPU_INFO = json.dumps({"arch": "x86_64", "features": [f"feature{number}" for number in range(60)]})


def figures(database: str) -> list[Line]:
    """The database takes part in what is measured end to end."""
    lines = destinations.figures(database)
    for count in _TARGETS_MS:
        lines += _decisions(count)
    lines.append(Line("scheduler: the view, bytes a host", _bytes_per_host(), "B", "<2048"))
    lines.append(Line("scheduler: the view, bytes a host of 2 NUMA cells", _bytes_per_host(cells=2), "B"))
    lines.append(
        Line(
            "scheduler: the view, bytes a host of 2 NUMA cells, 8 GPUs", _bytes_per_host(cells=2, gpus=8), "B"
        )
    )
    return lines


def _decisions(count: int) -> list[Line]:
    view, nodes = _view(count)
    conf = config.load(files=[])
    rules = Rules(filters.place(conf), filters.load(conf), weighers.load(conf))
    answer = _answer(nodes)
    spec = _spec()
    reading: list[float] = []
    deciding: list[float] = []

    def decide() -> None:
        began = time.perf_counter()
        offer = Offer.of(answer)
        read = time.perf_counter()
        plan = planner(view, rules, Request(spec), offer).plan(["server"], 2)
        decided = time.perf_counter()
        assert len(plan.picks) == 1
        assert len(plan.picks[0].alternates) == 2
        reading.append(read - began)
        deciding.append(decided - read)

    gc.collect()
    repeat(decide, 100 if count < 100_000 else 25, warm_up=3)
    among = f"among {count:,} hosts p50"
    return [
        Line(f"scheduler: a decision {among}", Times(deciding, 1).median_ms, "ms", _TARGETS_MS[count]),
        Line(f"scheduler: to read whom placement named {among}", Times(reading, 1).median_ms, "ms"),
    ]


def _view(count: int, cells: int = 0, gpus: int = 0) -> tuple[HostView, list[str]]:
    """Hosts as feeds tell of them, with servers on each, none like another. Those of cells have a pinned guest, and
    a resource provider for each GPU."""
    chance = random.Random(count)
    view = HostView()
    nodes = [str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(count)]
    for number, node in enumerate(nodes):
        cell = f"cell-{number % _CELLS}"
        name = f"host-{number:06}.cloud.example"
        state = host_pb2.HostState(
            host=name,
            node=name,
            node_id=node,
            availability_zone=f"zone-{number % 3}",
            up=True,
            hypervisor_type="QEMU",
            hypervisor_version=8_002_000,
            architecture="x86_64",
            vcpus=64,
            memory_mb=262144,
            local_gb=4096,
            cell_id=cell,
            host_ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
            cpu_info=_CPU_INFO,
            supported_guests=[
                host_pb2.SupportedGuest(architecture="x86_64", hypervisor_type="kvm", vm_mode="hvm")
            ],
        )
        if cells:
            state.topology.CopyFrom(_topology(cells, chance))
        for gpu in range(gpus):
            state.devices.pools.add(
                vendor_id="10de",
                product_id="20b5",
                device_type=pci_pb2.PCI_DEVICE_TYPE_PCI,
                numa_cell=gpu % cells,
                total=1,
                free=chance.randrange(2),
                resource_class="CUSTOM_PCI_10DE_20B5",
                provider_id=str(uuid.UUID(int=chance.getrandbits(128))),
            )
        take_host(view, cell, state)
        servers = chance.randrange(30)
        load = host_pb2.HostLoad(
            node_id=node,
            servers=servers,
            io_operations=servers // 8,
            flavors={"1": servers, "2": 1},
            image_properties={"os_distro=debian": servers},
        )
        take_load(view, load)
        provider = resource_provider_pb2.ProviderState(
            provider=resource_provider_pb2.ResourceProvider(id=node, name=name, root_id=node, generation=1),
            usages={"VCPU": servers * 2, "MEMORY_MB": servers * 2048, "DISK_GB": servers * 20},
        )
        for resource, total, ratio in (("VCPU", 64, 4.0), ("MEMORY_MB", 262144, 1.0), ("DISK_GB", 4096, 1.0)):
            provider.inventories[resource].total = total
            provider.inventories[resource].allocation_ratio = ratio
        take_provider(view, provider)
    return view, nodes


def _answer(nodes: list[str]) -> allocation_pb2.ListAllocationCandidatesResponse:
    """As placement tells of hosts without anything below them."""
    answer = allocation_pb2.ListAllocationCandidatesResponse()
    answer.alone.packed_ids = b"".join(uuid.UUID(node).bytes for node in nodes)
    answer.alone.resources.amounts.update(_AMOUNTS)
    return answer


def _spec() -> scheduler_pb2.RequestSpec:
    return scheduler_pb2.RequestSpec(
        project_id="project",
        user_id="user",
        flavor=flavor_pb2.Flavor(id="1", name="m1.small", vcpus=2, memory_mb=2048, root_gb=10),
        image=server_pb2.ImageSnapshot(id="image", properties={"os_distro": "debian"}),
    )


def _topology(count: int, chance: random.Random) -> numa_pb2.HostTopology:
    """Cells that share 64 CPUs of 32 cores and 256 GiB; three quarters of the CPUs are dedicated."""
    host = numa_pb2.HostTopology(cpu_allocation_ratio=4.0, memory_allocation_ratio=1.0)
    each = 64 // count
    for number in range(count):
        first = number * each
        cell = host.cells.add(
            number=number,
            socket=number,
            shared_cpus=range(first, first + each // 4),
            dedicated_cpus=range(first + each // 4, first + each),
            siblings=[numa_pb2.CpuSet(cpus=(cpu, cpu + 1)) for cpu in range(first, first + each, 2)],
            memory_mb=262144 // count,
        )
        pinned = first + each // 4 + 2 * chance.randrange(each // 4)
        cell.pinned_cpus.extend((pinned, pinned + 1))
        for size_kb, total in ((4, 50 << 20), (2048, 16384), (1 << 20, 32)):
            cell.pages.add(size_kb=size_kb, total=total // count, used=chance.randrange(4))
        cell.distances.extend(
            numa_pb2.CellDistance(cell=other, distance=10 if other == number else 21)
            for other in range(count)
        )
    return host


def _bytes_per_host(cells: int = 0, gpus: int = 0) -> float:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = _view(_MEASURED, cells, gpus)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return (after - before) / len(kept[0])
