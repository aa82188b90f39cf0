"""The deletion of a server: guest, ports, volumes, shares, what it holds in placement, its place in the region, its
row.

It preempts whatever is done to the server and expects any half-done state, so each step looks at the services
themselves for what there is of the server, not at the record alone. Of a server on the move there may be something
on two hosts, and under two consumers in placement.
"""

from __future__ import annotations

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.api.v1 import server_pb2 as api_pb2
from protonova.common.v1.migration_pb2 import Migration, MigrationStatus
from protonova.common.v1.server_pb2 import PowerState, Server, VmState
from protonova.services.conductor import actions, faults, transfers
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import status, store
from protonova.services.conductor.operations import agent, claim, network, share_access, volume
from protonova.services.conductor.operations import build as building
from protonova.services.conductor.operations.image import DISCARD
from protonova.services.conductor.operations.moves import guests
from protonova.services.conductor.servers import console_tokens, shares
from protonova.services.conductor.servers.store import remove_tags
from protonova.services.conductor.states import IDLE
from protonova.services.conductor.tables import operation_tables
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Run, Step

_log = logging.getLogger("protonova.conductor.delete")

_AS_GOOD_AS = {
    MigrationStatus.MIGRATION_STATUS_FINISHED: MigrationStatus.MIGRATION_STATUS_CONFIRMED,
    MigrationStatus.MIGRATION_STATUS_CONFIRMING: MigrationStatus.MIGRATION_STATUS_CONFIRMED,
    MigrationStatus.MIGRATION_STATUS_REVERTING: MigrationStatus.MIGRATION_STATUS_REVERTED,
}


class Guest(Step):
    """On every host that may have something of the server: a move touches two."""

    name = "guest"
    event = "compute_terminate_instance"

    def __init__(self, cell: Cell) -> None:
        # Long enough to see that a host which does not answer is down.
        super().__init__(timeout=cell.conf.conductor.guest_timeout + cell.conf.service_down_time)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["host"] or run.payload.get("moved_by"))

    def do(self, run: Run) -> Outcome:
        host = run.payload["host"]
        if host:
            agent.destroy(self._cell, run, host)
        for migration_id in run.payload.get("crossing", ()):
            self._elsewhere(run, migration_id)
        for other in run.payload.get("other_hosts", ()):
            agent.destroy(self._cell, run, other)
        if run.payload.get("moved_by"):
            for each in filter(None, (host, *run.payload["other_hosts"])):
                guests.discard(self._cell, run, run.subject, each)
        return Outcome(host=host)

    def _elsewhere(self, run: Run, migration_id: str) -> None:
        """What another cell has of the server. One that has come from there is let go by that cell, whatever it is
        about to do; one on its way there, or back there, is taken back first. A cell that deletes it, too, sees to
        what it has."""
        migration = self._cell.db.read(lambda c: store.get(c, migration_id))
        take = transfers.withdraw if migration.status in status.ARRIVED else transfers.take_back
        try:
            take(self._cell, run, migration, self.name)
        except errors.FailedPrecondition as error:
            if error.reason != transfers.IS_DELETED:
                raise


class Ports(Step):
    name = "ports"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["ports"])

    def do(self, run: Run) -> Outcome | None:
        server, build = self._cell.db.read(
            lambda c: (self._cell.servers.get(c, run.subject), building.find(c, run.subject))
        )
        kept = {interface.port_id for interface in server.interfaces if not interface.created_for_server}
        network.release_ports(self._cell, server.id, kept | network.kept_ports(build))
        return None


class Volumes(Step):
    name = "volumes"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload["volumes"])

    def do(self, run: Run) -> Outcome | None:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        volume.detach_volumes(self._cell, server.id)
        for device in server.block_devices:
            try:
                if device.volume_id and device.delete_on_termination:
                    self._cell.outside.volumes.delete(device.volume_id)
                elif volume.made_unrecorded(device):
                    volume.delete_made_volume(self._cell, server.id, device)
            except (errors.InvalidArgument, errors.FailedPrecondition, errors.PermissionDenied) as error:
                # There is a snapshot of it, or it is protected: its user's affair from now on.
                _log.warning("A volume of server %s stays: %s", server.id, error.message)
        return None


class Shares(Step):
    """No guest has them any more."""

    name = "shares"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def needed(self, run: Run) -> bool:
        return bool(run.payload.get("shares"))

    def do(self, run: Run) -> None:
        server = self._cell.db.read(lambda c: self._cell.servers.get(c, run.subject))
        for share in server.shares:
            share_access.give_back(self._cell, run, share, run.payload["host"])


class Release(Step):
    """The last one: nobody can find the server any more once the api service has let it go."""

    name = "release"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        claim.release_claims(cell, run.subject)
        moved_by = run.payload.get("moved_by", ())
        for migration_id in moved_by:
            claim.release_claims(cell, migration_id)
        cell.outside.api.ReleaseServers(api_pb2.ReleaseServersRequest(server_ids=[run.subject]))

        def apply(connection: Connection) -> None:
            building.forget(connection, run.subject)
            console_tokens.forget(connection, run.subject)
            for migration_id in moved_by:
                store.change(connection, migration_id, _end)
            server = cell.servers.write(connection, run.subject, _gone)
            remove_tags(connection, server.id, server.tags)
            cell.servers.tell(connection, server)

        return Outcome(apply=apply)


class Delete(Kind):
    name = "delete"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [Guest(cell), Ports(cell), Volumes(cell), Shares(cell), Release(cell)]

    def finished(self, run: Run, connection: Connection) -> None:
        if image_id := run.payload.get("image"):
            self.engine.create(connection, DISCARD, image_id, {})

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> None:
        """What is deleted stays deleted; the rest is for another try."""

        def alter(server: Server) -> None:
            actions.settle(actions.DELETE, server, vm_state=VmState.VM_STATE_ERROR)
            shares.give_up(server)
            faults.set_fault(server, error)

        self._cell.servers.change(connection, run.subject, alter)


def _end(migration: Migration) -> None:
    """A move that had come to its end is confirmed by the deletion, and what was on its way back is back; one that
    left a guest behind waits for that."""
    if migration.status in _AS_GOOD_AS:
        migration.status = _AS_GOOD_AS[migration.status]
    elif migration.status in status.UNDER_WAY:
        migration.status = MigrationStatus.MIGRATION_STATUS_ERROR


def _gone(server: Server) -> None:
    server.vm_state = VmState.VM_STATE_DELETED
    server.task_state = IDLE
    server.power_state = PowerState.POWER_STATE_UNSPECIFIED
    server.ClearField("soft_deleted_at")
    server.ClearField("shares")
    server.terminated_at.CopyFrom(server.updated_at)
    server.deleted_at.CopyFrom(server.updated_at)


def payload(connection: Connection, server: Server) -> dict[str, Any]:
    """What a deletion is about, as it stands when the deletion begins: whatever it preempts commits no more."""
    build = building.find(connection, server.id)
    unended = store.with_status(connection, server.id, status.UNDER_WAY | status.LEFT_BEHIND)
    # What an evacuation left on a dead host goes when that comes back.
    under_way = [each for each in unended if each.status in status.UNDER_WAY]
    touched = {host for each in under_way for host in (each.source_host, each.dest_host)}
    return {
        "host": server.host,
        "other_hosts": sorted(touched - {server.host, ""}),
        "moved_by": [each.id for each in unended],
        "crossing": [each.id for each in under_way if each.other_cell_id],
        "ports": bool(server.interfaces)
        or (build is not None and building.needs_ports(build))
        or _under_way(connection, server.id, "attach_interface"),
        "volumes": building.needs_volumes(server),
        "shares": bool(server.shares),
        # What a shelved server is kept as.
        "image": server.shelved_image_id,
    }


def _under_way(connection: Connection, server_id: str, kind: str) -> bool:
    """Whether something is being done to the server whose effects its record does not know yet."""
    operations = operation_tables.operations.c
    unfinished = sa.select(operations.id).where(
        operations.subject == server_id, operations.kind == kind, operations.finished_at.is_(None)
    )
    return connection.execute(unfinished.limit(1)).first() is not None
