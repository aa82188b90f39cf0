"""The scheduler's process."""

from __future__ import annotations

from collections.abc import Sequence

from protonova.api.v1 import server_group_pb2_grpc
from protonova.placement.v1 import allocation_pb2_grpc
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import config, process
from protonova.services.runtime.channel import connect
from protonova.services.runtime.config import Conf
from protonova.services.runtime.server import Server
from protonova.services.scheduler import filters, weighers
from protonova.services.scheduler.destinations import Destinations
from protonova.services.scheduler.following import Following
from protonova.services.scheduler.groups import Groups
from protonova.services.scheduler.options import FILTERS, GROUP
from protonova.services.scheduler.planning import Rules
from protonova.services.scheduler.service import SchedulerServicer
from protonova.services.scheduler.view import HostView


def build(conf: Conf, server: Server) -> None:
    """Wires the scheduler into a server. It begins to follow at once and decides when it knows enough."""
    view = HostView()
    following = Following(conf, view)
    placement, api = connect(conf, conf.placement.target), connect(conf, conf.api.target)
    allocations = allocation_pb2_grpc.AllocationServiceStub(placement)
    rules = Rules(
        filters.place(conf),
        filters.load(conf),
        weighers.load(conf),
        filters.strict(conf),
        subset_size=conf[FILTERS].host_subset_size,
        shuffle=conf[FILTERS].shuffle_best_same_weighed_hosts,
    )
    destinations = Destinations(
        view,
        allocations,
        rules,
        Groups(
            server_group_pb2_grpc.ServerGroupServiceStub(api),
            allocations,
            conf[GROUP].group_patience_seconds,
        ),
        conf,
    )
    server.add(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(destinations, following),
    )
    server.on_stop(placement.close)
    server.on_stop(api.close)
    server.on_stop(following.stop)
    following.start()


def main(argv: Sequence[str] = ()) -> int:
    """Runs a scheduler in the foreground."""
    return process.run("scheduler", config.load(argv), build)
