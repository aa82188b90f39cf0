"""TransferService: what a cell does for a server that moves between it and another cell.

Each call that begins an operation begins it once: the operation's id is made of the key.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import grpc
from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.server_pb2 import Server, VmState
from protonova.conductor.v1 import transfer_pb2 as pb
from protonova.conductor.v1 import transfer_pb2_grpc
from protonova.services.conductor.actions import DELETE, SOFT_DELETE
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations.moves import transfer
from protonova.services.conductor.servers import console_tokens, past
from protonova.services.conductor.servers.store import add_tags, remove_tags
from protonova.services.runtime import errors
from protonova.services.runtime.operations import DONE, Engine

_KEYS = uuid.UUID("5a1f5a0e-6a4e-4a6f-8f0a-0d6f6f0b8f11")
# How long a call waits for the end of its operation, in seconds.
_WAIT = 2.0
# What the cell a server comes to knows better than the one it leaves.
_OWN = ("cell_id", "host", "node", "availability_zone", "instance_name", "root_device_name")
_DELETIONS = (DELETE.operation, SOFT_DELETE.operation)
_Begin = Callable[[Connection], Mapping[str, Any] | None]


class TransferServicer(transfer_pb2_grpc.TransferServiceServicer):
    def __init__(self, cell: Cell, engine: Engine) -> None:
        self._cell = cell
        self._engine = engine

    def PrepareArrival(
        self, request: pb.PrepareArrivalRequest, context: grpc.ServicerContext
    ) -> pb.PrepareArrivalResponse:
        def begin(connection: Connection) -> Mapping[str, Any]:
            self._keep(connection, request)
            return transfer.arrival(request.destination, check=True)

        done = self._done(transfer.RECEIVE, request.key, request.server.id, begin)
        host = self._cell.host(request.destination.host)
        return pb.PrepareArrivalResponse(done=done, host_ip=host.report.host_ip if host else "")

    def ReceiveServer(
        self, request: pb.ReceiveServerRequest, context: grpc.ServicerContext
    ) -> pb.ReceiveServerResponse:
        def begin(connection: Connection) -> Mapping[str, Any]:
            self._take_over(connection, request.server, request.migration_id)
            image = request.image if request.HasField("image") else None
            return transfer.arrival(request.destination, start=request.start, image=image)

        return pb.ReceiveServerResponse(
            done=self._done(transfer.RECEIVE, request.key, request.server.id, begin)
        )

    def ReturnServer(
        self, request: pb.ReturnServerRequest, context: grpc.ServicerContext
    ) -> pb.ReturnServerResponse:
        def begin(connection: Connection) -> Mapping[str, Any]:
            self._take_over(connection, request.server, request.migration_id)
            return {"migration": request.migration_id, "start": request.start}

        return pb.ReturnServerResponse(
            done=self._done(transfer.RETURN, request.key, request.server.id, begin)
        )

    def LeaveAgain(
        self, request: pb.LeaveAgainRequest, context: grpc.ServicerContext
    ) -> pb.LeaveAgainResponse:
        def begin(connection: Connection) -> Mapping[str, Any]:
            def keep(migration: Migration) -> None:
                migration.status, migration.away = MigrationStatus.MIGRATION_STATUS_FINISHED, True

            def hide(server: Server) -> None:
                if server.vm_state == VmState.VM_STATE_SOFT_DELETED:
                    raise _deleted(server)
                self._let_deletions_end(connection, server)
                server.away_by = request.migration_id

            server = self._cell.servers.write(connection, request.server_id, hide, away=True)
            store.change(connection, request.migration_id, keep)
            console_tokens.forget(connection, request.server_id)
            self._cell.servers.tell(connection, server)
            return {"migration": request.migration_id}

        done = self._done(transfer.LEAVE_AGAIN, request.key, request.server_id, begin, preempt=True)
        return pb.LeaveAgainResponse(done=done)

    def ShowServer(
        self, request: pb.ShowServerRequest, context: grpc.ServicerContext
    ) -> pb.ShowServerResponse:
        wanted, given = request.server, request.migration

        def show(connection: Connection) -> None:
            def alter(server: Server) -> None:
                _kept_by(server, given.id)
                kept = Server()
                kept.CopyFrom(server)
                remove_tags(connection, server.id, kept.tags)
                _become(server, wanted, kept)
                if kept.away_by:
                    server.launched_at.CopyFrom(server.updated_at)
                add_tags(connection, [(server.id, tag) for tag in server.tags])

            def arrive(migration: Migration) -> None:
                migration.CopyFrom(given)

            past.enter(connection, wanted.id, request.actions)
            store.change(connection, given.id, arrive)
            self._cell.servers.tell(
                connection, self._cell.servers.write(connection, wanted.id, alter, away=True)
            )

        self._cell.db.write(show)
        return pb.ShowServerResponse()

    def WithdrawServer(
        self, request: pb.WithdrawServerRequest, context: grpc.ServicerContext
    ) -> pb.WithdrawServerResponse:
        cell = self._cell

        def begin(connection: Connection) -> Mapping[str, Any] | None:
            def hide(server: Server) -> None:
                self._let_deletions_end(connection, server)
                if not server.away_by and not request.by_force:
                    raise errors.Aborted(
                        f"Server {server.id} is in this cell.",
                        reason="SERVER_IS_HERE",
                        server_id=server.id,
                    )
                server.away_by = server.away_by or request.migration_id

            if not store.exists(connection, request.migration_id):
                return None
            try:
                server = cell.servers.write(connection, request.server_id, hide, away=True)
            except errors.NotFound:
                store.remove(connection, request.migration_id)
                return None
            if server.away_by != request.migration_id:
                return None
            cell.servers.tell(connection, server)
            return {"host": server.host, "migration": request.migration_id}

        done = self._done(transfer.WITHDRAW, request.key, request.server_id, begin, preempt=True)
        return pb.WithdrawServerResponse(done=done)

    # ---- inside

    def _keep(self, connection: Connection, request: pb.PrepareArrivalRequest) -> None:
        """The record of a server that is on its way here. Raises SERVER_ALREADY_HERE."""
        server, migration = Server(), Migration()
        server.CopyFrom(request.server)
        migration.CopyFrom(request.migration)
        if store.exists(connection, migration.id):
            return
        if self._cell.servers.existing(connection, [server.id]):
            # A move that went back may not have been cleaned here yet.
            raise errors.Aborted(
                f"Server {server.id} is known to this cell.",
                reason="SERVER_ALREADY_HERE",
                server_id=server.id,
            )
        past.forget(connection, server.id)
        chosen = request.destination
        server.generation, server.instance_name, server.away_by = 0, "", migration.id
        server.cell_id, server.host, server.node = self._cell.id, chosen.host, chosen.node
        server.availability_zone = chosen.availability_zone
        server.ClearField("host_status")
        self._cell.servers.insert(connection, [server])
        store.insert(connection, migration)

    def _take_over(self, connection: Connection, given: Server, migration_id: str) -> None:
        """The record that is kept says what the guest is to be made of."""

        def alter(server: Server) -> None:
            _kept_by(server, migration_id)
            kept = Server()
            kept.CopyFrom(server)
            _become(server, given, kept)
            server.tags[:] = kept.tags
            server.numa_topology.CopyFrom(given.numa_topology)
            if not given.HasField("numa_topology"):
                server.ClearField("numa_topology")
            server.away_by = migration_id

        self._cell.servers.write(connection, given.id, alter, away=True)

    def _let_deletions_end(self, connection: Connection, server: Server) -> None:
        """Raises SERVER_IS_DELETED for a server that everybody finds here, and that is being deleted here, whatever
        its task state says: it is not taken from under its deletion."""
        if server.away_by:
            return
        under_way = self._engine.store.line(connection, server.id)
        if any(row.kind in _DELETIONS and not row.preempted for row in under_way):
            raise _deleted(server)

    def _done(self, kind: str, key: str, server_id: str, begin: _Begin, *, preempt: bool = False) -> bool:
        """Whether the operation under a key has ended well; begins it if there is none, unless `begin` says that
        there is nothing to do. Raises what it failed with."""
        own = str(uuid.uuid5(_KEYS, key))

        def write(connection: Connection) -> str:
            if self._engine.store.load(connection, own) is not None:
                return own
            payload = begin(connection)
            if payload is None:
                return ""
            if kind == transfer.WITHDRAW:
                for row in self._engine.store.line(connection, server_id):
                    if row.kind == kind:
                        # Asked for already, under another key: of two, one would make the other give way.
                        return str(row.id)
            self._engine.create(connection, kind, server_id, payload, preempt=preempt, operation_id=own)
            return own

        operation_id = self._cell.db.write(write)
        if not operation_id:
            return True
        self._engine.run(operation_id)
        found = self._engine.wait(operation_id, _WAIT)
        if found.state == DONE:
            return True
        if found.finished_at:
            raise _final(found.error, found.state)
        return False


def _become(server: Server, wanted: Server, kept: Server) -> None:
    server.CopyFrom(wanted)
    for name in _OWN:
        setattr(server, name, getattr(kept, name))
    server.generation, server.power_state, server.away_by = kept.generation, kept.power_state, ""
    server.updated_at.CopyFrom(kept.updated_at)
    server.ClearField("numa_topology")
    if kept.HasField("numa_topology"):
        server.numa_topology.CopyFrom(kept.numa_topology)
    del server.pci_devices[:]
    server.pci_devices.extend(kept.pci_devices)


def _deleted(server: Server) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Server {server.id} is deleted in this cell.", reason="SERVER_IS_DELETED", server_id=server.id
    )


def _kept_by(server: Server, migration_id: str) -> None:
    """Raises SERVER_NOT_FOUND for a record that is kept because of another migration."""
    if server.away_by not in ("", migration_id):
        raise errors.NotFound(
            f"Server {server.id} is not moved by {migration_id}.",
            reason="SERVER_NOT_FOUND",
            server_id=server.id,
        )


def _final(error: errors.Error | None, state: str) -> errors.Error:
    """What an operation ended with does not change by asking again."""
    if error is None:
        return errors.FailedPrecondition(f"The operation was {state}.", reason="OPERATION_FAILED")
    if not error.transient:
        return error
    return errors.FailedPrecondition(error.message, reason=error.reason, **error.facts)
