"""Decisions end to end: schedulers and placement as processes, ten thousand hosts, claims in a real database."""

from __future__ import annotations

import uuid

from benchmarks.client import wait_for
from benchmarks.figures import Line
from benchmarks.load import repeat, spread
from benchmarks.placement.seed import HOST, Seed
from benchmarks.placement.site import site
from benchmarks.scheduler.region import region
from protonova.common.v1 import flavor_pb2, server_pb2
from protonova.conductor.v1 import host_pb2
from protonova.scheduler.v1 import scheduler_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import errors

_HOSTS = 10_000
_CALLERS = 16
_MANY = 1_000


def figures(database: str) -> list[Line]:
    with site(database) as placement:
        seed = Seed(placement.url)
        nodes = seed.hosts(_HOSTS)
        seed.close()
        hosts = [_state(number, node) for number, node in enumerate(nodes)]
        with (
            placement.replica() as replica,
            region(placement.directory, replica.process.address, hosts) as about,
        ):
            with about.scheduler() as one, about.scheduler() as other:
                for stub in (one, other):
                    _await(stub)
                single = repeat(lambda: _select(one), 100)
                stubs = (one, other)
                rate = spread(lambda number: _select(stubs[number % 2]), range(800), workers=_CALLERS)
                many = repeat(lambda: _select(one, _MANY), 5, warm_up=1)
            with about.scheduler(max_placement_results=str(_HOSTS)) as wide:
                _await(wide)
                of_all = repeat(lambda: _select(wide), 50)
                many_of_all = repeat(lambda: _select(wide, _MANY), 3, warm_up=1)
    among = f"among {_HOSTS:,} hosts"
    return [
        Line(f"scheduler: SelectDestinations {among} p50", single.median_ms, "ms", "<15"),
        Line(f"scheduler: SelectDestinations {among} p99", single.percentile_ms(99), "ms"),
        Line("scheduler: decisions, two replicas, 16 callers", rate.rate, "/s", ">150"),
        Line(f"scheduler: {_MANY:,} servers in one request", many.median_ms / 1000, "s", "<1.5"),
        Line("scheduler: SelectDestinations, all of them offered p50", of_all.median_ms, "ms"),
        Line(f"scheduler: {_MANY:,} servers, all hosts offered", many_of_all.median_ms / 1000, "s"),
    ]


def _select(stub: scheduler_pb2_grpc.SchedulerServiceStub, count: int = 1) -> None:
    request = pb.SelectDestinationsRequest(
        spec=pb.RequestSpec(
            project_id="bench",
            user_id="bench",
            flavor=flavor_pb2.Flavor(id="1", name="m1.small", vcpus=1, memory_mb=512, root_gb=1),
            image=server_pb2.ImageSnapshot(id="image"),
        ),
        server_ids=[str(uuid.uuid4()) for _ in range(count)],
        max_alternates=2,
    )
    selections = stub.SelectDestinations(request).selections
    assert len(selections) == count
    assert all(selection.destination.host for selection in selections)


def _await(stub: scheduler_pb2_grpc.SchedulerServiceStub) -> None:
    """Until it knows the hosts."""

    def knows() -> bool:
        try:
            _select(stub)
        except errors.Unavailable:
            return False
        return True

    wait_for(knows, seconds=60, every=0.1, what="a scheduler that knows the hosts")


def _state(number: int, node: str) -> host_pb2.HostState:
    name = f"host-{number:07}.cloud.example"
    return host_pb2.HostState(
        host=name,
        node=name,
        node_id=node,
        availability_zone="nova",
        up=True,
        hypervisor_type="QEMU",
        hypervisor_version=8_002_000,
        architecture="x86_64",
        vcpus=HOST["VCPU"][0],
        memory_mb=HOST["MEMORY_MB"][0],
        local_gb=HOST["DISK_GB"][0],
        cell_id="cell-1",
    )
