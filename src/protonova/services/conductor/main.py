"""The conductor's process: one replica of one cell's conductor."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from oslo_config import cfg

from protonova.api.v1 import cell_pb2
from protonova.common.v1 import operation_pb2_grpc
from protonova.conductor.v1 import (
    console_pb2_grpc,
    host_pb2_grpc,
    migration_pb2_grpc,
    server_device_pb2_grpc,
    server_image_pb2_grpc,
    server_pb2_grpc,
    transfer_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.services.conductor import options  # noqa: F401 - registers the options
from protonova.services.conductor.cell import Cell, wire
from protonova.services.conductor.hosts.watching import HostWatching
from protonova.services.conductor.operations.kinds import kinds
from protonova.services.conductor.registration import Registration
from protonova.services.conductor.servers.watching import ServerWatching
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.console import ConsoleServicer
from protonova.services.conductor.service.devices import ServerDeviceServicer
from protonova.services.conductor.service.following import Following
from protonova.services.conductor.service.history import History
from protonova.services.conductor.service.host import HostServicer
from protonova.services.conductor.service.image import ServerImageServicer
from protonova.services.conductor.service.migration import MigrationServicer
from protonova.services.conductor.service.moves import Moves
from protonova.services.conductor.service.server import ServerServicer
from protonova.services.conductor.service.transfer import TransferServicer
from protonova.services.conductor.service.usage import UsageServicer
from protonova.services.conductor.tables import operation_tables
from protonova.services.conductor.upkeep import upkeep
from protonova.services.runtime import config, migration, process
from protonova.services.runtime.operations import Engine
from protonova.services.runtime.operations.service import OperationServicer
from protonova.services.runtime.server import Server

MIGRATIONS = "protonova.services.conductor.migrations"


def build(conf: cfg.ConfigOpts, server: Server) -> None:
    """Wires a conductor into a server; it begins to work at once."""
    assemble(conf, server, wire(conf))


def assemble(conf: cfg.ConfigOpts, server: Server, cell: Cell) -> Engine:
    """Like `build`, for a cell that is wired already."""
    if conf.database.sync_on_startup:
        migration.upgrade(cell.db, MIGRATIONS)
    engine = Engine(
        cell.db,
        operation_tables,
        kinds(cell),
        owner=f"{socket.gethostname()}:{os.getpid()}",
        workers=conf.conductor.workers,
        lease_seconds=conf.operations.lease_seconds,
        poll_seconds=conf.operations.poll_seconds,
        host=conf.host,
    )
    beginnings = Beginnings(cell, engine)
    history = History(cell)
    moves = Moves(cell, beginnings, history)
    watching = HostWatching(cell, server.stopping)
    servers = ServerServicer(cell, beginnings, history, ServerWatching(cell, server.stopping))
    images = ServerImageServicer(cell, beginnings)
    devices = ServerDeviceServicer(cell, engine, beginnings)
    hosts = HostServicer(cell, engine, watching, Following(cell, engine, beginnings))
    server.add(server_pb2_grpc.add_ServerServiceServicer_to_server, servers)
    server.add(server_image_pb2_grpc.add_ServerImageServiceServicer_to_server, images)
    server.add(server_device_pb2_grpc.add_ServerDeviceServiceServicer_to_server, devices)
    server.add(migration_pb2_grpc.add_MigrationServiceServicer_to_server, MigrationServicer(cell, moves))
    transfers = TransferServicer(cell, engine)
    server.add(transfer_pb2_grpc.add_TransferServiceServicer_to_server, transfers)
    server.add(console_pb2_grpc.add_ConsoleServiceServicer_to_server, ConsoleServicer(cell))
    server.add(usage_pb2_grpc.add_UsageServiceServicer_to_server, UsageServicer(cell))
    server.add(host_pb2_grpc.add_HostServiceServicer_to_server, hosts)
    server.add(operation_pb2_grpc.add_OperationServiceServicer_to_server, OperationServicer(engine))

    registration = Registration(cell.outside.cells, conf.conductor.registration_interval)
    works = upkeep(cell, beginnings, moves)
    server.on_stop(cell.db.close)
    server.on_stop(cell.outside.close)
    server.on_stop(watching.stop)
    server.on_stop(lambda: engine.stop(conf.graceful_shutdown_timeout))
    server.on_stop(registration.stop)
    engine.start()
    works.serve(server)
    server.on_start(lambda _port: registration.start(_cell_message(conf, server, cell)))
    return engine


def _cell_message(conf: cfg.ConfigOpts, server: Server, cell: Cell) -> cell_pb2.Cell:
    """The cell is reached at its target, or, where any free port will do, at the one that was found."""
    target = server.address if conf.conductor.listen.endswith(":0") else conf.conductor.target
    return cell_pb2.Cell(id=cell.id, name=conf.cell.name, conductor_target=target)


def main(argv: Sequence[str] = ()) -> int:
    """Runs a conductor in the foreground."""
    conf = config.load(list(argv))
    return process.run("conductor", conf, build, prepare=_prepare)


def _prepare(conf: cfg.ConfigOpts) -> None:
    migration.upgrade_apart(conf.database, MIGRATIONS)
