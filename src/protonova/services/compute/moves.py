"""The GuestMoveService: guests that go from one host to another.

As in GuestService, nothing is decided about servers here: the journal lets calls in, the driver looks and acts.
What a destination needs of a cold guest it fetches itself from the source's agent, which gives it to whoever shows
the pass that the conductor has handed to both.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from oslo_config import cfg

from protonova.common.v1.migration_pb2 import BlockMigration, MigrationProgress
from protonova.common.v1.pci_pb2 import PciProviders
from protonova.common.v1.server_pb2 import Server
from protonova.compute.v1 import guest_move_pb2 as pb
from protonova.compute.v1 import guest_move_pb2_grpc, guest_pb2
from protonova.services.compute import spec
from protonova.services.compute.guest_states import with_what_it_was_given
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.journal import Journal
from protonova.services.compute.pinning import Given, Pinning
from protonova.services.compute.steps import as_message, translated
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import Driver, FilePiece, GuestSpec, LiveProgress, Storage
from protonova.services.runtime import context, errors
from protonova.services.runtime.channel import connect

_STORAGE = {
    BlockMigration.BLOCK_MIGRATION_UNSPECIFIED: Storage.AS_IT_IS,
    BlockMigration.BLOCK_MIGRATION_COPY: Storage.COPIED,
    BlockMigration.BLOCK_MIGRATION_SHARED: Storage.SHARED,
}
# How often a stream says how far a live migration is, though nothing is new: callers look for what is asked of it.
_BEAT_SECONDS = 0.5

Telling = queue.SimpleQueue[Any]


class GuestMoveServicer(guest_move_pb2_grpc.GuestMoveServiceServicer):
    """See protos/protonova/compute/v1/guest_move.proto."""

    def __init__(self, conf: cfg.ConfigOpts, hosts: Hosts, journal: Journal, pinning: Pinning) -> None:
        self._conf = conf
        self._hosts = hosts
        self._journal = journal
        self._pinning = pinning

    # ---- cold

    def CheckGuest(
        self, request: pb.CheckGuestRequest, context: grpc.ServicerContext
    ) -> pb.CheckGuestResponse:
        host, server = self._hosts.get(request.host), request.server
        self._journal.admit(server.id, request.fence)
        with self._fitted(host, server, request.pci_providers) as (wanted, _), translated(server.id):
            there = request.disks_are_there if request.HasField("disks_are_there") else None
            host.driver.check_receive(wanted, there)
        return pb.CheckGuestResponse()

    def SetGuestAside(
        self, request: pb.SetGuestAsideRequest, context: grpc.ServicerContext
    ) -> pb.SetGuestAsideResponse:
        driver = self._hosts.get(request.host).driver
        self._journal.admit(request.server_id, request.fence)
        if getattr(request, "pass"):
            self._journal.keep_pass(request.server_id, request.label, getattr(request, "pass"))
        with translated(request.server_id):
            driver.set_aside(request.server_id, request.label, request.timeout_seconds)
        return pb.SetGuestAsideResponse()

    def PutGuestBack(
        self, request: pb.PutGuestBackRequest, context: grpc.ServicerContext
    ) -> pb.PutGuestBackResponse:
        driver, server = self._hosts.get(request.host).driver, request.server
        self._journal.admit(server.id, request.fence)
        with translated(server.id):
            state = driver.take_back(server.id, request.label, spec.guest_spec(server), request.start)
        return pb.PutGuestBackResponse(guest=_with_what_is_kept(driver, as_message(state)))

    def DiscardGuest(
        self, request: pb.DiscardGuestRequest, context: grpc.ServicerContext
    ) -> pb.DiscardGuestResponse:
        driver = self._hosts.get(request.host).driver
        self._journal.admit(request.server_id, request.fence)
        with translated(request.server_id):
            driver.discard(request.server_id, request.label)
        self._journal.forget_passes(request.server_id, request.label)
        self._pinning.changed()
        return pb.DiscardGuestResponse()

    def ReceiveGuest(
        self, request: pb.ReceiveGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReceiveGuestResponse]:
        host, server = self._hosts.get(request.host), request.server
        self._journal.admit(server.id, request.fence)

        def stopped() -> bool:
            return not (context.is_active() and self._journal.still_held(request.fence))

        def work(tell: Telling) -> Any:
            fitted = self._fitted(host, server, request.pci_providers)
            with fitted as (wanted, own), translated(server.id):
                state = host.driver.receive(
                    wanted,
                    lambda: self._files(request),
                    request.start,
                    lambda percent, text: tell.put(pb.ReceiveGuestResponse(progress=percent, stage=text)),
                    stopped,
                )
                return pb.ReceiveGuestResponse(
                    progress=100, guest=with_what_it_was_given(as_message(state), own)
                )

        yield from _told(work, f"receive-{server.id}")

    def ReadGuestFiles(
        self, request: pb.ReadGuestFilesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.ReadGuestFilesResponse]:
        driver = self._hosts.get(request.host).driver
        if not self._journal.knows_pass(request.server_id, request.label, getattr(request, "pass")):
            raise errors.PermissionDenied(
                "The files of a guest are for the host it goes to.",
                reason="PASS_REFUSED",
                server_id=request.server_id,
            )
        name = None
        with translated(request.server_id):
            for piece in driver.aside_files(request.server_id, request.label):
                told = pb.ReadGuestFilesResponse(data=piece.data, offset=piece.offset)
                if piece.name != name:
                    name = piece.name
                    told.header.name, told.header.size_bytes = piece.name, piece.size
                yield told

    def _files(self, request: pb.ReceiveGuestRequest) -> Iterator[FilePiece]:
        """Reads what the source has set aside; its own agent may be this very process."""
        source = request.source
        asked = pb.ReadGuestFilesRequest(
            host=source.host,
            server_id=request.server.id,
            label=source.label,
            **{"pass": getattr(source, "pass")},
        )
        channel = connect(self._conf, source.agent_target)
        try:
            header = pb.GuestFileHeader()
            for told in guest_move_pb2_grpc.GuestMoveServiceStub(channel).ReadGuestFiles(asked):
                if told.HasField("header"):
                    header = told.header
                yield FilePiece(header.name, header.size_bytes, told.offset, told.data)
        except errors.Error as error:
            kind = virt_errors.SourceUnavailable if error.transient else virt_errors.SourceUnreadable
            raise kind(
                f"what {source.host} has set aside cannot be read: {error.message}", cause=error.reason
            ) from error
        finally:
            channel.close()

    # ---- live

    def DescribeGuest(
        self, request: pb.DescribeGuestRequest, context: grpc.ServicerContext
    ) -> pb.DescribeGuestResponse:
        with translated(request.server_id):
            facts = self._hosts.get(request.host).driver.live_facts(request.server_id)
        return pb.DescribeGuestResponse(facts=facts)

    def PrepareLiveMigration(
        self, request: pb.PrepareLiveMigrationRequest, context: grpc.ServicerContext
    ) -> pb.PrepareLiveMigrationResponse:
        host, server = self._hosts.get(request.host), request.server
        if not request.check_only:
            self._journal.admit(server.id, request.fence)
        with self._fitted(host, server) as (wanted, _), translated(server.id):
            ticket = host.driver.live_prepare(
                wanted,
                request.source_host,
                _STORAGE[request.block_migration],
                request.source_facts,
                request.check_only,
            )
        return pb.PrepareLiveMigrationResponse(ticket=ticket)

    def MigrateGuest(
        self, request: pb.MigrateGuestRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.MigrateGuestResponse]:
        """Goes on when its caller is gone: another one will join in, or abort."""
        driver, server = self._hosts.get(request.host).driver, request.server
        self._journal.admit(server.id, request.fence)

        def work(tell: Telling) -> Any:
            def told(progress: LiveProgress) -> None:
                tell.put(pb.MigrateGuestResponse(progress=_progress(progress)))

            with translated(server.id):
                wanted = spec.guest_spec(server)
                driver.live_migrate(wanted, request.destination_host, request.ticket, told)
            return pb.MigrateGuestResponse(completed=True)

        yield from _told(work, f"migrate-{server.id}", pb.MigrateGuestResponse())

    def AbortLiveMigration(
        self, request: pb.AbortLiveMigrationRequest, context: grpc.ServicerContext
    ) -> pb.AbortLiveMigrationResponse:
        with translated(request.server_id):
            self._hosts.get(request.host).driver.live_abort(request.server_id)
        return pb.AbortLiveMigrationResponse()

    def ForceLiveMigration(
        self, request: pb.ForceLiveMigrationRequest, context: grpc.ServicerContext
    ) -> pb.ForceLiveMigrationResponse:
        with translated(request.server_id):
            self._hosts.get(request.host).driver.live_force(request.server_id)
        return pb.ForceLiveMigrationResponse()

    def FinishLiveMigration(
        self, request: pb.FinishLiveMigrationRequest, context: grpc.ServicerContext
    ) -> pb.FinishLiveMigrationResponse:
        driver, server = self._hosts.get(request.host).driver, request.server
        self._journal.admit(server.id, request.fence)
        with translated(server.id):
            state = driver.live_finish(spec.guest_spec(server))
        return pb.FinishLiveMigrationResponse(guest=_with_what_is_kept(driver, as_message(state)))

    # ---- both

    @contextmanager
    def _fitted(
        self, host: Host, server: Server, claimed: Mapping[str, PciProviders] | None = None
    ) -> Iterator[tuple[GuestSpec, Given]]:
        """The guest as it would be here. What it gets of CPUs, pages and devices is its own until the driver has
        it."""
        providers = {key: list(some.provider_ids) for key, some in (claimed or {}).items()}
        with translated(server.id):
            given = self._pinning.take(host, server, providers)
        own = given or Given()
        try:
            yield spec.guest_spec(server, numa=own.topology, devices=own.devices), own
        finally:
            if given is not None:
                self._pinning.give_back(host, server.id)


def _told(work: Callable[[Telling], Any], name: str, beat: Any = None) -> Iterator[Any]:
    """Runs long work in a thread of its own, so that it does not hang on its caller; yields what it tells, then its
    outcome."""
    told: Telling = queue.SimpleQueue()
    caller = context.current()
    over = object()

    def run() -> None:
        outcome: Any
        try:
            with context.use(caller):
                outcome = work(told)
        except Exception as error:  # noqa: BLE001 - handed over to the thread that answers the call
            outcome = error
        told.put((over, outcome))

    threading.Thread(target=run, name=name, daemon=True).start()
    while True:
        try:
            item = told.get(timeout=_BEAT_SECONDS if beat is not None else None)
        except queue.Empty:
            yield beat
            continue
        if isinstance(item, tuple) and item[0] is over:
            if isinstance(item[1], Exception):
                raise item[1]
            yield item[1]
            return
        yield item


def _with_what_is_kept(driver: Driver, guest: guest_pb2.Guest) -> guest_pb2.Guest:
    """With what the driver says a guest has of its host alone."""
    topology = driver.topologies().get(guest.server_id)
    devices = driver.devices_held().get(guest.server_id, ())
    return with_what_it_was_given(guest, Given(topology, tuple(devices)))


def _progress(told: LiveProgress) -> MigrationProgress:
    return MigrationProgress(
        memory_total_bytes=told.memory_total,
        memory_processed_bytes=told.memory_processed,
        memory_remaining_bytes=told.memory_remaining,
        disk_total_bytes=told.disk_total,
        disk_processed_bytes=told.disk_processed,
        disk_remaining_bytes=told.disk_remaining,
    )
