"""FlavorService: flavors, their access lists and extra specs."""

from __future__ import annotations

import uuid

import grpc
from sqlalchemy import Connection, exc, select

from protonova.api.v1 import flavor_pb2 as pb
from protonova.api.v1 import flavor_pb2_grpc
from protonova.common.v1.flavor_pb2 import Flavor
from protonova.services.api import flavors
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_GREATEST = 2**31 - 1


class FlavorService(flavor_pb2_grpc.FlavorServiceServicer):
    def __init__(self, db: Database) -> None:
        self._db = db

    def CreateFlavor(
        self, request: pb.CreateFlavorRequest, context: grpc.ServicerContext
    ) -> pb.CreateFlavorResponse:
        flavor = Flavor()
        flavor.CopyFrom(request.flavor)
        flavor.id = flavor.id or str(uuid.uuid4())
        _validate(flavor)

        def create(connection: Connection) -> Flavor:
            flavors.create(connection, flavor, self._now(connection))
            return flavors.get(connection, flavor.id, contexts.internal("flavors"))

        try:
            return pb.CreateFlavorResponse(flavor=self._db.write(create))
        except exc.IntegrityError:
            field = "id" if self._db.read(lambda connection: flavors.known(connection, flavor.id)) else "name"
            raise flavors.exists_already(field, getattr(flavor, field)) from None

    def GetFlavor(self, request: pb.GetFlavorRequest, context: grpc.ServicerContext) -> pb.GetFlavorResponse:
        caller = contexts.current()
        flavor = self._db.read(lambda connection: flavors.get(connection, request.id, caller))
        return pb.GetFlavorResponse(flavor=flavor)

    def ListFlavors(
        self, request: pb.ListFlavorsRequest, context: grpc.ServicerContext
    ) -> pb.ListFlavorsResponse:
        caller, limit = contexts.current(), max(0, request.page_size)
        found = self._db.read(lambda connection: flavors.listing(connection, request, caller, limit))
        return pb.ListFlavorsResponse(flavors=found)

    def UpdateFlavor(
        self, request: pb.UpdateFlavorRequest, context: grpc.ServicerContext
    ) -> pb.UpdateFlavorResponse:
        caller = contexts.current()
        description = request.description if request.HasField("description") else None

        def change(connection: Connection) -> Flavor:
            flavors.describe(connection, request.id, description, self._now(connection))
            return flavors.get(connection, request.id, caller)

        return pb.UpdateFlavorResponse(flavor=self._db.write(change))

    def DeleteFlavor(
        self, request: pb.DeleteFlavorRequest, context: grpc.ServicerContext
    ) -> pb.DeleteFlavorResponse:
        self._db.write(lambda connection: flavors.remove(connection, request.id))
        return pb.DeleteFlavorResponse()

    def ListFlavorAccess(
        self, request: pb.ListFlavorAccessRequest, context: grpc.ServicerContext
    ) -> pb.ListFlavorAccessResponse:
        caller = contexts.current()

        def read(connection: Connection) -> list[str]:
            row = flavors.find(connection, request.id, caller)
            if row.is_public:
                raise errors.NotFound(
                    f"Flavor {request.id} is public and has no access list.",
                    reason="FLAVOR_IS_PUBLIC",
                    flavor_id=request.id,
                )
            return flavors.access(connection, row.number)

        return pb.ListFlavorAccessResponse(project_ids=self._db.read(read))

    def AddFlavorAccess(
        self, request: pb.AddFlavorAccessRequest, context: grpc.ServicerContext
    ) -> pb.AddFlavorAccessResponse:
        caller = contexts.current()

        def grant(connection: Connection) -> list[str]:
            row = flavors.find(connection, request.id, caller)
            if row.is_public and request.refuse_public:
                raise errors.FailedPrecondition(
                    f"Flavor {request.id} is public: everyone may use it already.",
                    reason="FLAVOR_IS_PUBLIC",
                    flavor_id=request.id,
                )
            if request.project_id in flavors.access(connection, row.number):
                raise _access_exists(request)
            flavors.grant(connection, row.number, request.project_id)
            return flavors.access(connection, row.number)

        try:
            return pb.AddFlavorAccessResponse(project_ids=self._db.write(grant))
        except exc.IntegrityError:
            raise _access_exists(request) from None

    def RemoveFlavorAccess(
        self, request: pb.RemoveFlavorAccessRequest, context: grpc.ServicerContext
    ) -> pb.RemoveFlavorAccessResponse:
        caller = contexts.current()

        def revoke(connection: Connection) -> list[str]:
            row = flavors.find(connection, request.id, caller)
            if not flavors.revoke(connection, row.number, request.project_id):
                raise errors.NotFound(
                    f"Flavor {request.id} is not shared with project {request.project_id}.",
                    reason="FLAVOR_ACCESS_NOT_FOUND",
                    flavor_id=request.id,
                    project_id=request.project_id,
                )
            return flavors.access(connection, row.number)

        return pb.RemoveFlavorAccessResponse(project_ids=self._db.write(revoke))

    def UpdateFlavorExtraSpecs(
        self, request: pb.UpdateFlavorExtraSpecsRequest, context: grpc.ServicerContext
    ) -> pb.UpdateFlavorExtraSpecsResponse:
        caller = contexts.current()

        def merge(connection: Connection) -> Flavor:
            row = flavors.find(connection, request.id, caller)
            flavors.merge_extra_specs(connection, row.number, dict(request.extra_specs))
            return flavors.get(connection, request.id, caller)

        try:
            extra_specs = self._db.write(merge).extra_specs
        except exc.IntegrityError:
            raise errors.Aborted(
                f"The extra specs of flavor {request.id} were changed by another call meanwhile.",
                reason="CONCURRENT_UPDATE",
                flavor_id=request.id,
            ) from None
        return pb.UpdateFlavorExtraSpecsResponse(extra_specs=extra_specs)

    def DeleteFlavorExtraSpec(
        self, request: pb.DeleteFlavorExtraSpecRequest, context: grpc.ServicerContext
    ) -> pb.DeleteFlavorExtraSpecResponse:
        caller = contexts.current()

        def remove(connection: Connection) -> None:
            row = flavors.find(connection, request.id, caller)
            if not flavors.remove_extra_spec(connection, row.number, request.key):
                raise errors.NotFound(
                    f"Flavor {request.id} has no extra spec '{request.key}'.",
                    reason="EXTRA_SPEC_NOT_FOUND",
                    flavor_id=request.id,
                    key=request.key,
                )

        self._db.write(remove)
        return pb.DeleteFlavorExtraSpecResponse()

    def _now(self, connection: Connection) -> int:
        return int(connection.execute(select(self._db.now())).scalar_one())


def _validate(flavor: Flavor) -> None:
    ranges = {"vcpus": 1, "memory_mb": 1, "root_gb": 0, "ephemeral_gb": 0, "swap_mb": 0}
    for field, least in ranges.items():
        if not least <= getattr(flavor, field) <= _GREATEST:
            raise _invalid(field, f"must lie between {least} and {_GREATEST}")
    if not flavor.name.strip():
        raise _invalid("name", "must not be empty")
    if flavor.rxtx_factor < 0:
        raise _invalid("rxtx_factor", "must be greater than 0")


def _invalid(field: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"Flavor {field} {rule}.", reason="FLAVOR_INVALID", field=field)


def _access_exists(request: pb.AddFlavorAccessRequest) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"Flavor {request.id} is shared with project {request.project_id} already.",
        reason="FLAVOR_ACCESS_EXISTS",
        flavor_id=request.id,
        project_id=request.project_id,
    )
