"""AggregateService: what is asked is checked here; changes are made in `changes`."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator, Mapping

import grpc
from sqlalchemy import Connection

from protonova.api.v1 import aggregate_pb2 as pb
from protonova.api.v1 import aggregate_pb2_grpc
from protonova.services.api.aggregates import store
from protonova.services.api.aggregates.changes import AggregateChanges
from protonova.services.api.aggregates.image_caching import CACHE, subject
from protonova.services.api.creation import images
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine

_LONGEST = 255


class AggregateService(aggregate_pb2_grpc.AggregateServiceServicer):
    def __init__(
        self,
        db: Database,
        changes: AggregateChanges,
        engine: Engine,
        lookup: images.ImageLookup,
        feed: feeds.Feed[pb.Aggregate],
        stopping: threading.Event,
    ) -> None:
        self._db = db
        self._changes = changes
        self._engine = engine
        self._images = lookup
        self._feed = feed
        self._stopping = stopping

    def CreateAggregate(
        self, request: pb.CreateAggregateRequest, context: grpc.ServicerContext
    ) -> pb.CreateAggregateResponse:
        zone = request.availability_zone
        metadata = {store.ZONE_KEY: zone} if zone else {}
        _check_name(request.name)
        _check_metadata(metadata)
        return pb.CreateAggregateResponse(aggregate=self._changes.create(request.name, metadata))

    def GetAggregate(
        self, request: pb.GetAggregateRequest, context: grpc.ServicerContext
    ) -> pb.GetAggregateResponse:
        def read(connection: Connection) -> pb.Aggregate:
            return store.message(connection, store.find(connection, request.id, request.number))

        return pb.GetAggregateResponse(aggregate=self._db.read(read))

    def ListAggregates(
        self, request: pb.ListAggregatesRequest, context: grpc.ServicerContext
    ) -> pb.ListAggregatesResponse:
        return pb.ListAggregatesResponse(aggregates=self._db.read(store.listing))

    def UpdateAggregate(
        self, request: pb.UpdateAggregateRequest, context: grpc.ServicerContext
    ) -> pb.UpdateAggregateResponse:
        name = request.name if request.HasField("name") else None
        if name is not None:
            _check_name(name)
        _check_metadata(request.set_metadata)
        changed = self._changes.update(
            request.id,
            request.number,
            name=name,
            set_metadata=dict(request.set_metadata),
            unset_metadata=request.unset_metadata,
        )
        return pb.UpdateAggregateResponse(aggregate=changed)

    def DeleteAggregate(
        self, request: pb.DeleteAggregateRequest, context: grpc.ServicerContext
    ) -> pb.DeleteAggregateResponse:
        self._changes.delete(request.id, request.number)
        return pb.DeleteAggregateResponse()

    def AddAggregateHost(
        self, request: pb.AddAggregateHostRequest, context: grpc.ServicerContext
    ) -> pb.AddAggregateHostResponse:
        changed = self._changes.add_host(request.id, request.number, request.host)
        return pb.AddAggregateHostResponse(aggregate=changed)

    def RemoveAggregateHost(
        self, request: pb.RemoveAggregateHostRequest, context: grpc.ServicerContext
    ) -> pb.RemoveAggregateHostResponse:
        changed = self._changes.remove_host(request.id, request.number, request.host)
        return pb.RemoveAggregateHostResponse(aggregate=changed)

    def CacheAggregateImages(
        self, request: pb.CacheAggregateImagesRequest, context: grpc.ServicerContext
    ) -> pb.CacheAggregateImagesResponse:
        def read(connection: Connection) -> tuple[str, list[str]]:
            row = store.find(connection, request.id, request.number)
            return row.id, store.hosts_of(connection, row.number)

        aggregate_id, hosts = self._db.read(read)
        if not hosts:
            raise errors.FailedPrecondition(
                f"Aggregate {aggregate_id} has no hosts.", reason="AGGREGATE_EMPTY", aggregate_id=aggregate_id
            )
        if not request.image_ids:
            raise _invalid("image_ids", "must name an image")
        found = [self._image(image_id) for image_id in dict.fromkeys(request.image_ids)]
        payload = {"hosts": hosts, "images": found}
        operation = self._db.write(
            lambda connection: self._engine.create(connection, CACHE, subject(aggregate_id), payload)
        )
        self._engine.run(operation)
        return pb.CacheAggregateImagesResponse()

    def WatchAggregates(
        self, request: pb.WatchAggregatesRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchAggregatesResponse]:
        for change in self._feed.watch(request.resume_revision, self._stopping, context.is_active):
            if isinstance(change, feeds.SnapshotEnd):
                yield pb.WatchAggregatesResponse(snapshot_end=True, revision=change.revision)
            elif change.deleted or change.value is None:
                yield pb.WatchAggregatesResponse(deleted_aggregate_id=change.key, revision=change.revision)
            else:
                yield pb.WatchAggregatesResponse(aggregate=change.value, revision=change.revision)

    def _image(self, image_id: str) -> str:
        """What an agent has to know of an image, as text."""
        try:
            image = self._images.usable(image_id, contexts.current(), "image_ids")
        except errors.InvalidArgument as error:
            raise errors.InvalidArgument(error.message, reason="IMAGE_NOT_FOUND", image_id=image_id) from None
        return base64.b64encode(images.snapshot(image).SerializeToString()).decode()


def _check_name(name: str) -> None:
    if not 1 <= len(name.strip()) <= len(name) <= _LONGEST:
        raise _invalid("name", f"must have 1 to {_LONGEST} characters and not be blank")


def _check_metadata(metadata: Mapping[str, str]) -> None:
    for key, value in metadata.items():
        if not 1 <= len(key) <= _LONGEST or len(value) > _LONGEST:
            raise _invalid(
                f"metadata.{key[:_LONGEST]}",
                f"must have a key of 1 to {_LONGEST} characters and no longer value",
            )
    zone = metadata.get(store.ZONE_KEY)
    if zone is not None and (not zone.strip() or ":" in zone):
        raise _invalid(store.ZONE_KEY, f"'{zone}' must be the name of a zone, without ':'")


def _invalid(field: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"Aggregate {field} {rule}.", reason="AGGREGATE_INVALID", field=field)
