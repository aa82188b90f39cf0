"""TraitService and ResourceClassService."""

from __future__ import annotations

import grpc

from protonova.placement.v1 import resource_class_pb2 as class_pb
from protonova.placement.v1 import resource_class_pb2_grpc, trait_pb2_grpc
from protonova.placement.v1 import trait_pb2 as trait_pb
from protonova.services.placement.house import House


class TraitServicer(trait_pb2_grpc.TraitServiceServicer):
    """Qualities a provider can have."""

    def __init__(self, house: House) -> None:
        self._house = house

    def ListTraits(
        self, request: trait_pb.ListTraitsRequest, context: grpc.ServicerContext
    ) -> trait_pb.ListTraitsResponse:
        associated = request.associated if request.HasField("associated") else None
        return trait_pb.ListTraitsResponse(
            traits=self._house.custom_names.traits(request.names, request.prefix, associated)
        )

    def EnsureTrait(
        self, request: trait_pb.EnsureTraitRequest, context: grpc.ServicerContext
    ) -> trait_pb.EnsureTraitResponse:
        return trait_pb.EnsureTraitResponse(created=self._house.custom_names.ensure_trait(request.name))

    def DeleteTrait(
        self, request: trait_pb.DeleteTraitRequest, context: grpc.ServicerContext
    ) -> trait_pb.DeleteTraitResponse:
        self._house.custom_names.delete_trait(request.name)
        return trait_pb.DeleteTraitResponse()


class ResourceClassServicer(resource_class_pb2_grpc.ResourceClassServiceServicer):
    """Kinds of resource."""

    def __init__(self, house: House) -> None:
        self._house = house

    def ListResourceClasses(
        self, request: class_pb.ListResourceClassesRequest, context: grpc.ServicerContext
    ) -> class_pb.ListResourceClassesResponse:
        return class_pb.ListResourceClassesResponse(names=self._house.vocabulary.classes.all())

    def EnsureResourceClass(
        self, request: class_pb.EnsureResourceClassRequest, context: grpc.ServicerContext
    ) -> class_pb.EnsureResourceClassResponse:
        created = self._house.custom_names.ensure_class(request.name, must_be_new=request.must_be_new)
        return class_pb.EnsureResourceClassResponse(created=created)

    def RenameResourceClass(
        self, request: class_pb.RenameResourceClassRequest, context: grpc.ServicerContext
    ) -> class_pb.RenameResourceClassResponse:
        self._house.mirror.refresh(self._house.custom_names.rename_class(request.name, request.new_name))
        return class_pb.RenameResourceClassResponse()

    def DeleteResourceClass(
        self, request: class_pb.DeleteResourceClassRequest, context: grpc.ServicerContext
    ) -> class_pb.DeleteResourceClassResponse:
        self._house.custom_names.delete_class(request.name)
        return class_pb.DeleteResourceClassResponse()
