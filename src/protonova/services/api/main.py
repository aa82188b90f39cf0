"""The api process: wires the database, the build operation, the ways to the other services, and the servicers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from protonova.api.v1 import (
    aggregate_pb2_grpc,
    cell_pb2_grpc,
    console_pb2_grpc,
    flavor_pb2_grpc,
    host_pb2_grpc,
    keypair_pb2_grpc,
    migration_pb2_grpc,
    quota_pb2_grpc,
    server_device_pb2_grpc,
    server_group_pb2_grpc,
    server_image_pb2_grpc,
    transfer_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.common.v1 import operation_pb2_grpc
from protonova.services.api import builds, cells, options, server_service, tables
from protonova.services.api.actions import BuildActions
from protonova.services.api.aggregates import store
from protonova.services.api.aggregates.changes import AggregateChanges
from protonova.services.api.aggregates.image_caching import CacheImages
from protonova.services.api.aggregates.mirror import MirrorAggregate
from protonova.services.api.aggregates.placement import ProviderAggregates
from protonova.services.api.aggregates.service import AggregateService
from protonova.services.api.aggregates.upkeep import AggregateUpkeep
from protonova.services.api.build_operation import Build
from protonova.services.api.cell_service import CellService
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import Conductors
from protonova.services.api.console_service import ConsoleService
from protonova.services.api.creation.accept import Acceptor
from protonova.services.api.creation.again import Preparer
from protonova.services.api.creation.images import ImageLookup, ImageSource
from protonova.services.api.creation.networks import NetworkSource
from protonova.services.api.creation.plan import Planner
from protonova.services.api.creation.volumes import VolumeSource
from protonova.services.api.dry_run import DryRun
from protonova.services.api.fan_out import FanOut
from protonova.services.api.flavor_service import FlavorService
from protonova.services.api.host_service import HostService
from protonova.services.api.hosts import HostDirectory
from protonova.services.api.housekeeping import forget_keys
from protonova.services.api.keypair_service import KeypairService
from protonova.services.api.limits import Limits
from protonova.services.api.listing import Listing
from protonova.services.api.mappings import Mappings
from protonova.services.api.migration_service import MigrationService
from protonova.services.api.move_charges import SettleCharge
from protonova.services.api.neighbours import Neighbours
from protonova.services.api.purge import purge
from protonova.services.api.quota_service import QuotaService
from protonova.services.api.server_device_service import ServerDeviceService
from protonova.services.api.server_group_service import ServerGroupService
from protonova.services.api.server_image_service import ServerImageService
from protonova.services.api.server_service import ServerService
from protonova.services.api.transfer_service import TransferService
from protonova.services.api.usage_service import UsageService
from protonova.services.api.watching import Watching
from protonova.services.runtime import config, feeds, migration, process
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database
from protonova.services.runtime.openstack.image import Images
from protonova.services.runtime.openstack.network import Networks
from protonova.services.runtime.openstack.volume import Volumes
from protonova.services.runtime.operations import Engine
from protonova.services.runtime.operations.service import OperationServicer
from protonova.services.runtime.server import Server
from protonova.services.runtime.upkeep import Upkeep, Work

NAME = "api"
MIGRATIONS = f"{__package__}.migrations"
assert options  # registers them


@dataclass
class Sources:
    """The services that images, networks and volumes are asked of."""

    images: ImageSource
    networks: NetworkSource
    volumes: VolumeSource


def build(conf: Conf, server: Server, sources: Sources | None = None) -> Engine:
    """Adds the servicers to a server and starts what works beside them."""
    db = Database.of(conf.api_database, tables.metadata)
    if conf.api_database.sync_on_startup:
        migration.upgrade(db, MIGRATIONS)
    sources = sources or Sources(Images(conf), Networks(conf), Volumes(conf))
    conductors, neighbours, fan_out = Conductors(conf), Neighbours(conf), FanOut()
    directory = Cells(db, conductors)
    timeout = float(conf.api.cell_timeout)
    hosts = HostDirectory(db, directory, fan_out, conf.api.host_cache_seconds, timeout)
    limits, places = Limits(conf), Mappings(db, conf.api.mapping_cache_size)
    placement = ProviderAggregates(conf)
    engine = Engine(
        db,
        tables.operation_tables,
        [
            Build(db, directory, neighbours, conf),
            MirrorAggregate(db, hosts, placement, conf),
            CacheImages(directory, hosts, conf),
            SettleCharge(directory, conf),
        ],
        owner=f"{NAME}@{conf.host}",
        host=conf.host,
        workers=conf.api.workers,
        lease_seconds=conf.operations.lease_seconds,
        poll_seconds=conf.operations.poll_seconds,
    )
    lookup = ImageLookup(sources.images, conf.api.image_cache_seconds)
    planner = Planner(
        conf,
        limits,
        hosts,
        lookup,
        sources.networks,
        sources.volumes,
    )
    build_feed = feeds.Feed(db, tables.feed_tables, tables.BUILDS_TOPIC, builds.load)
    cell_feed = feeds.Feed(db, tables.feed_tables, tables.CELLS_TOPIC, cells.load)
    aggregate_feed = feeds.Feed(db, tables.feed_tables, tables.AGGREGATES_TOPIC, store.load)
    changes = AggregateChanges(db, engine, hosts)
    servers = ServerService(
        db,
        directory,
        places,
        limits,
        Acceptor(conf, db, planner, engine),
        Listing(conf, db, directory, places, fan_out),
        Watching(db, directory, build_feed, server.stopping),
        BuildActions(engine),
        DryRun(conf, db, planner, directory, neighbours),
        Preparer(conf, db, limits, lookup, sources.volumes),
    )
    server.add(server_service.add_to_server, servers)
    server.add(
        server_device_pb2_grpc.add_ServerDeviceServiceServicer_to_server,
        ServerDeviceService(directory, places, sources.volumes),
    )
    server.add(console_pb2_grpc.add_ConsoleServiceServicer_to_server, ConsoleService(directory, places))
    server.add(
        server_image_pb2_grpc.add_ServerImageServiceServicer_to_server,
        ServerImageService(conf, db, directory, hosts, servers.relay),
    )
    server.add(
        migration_pb2_grpc.add_MigrationServiceServicer_to_server,
        MigrationService(conf, db, directory, places, hosts, limits, engine, fan_out),
    )
    transfers = TransferService(db, directory)
    server.add(transfer_pb2_grpc.add_TransferServiceServicer_to_server, transfers)
    server.add(flavor_pb2_grpc.add_FlavorServiceServicer_to_server, FlavorService(db))
    server.add(keypair_pb2_grpc.add_KeypairServiceServicer_to_server, KeypairService(db, limits))
    server.add(quota_pb2_grpc.add_QuotaServiceServicer_to_server, QuotaService(db, limits))
    server.add(server_group_pb2_grpc.add_ServerGroupServiceServicer_to_server, ServerGroupService(db, limits))
    server.add(
        usage_pb2_grpc.add_UsageServiceServicer_to_server, UsageService(conf, db, directory, hosts, fan_out)
    )
    server.add(
        host_pb2_grpc.add_HostServiceServicer_to_server,
        HostService(directory, hosts, changes, fan_out, timeout),
    )
    server.add(
        aggregate_pb2_grpc.add_AggregateServiceServicer_to_server,
        AggregateService(db, changes, engine, lookup, aggregate_feed, server.stopping),
    )
    server.add(
        cell_pb2_grpc.add_CellServiceServicer_to_server,
        CellService(db, directory, cell_feed, server.stopping),
    )
    server.add(operation_pb2_grpc.add_OperationServiceServicer_to_server, OperationServicer(engine))
    keys = Work(
        "idempotency-keys", "Forgets idempotency keys past their day.", 600.0, lambda: forget_keys(conf, db)
    )
    old = Work(
        "purge-deleted",
        "Forgets servers that were deleted keep_deleted_days ago, and how they were built.",
        3600.0 if conf.keep_deleted_days else 0,
        lambda: purge(db, conf.keep_deleted_days),
    )
    upkeep = Upkeep(keys, old, *AggregateUpkeep(conf, db, engine, hosts, placement).works())
    # The last added is stopped first.
    for stop in (db.close, conductors.close, neighbours.close, placement.close, fan_out.close):
        server.on_stop(stop)
    server.on_stop(lambda: engine.stop(conf.graceful_shutdown_timeout))
    engine.start()
    upkeep.serve(server)
    return engine


def main(argv: Sequence[str] = ()) -> int:
    conf = config.load(list(argv))
    return process.run(NAME, conf, _serve, prepare=_prepare)


def _prepare(conf: Conf) -> None:
    migration.upgrade_apart(conf.api_database, MIGRATIONS)


def _serve(conf: Conf, server: Server) -> None:
    build(conf, server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
