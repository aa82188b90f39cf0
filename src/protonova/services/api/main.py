"""The api process: wires the database, the build operation, the ways to the other services, and the servicers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from protonova.api.v1 import cell_pb2_grpc, flavor_pb2_grpc, host_pb2_grpc, keypair_pb2_grpc, quota_pb2_grpc
from protonova.common.v1 import operation_pb2_grpc
from protonova.services.api import builds, cells, options, server_service, tables
from protonova.services.api.actions import BuildActions
from protonova.services.api.build_operation import Build
from protonova.services.api.cell_service import CellService
from protonova.services.api.cells import Cells
from protonova.services.api.conductors import Conductors
from protonova.services.api.creation.accept import Acceptor
from protonova.services.api.creation.images import ImageLookup, ImageSource
from protonova.services.api.creation.networks import NetworkSource
from protonova.services.api.creation.plan import Planner
from protonova.services.api.creation.volumes import VolumeSource
from protonova.services.api.fan_out import FanOut
from protonova.services.api.flavor_service import FlavorService
from protonova.services.api.host_service import HostService
from protonova.services.api.hosts import HostDirectory
from protonova.services.api.housekeeping import Housekeeping
from protonova.services.api.keypair_service import KeypairService
from protonova.services.api.limits import Limits
from protonova.services.api.listing import Listing
from protonova.services.api.mappings import Mappings
from protonova.services.api.neighbours import Neighbours
from protonova.services.api.quota_service import QuotaService
from protonova.services.api.server_service import ServerService
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
    engine = Engine(
        db,
        tables.operation_tables,
        [Build(db, directory, neighbours, conf)],
        owner=f"{NAME}@{conf.host}",
        host=conf.host,
        workers=conf.api.workers,
        lease_seconds=conf.operations.lease_seconds,
        poll_seconds=conf.operations.poll_seconds,
    )
    planner = Planner(
        conf,
        limits,
        hosts,
        ImageLookup(sources.images, conf.api.image_cache_seconds),
        sources.networks,
        sources.volumes,
    )
    build_feed = feeds.Feed(db, tables.feed_tables, tables.BUILDS_TOPIC, builds.load)
    cell_feed = feeds.Feed(db, tables.feed_tables, tables.CELLS_TOPIC, cells.load)
    servers = ServerService(
        db,
        directory,
        places,
        limits,
        Acceptor(conf, db, planner, engine),
        Listing(conf, db, directory, places, fan_out),
        Watching(db, directory, build_feed, server.stopping),
        BuildActions(engine),
    )
    server.add(server_service.add_to_server, servers)
    server.add(flavor_pb2_grpc.add_FlavorServiceServicer_to_server, FlavorService(db))
    server.add(keypair_pb2_grpc.add_KeypairServiceServicer_to_server, KeypairService(db, limits))
    server.add(quota_pb2_grpc.add_QuotaServiceServicer_to_server, QuotaService(db, limits))
    server.add(
        host_pb2_grpc.add_HostServiceServicer_to_server, HostService(directory, hosts, fan_out, timeout)
    )
    server.add(
        cell_pb2_grpc.add_CellServiceServicer_to_server,
        CellService(db, directory, cell_feed, server.stopping),
    )
    server.add(operation_pb2_grpc.add_OperationServiceServicer_to_server, OperationServicer(engine))
    housekeeping = Housekeeping(conf, db)
    # The last added is stopped first.
    for stop in (db.close, conductors.close, neighbours.close, fan_out.close, housekeeping.stop):
        server.on_stop(stop)
    server.on_stop(lambda: engine.stop(conf.graceful_shutdown_timeout))
    housekeeping.start()
    engine.start()
    return engine


def main(argv: Sequence[str] = ()) -> int:
    conf = config.load(list(argv))
    return process.run(NAME, conf, _serve)


def _serve(conf: Conf, server: Server) -> None:
    build(conf, server)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
