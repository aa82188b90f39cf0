"""The placement service's process."""

from __future__ import annotations

from collections.abc import Sequence

from protonova.placement.v1 import (
    allocation_pb2_grpc,
    resource_class_pb2_grpc,
    resource_provider_pb2_grpc,
    trait_pb2_grpc,
)
from protonova.services.placement import migrations
from protonova.services.placement.house import House
from protonova.services.placement.service.allocations import AllocationServicer
from protonova.services.placement.service.names import ResourceClassServicer, TraitServicer
from protonova.services.placement.service.resource_providers import ResourceProviderServicer
from protonova.services.runtime import config, migration, process
from protonova.services.runtime.config import Conf
from protonova.services.runtime.server import Server


def build(conf: Conf, server: Server) -> None:
    """Wires placement into a server; returns when the index is whole."""
    house = House(conf, server.stopping)
    server.on_stop(house.stop)
    server.add(
        resource_provider_pb2_grpc.add_ResourceProviderServiceServicer_to_server,
        ResourceProviderServicer(house),
    )
    server.add(allocation_pb2_grpc.add_AllocationServiceServicer_to_server, AllocationServicer(house))
    server.add(trait_pb2_grpc.add_TraitServiceServicer_to_server, TraitServicer(house))
    server.add(
        resource_class_pb2_grpc.add_ResourceClassServiceServicer_to_server, ResourceClassServicer(house)
    )
    house.start()


def main(argv: Sequence[str] = ()) -> int:
    """Runs placement in the foreground."""
    return process.run("placement", config.load(argv), build, prepare=_prepare)


def _prepare(conf: Conf) -> None:
    migration.upgrade_apart(conf.placement_database, migrations)
