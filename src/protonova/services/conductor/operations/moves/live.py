"""Live migration: a running guest goes to another host.

    enqueue      it has its place among those that wait for the source
    turn         it waits until the source has few enough others
    schedule     a destination is chosen and claimed
    claim        server and migration change over in placement
    prepare      volumes are attached there as well, and the destination readies itself
    migrate      the source moves the guest; how far that is, is told by its record
                 (from here on the server is on its destination, and nothing is taken back any more)
    clean        ports are bound there, and the source gives back what it had

While the guest moves, its record is where users' wishes stand: the step looks there for an abort, or for completion
by force, and passes it on. A conductor that dies leaves the guest moving; the next one joins in.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable
from typing import Any

from google.protobuf import json_format
from sqlalchemy.engine import Connection

from protonova.common.v1.migration_pb2 import Migration, MigrationProgress, MigrationStatus
from protonova.common.v1.server_pb2 import BlockDevice, NetworkInterface, Server
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.services.conductor.actions import LIVE_MIGRATE, settle
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.moves import store
from protonova.services.conductor.operations import agent
from protonova.services.conductor.operations.moves import claims, destination, ending, relocation
from protonova.services.runtime import errors
from protonova.services.runtime.operations import Kind, Outcome, Restart, Run, Step

_log = logging.getLogger("protonova.conductor.moves")
# How often the record says how far it is, at most.
_TELL_SECONDS = 0.5


class Enqueue(Step):
    name = "enqueue"
    pure = True

    def do(self, run: Run) -> Outcome:
        def apply(connection: Connection) -> None:
            store.set_status(connection, run.payload["migration"], MigrationStatus.MIGRATION_STATUS_QUEUED)

        return Outcome(apply=apply)


class Turn(Step):
    name = "turn"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.live_migration_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell, migration_id = self._cell, run.payload["migration"]
        most = int(cell.conf.max_concurrent_live_migrations)

        def check(connection: Connection) -> None:
            _check_abort(connection, migration_id)
            migration = store.get(connection, migration_id)
            if most and store.live_before(connection, migration) >= most:
                raise errors.Unavailable(
                    f"Host {migration.source_host} has {most} live migrations at work.", reason="QUEUED"
                )

        def apply(connection: Connection) -> None:
            # Whoever is before it stays before it, so of two that look at once only one goes on.
            check(connection)
            store.set_status(connection, migration_id, MigrationStatus.MIGRATION_STATUS_PREPARING)

        cell.db.read(check)
        return Outcome(apply=apply)


class Prepare(Step):
    name = "prepare"
    event = "compute_pre_live_migration"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.guest_timeout + own.volume_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        cell.db.read(lambda connection: _check_abort(connection, run.payload["migration"]))
        server, migration = destination.load(cell, run)
        chosen = destination.chosen(run)
        devices = relocation.attach(cell, run, server, chosen.host)
        wanted = as_it_will_be(run, server, devices)
        ticket = prepare(
            cell,
            wanted,
            migration.source_host,
            chosen.host,
            run.payload["block_migration"],
            fence=agent.fence(run),
        )

        def apply(connection: Connection) -> None:
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_RUNNING)

        return Outcome(
            memory={
                "ticket": base64.b64encode(ticket).decode(),
                "devices": {key: json_format.MessageToDict(device) for key, device in devices.items()},
            },
            apply=apply,
            host=chosen.host,
        )

    def undo(self, run: Run) -> Outcome | None:
        if _stays_there(run):
            return None
        cell = self._cell
        server, _ = destination.load(cell, run)
        agent.destroy(cell, run, destination.chosen(run).host)
        recorded = {device.attachment_id for device in server.block_devices}
        for _, attachment_id in cell.outside.volumes.attachment_ids(server.id):
            if attachment_id not in recorded:
                cell.outside.volumes.delete_attachment(attachment_id)
        return None


class Migrate(Step):
    name = "migrate"
    event = "compute_live_migration"

    def __init__(self, cell: Cell) -> None:
        own = cell.conf.conductor
        super().__init__(timeout=own.live_migration_timeout, undo_timeout=own.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        chosen = destination.chosen(run)
        wanted = as_it_will_be(run, server, _devices(run))
        with agent.calling(migration.source_host):
            stream = agent.moves_on(cell, migration.source_host).MigrateGuest(
                pb.MigrateGuestRequest(
                    host=migration.source_host,
                    fence=agent.fence(run),
                    server=wanted,
                    destination_host=chosen.host,
                    ticket=base64.b64decode(run.memory["ticket"]),
                ),
                timeout=run.remaining(),
            )
            self._follow(run, migration, stream)
        enter = _arrive(cell, run, wanted)

        def apply(connection: Connection) -> None:
            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_POST_MIGRATING)
            cell.servers.change(connection, run.subject, enter)

        return Outcome(memory={"moved": True}, apply=apply, host=migration.source_host)

    def undo(self, run: Run) -> Outcome | None:
        """The guest goes on at its source. Where it has gone all the same, it stays where it is; where nobody can
        say, it is touched nowhere."""
        if run.memory.get("moved"):
            return None
        cell = self._cell
        _, migration = destination.load(cell, run)
        source = migration.source_host
        try:
            with agent.calling(source):
                moves = agent.moves_on(cell, source)
                moves.AbortLiveMigration(pb.AbortLiveMigrationRequest(host=source, server_id=run.subject))
                moves.DescribeGuest(pb.DescribeGuestRequest(host=source, server_id=run.subject))
        except errors.Error as error:
            if error.transient:
                raise
            if error.reason == "GUEST_NOT_FOUND":
                return self._gone_after_all(run)
            lost = (
                f"Nobody can say whether the guest is on host {source} or on {migration.dest_host}: "
                f"{error.message} Look there, destroy it where it is paused, and reset the server's state."
            )
            return Outcome(memory={"lost": lost}, host=source)
        return Outcome(memory={"failed": True}, host=source)

    def _gone_after_all(self, run: Run) -> Outcome:
        """The guest is on its destination, though the step that took it there has failed."""
        cell = self._cell
        server, migration = destination.load(cell, run)
        wanted = as_it_will_be(run, server, _devices(run))
        enter = _arrive(cell, run, wanted)
        wanted.host = destination.chosen(run).host
        interfaces, details = _clean(cell, run, wanted, migration)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                enter(changed)
                relocation.enter(changed, interfaces, {})

            cell.servers.change(connection, run.subject, alter)

        return Outcome(memory={"moved": True}, apply=apply, host=wanted.host, details=details)

    def _follow(self, run: Run, migration: Migration, stream: Any) -> None:
        """Until the guest has gone; passes on meanwhile what users ask for."""
        told_at, last = 0.0, MigrationProgress()
        with run.interruptible(stream.cancel):
            try:
                for told in stream:
                    if told.completed:
                        return
                    if told.HasField("progress"):
                        last = told.progress
                    if time.monotonic() - told_at >= _TELL_SECONDS:
                        told_at = time.monotonic()
                        self._exchange(migration, last)
                    run.check()
            except errors.Cancelled:
                run.check()
                raise
        raise errors.Unavailable("The agent ended before the guest had gone.", reason="SERVICE_UNREACHABLE")

    def _exchange(self, migration: Migration, progress: MigrationProgress) -> None:
        """Says how far it is, and looks what is asked for. Neither is worth failing for."""

        def write(connection: Connection) -> tuple[bool, bool]:
            store.tell_progress(connection, migration.id, progress)
            return store.asked(connection, migration.id)

        try:
            abort, force = self._cell.db.write(write)
            host = migration.source_host
            if abort or force:
                moves = agent.moves_on(self._cell, host)
                if abort:
                    moves.AbortLiveMigration(
                        pb.AbortLiveMigrationRequest(host=host, server_id=migration.server_id)
                    )
                else:
                    moves.ForceLiveMigration(
                        pb.ForceLiveMigrationRequest(host=host, server_id=migration.server_id)
                    )
        except errors.Error as error:
            _log.info("Migration %s cannot be steered now: %s", migration.id, error)


class Clean(Step):
    name = "clean"
    event = "compute__post_live_migration"

    def __init__(self, cell: Cell) -> None:
        super().__init__(timeout=cell.conf.conductor.cleanup_timeout)
        self._cell = cell

    def do(self, run: Run) -> Outcome:
        cell = self._cell
        server, migration = destination.load(cell, run)
        interfaces, details = _clean(cell, run, server, migration)

        def apply(connection: Connection) -> None:
            def alter(changed: Server) -> None:
                relocation.enter(changed, interfaces, {})
                settle(LIVE_MIGRATE, changed)

            store.set_status(connection, migration.id, MigrationStatus.MIGRATION_STATUS_COMPLETED)
            cell.servers.change(connection, run.subject, alter)

        return Outcome(apply=apply, host=server.host, details=details)


class Schedule(destination.Schedule):
    """Claims are not given back once the guest has gone, or may have."""

    def undo(self, run: Run) -> Outcome:
        return Outcome() if _stays_there(run) else super().undo(run)


class ChangeOver(destination.ChangeOver):
    def undo(self, run: Run) -> Outcome | None:
        return None if _stays_there(run) else super().undo(run)


def _stays_there(run: Run) -> bool:
    return bool(run.memory.get("moved")) or "lost" in run.memory


class LiveMigration(Kind):
    name = "live-migration"

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self.steps = [
            Enqueue(),
            Turn(cell),
            Schedule(cell, MigrationStatus.MIGRATION_STATUS_PREPARING),
            ChangeOver(cell),
            Prepare(cell),
            Migrate(cell),
            Clean(cell),
        ]

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        migration_id = run.payload["migration"]
        aborted, _ = store.asked(connection, migration_id)
        began = run.memory.get("failed") or run.memory.get("moved")
        if not (aborted or began) and destination.tries_another(self._cell, run, error):
            return destination.another(run)
        reached = MigrationStatus.MIGRATION_STATUS_ERROR
        if aborted:
            reached = MigrationStatus.MIGRATION_STATUS_CANCELLED
        elif began:
            reached = MigrationStatus.MIGRATION_STATUS_FAILED
        ending.stayed(self._cell, run, LIVE_MIGRATE, error, connection, reached)
        return None


def _arrive(cell: Cell, run: Run, wanted: Server) -> Callable[[Server], None]:
    """Has the destination keep the guest for good; what the server's record says then."""
    chosen, devices = destination.chosen(run), _devices(run)
    with agent.calling(chosen.host):
        guest = (
            agent.moves_on(cell, chosen.host)
            .FinishLiveMigration(
                pb.FinishLiveMigrationRequest(
                    host=chosen.host, fence=agent.fence(run, "finish"), server=wanted
                ),
                timeout=cell.conf.conductor.guest_timeout,
            )
            .guest
        )

    def enter(changed: Server) -> None:
        changed.host, changed.node = chosen.host, chosen.node
        changed.availability_zone = chosen.availability_zone
        changed.power_state = guest.power_state
        relocation.enter(changed, list(changed.interfaces), devices)
        if guest.HasField("numa_topology"):
            changed.numa_topology.CopyFrom(guest.numa_topology)

    return enter


def _clean(cell: Cell, run: Run, server: Server, migration: Migration) -> tuple[list[NetworkInterface], str]:
    """Binds the ports of a server where it is now, and takes from its source what is there still; the interfaces,
    and what could not be done for them."""
    details = ""
    try:
        interfaces = relocation.bind_ports(cell, server, server.host)
    except errors.Error as error:
        if error.transient:
            raise
        # The guest is there and stays there; whoever mends the port mends this.
        details, interfaces = str(error), list(server.interfaces)
        _log.error("Ports of server %s are not bound on its host %s: %s", server.id, server.host, error)
    relocation.detach_others(cell, server.id, {d.id: d for d in server.block_devices if d.attachment_id})
    agent.destroy(cell, run, migration.source_host)
    claims.release(cell, migration.id)
    claims.place(cell, server, [server.host])
    return interfaces, details


def as_it_will_be(run: Run, server: Server, devices: dict[str, BlockDevice]) -> Server:
    """The server as the destination is to have it: with its volumes as they are reached there, and with the NUMA
    cells that were asked for, to be fitted anew."""
    wanted, spec = Server(), destination.spec_of(run)
    wanted.CopyFrom(server)
    wanted.ClearField("numa_topology")
    if spec.HasField("numa_topology"):
        wanted.numa_topology.CopyFrom(spec.numa_topology)
    for device in wanted.block_devices:
        if device.id in devices:
            device.CopyFrom(devices[device.id])
    return wanted


def prepare(
    cell: Cell,
    server: Server,
    source: str,
    target: str,
    block_migration: int,
    *,
    fence: Any = None,
    check_only: bool = False,
) -> bytes:
    """What the destination answers. Raises HOST_REFUSES."""
    timeout = cell.conf.conductor.guest_timeout
    with agent.calling(source):
        facts = (
            agent.moves_on(cell, source)
            .DescribeGuest(pb.DescribeGuestRequest(host=source, server_id=server.id), timeout=timeout)
            .facts
        )
    with agent.calling(target):
        return (
            agent.moves_on(cell, target)
            .PrepareLiveMigration(
                pb.PrepareLiveMigrationRequest(
                    host=target,
                    fence=fence,
                    server=server,
                    source_host=source,
                    block_migration=block_migration,  # type: ignore[arg-type]
                    source_facts=facts,
                    check_only=check_only,
                ),
                timeout=timeout,
            )
            .ticket
        )


def _devices(run: Run) -> dict[str, BlockDevice]:
    parse: Callable[[Any], BlockDevice] = lambda kept: json_format.ParseDict(kept, BlockDevice())  # noqa: E731
    return {key: parse(kept) for key, kept in run.memory["devices"].items()}


def _check_abort(connection: Connection, migration_id: str) -> None:
    if store.asked(connection, migration_id)[0]:
        raise errors.FailedPrecondition("The migration was aborted.", reason="MIGRATION_ABORTED")
