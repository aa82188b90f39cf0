"""The conductor's process: one replica of one cell's conductor."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from oslo_config import cfg

from protonova.api.v1 import cell_pb2
from protonova.common.v1 import operation_pb2_grpc
from protonova.conductor.v1 import host_pb2_grpc, server_pb2_grpc
from protonova.services.conductor import options  # noqa: F401 - registers the options
from protonova.services.conductor.cell import Cell, wire
from protonova.services.conductor.hosts.sweeper import Sweeper
from protonova.services.conductor.hosts.watching import HostWatching
from protonova.services.conductor.operations import reboot, start, stop
from protonova.services.conductor.operations.create import Create
from protonova.services.conductor.operations.delete import Delete
from protonova.services.conductor.registration import Registration
from protonova.services.conductor.servers.watching import ServerWatching
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.history import History
from protonova.services.conductor.service.host import HostServicer
from protonova.services.conductor.service.server import ServerServicer
from protonova.services.conductor.tables import operation_tables
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
        [Create(cell), Delete(cell), start.kind(cell), stop.kind(cell), reboot.kind(cell)],
        owner=f"{socket.gethostname()}:{os.getpid()}",
        workers=conf.conductor.workers,
        lease_seconds=conf.operations.lease_seconds,
        poll_seconds=conf.operations.poll_seconds,
        host=conf.host,
    )
    sweeper = Sweeper(cell.hosts, conf.conductor.up_check_interval)
    registration = Registration(cell.outside.cells, conf.conductor.registration_interval)
    server.add(
        server_pb2_grpc.add_ServerServiceServicer_to_server,
        ServerServicer(cell, Beginnings(cell, engine), History(cell), ServerWatching(cell, server.stopping)),
    )
    server.add(
        host_pb2_grpc.add_HostServiceServicer_to_server,
        HostServicer(cell, HostWatching(cell, server.stopping)),
    )
    server.add(operation_pb2_grpc.add_OperationServiceServicer_to_server, OperationServicer(engine))

    server.on_stop(cell.db.close)
    server.on_stop(cell.outside.close)
    server.on_stop(lambda: engine.stop(conf.graceful_shutdown_timeout))
    server.on_stop(sweeper.stop)
    server.on_stop(registration.stop)
    engine.start()
    sweeper.start()
    server.on_start(lambda _port: registration.start(_cell_message(conf, server, cell)))
    return engine


def _cell_message(conf: cfg.ConfigOpts, server: Server, cell: Cell) -> cell_pb2.Cell:
    """The cell is reached at its target, or, where any free port will do, at the one that was found."""
    target = server.address if conf.conductor.listen.endswith(":0") else conf.conductor.target
    return cell_pb2.Cell(id=cell.id, name=conf.cell.name, conductor_target=target)


def main(argv: Sequence[str] = ()) -> int:
    """Runs a conductor in the foreground."""
    conf = config.load(list(argv))
    return process.run("conductor", conf, build)
