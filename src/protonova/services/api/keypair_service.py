"""KeypairService: key pairs of users. Private halves are answered once and kept nowhere."""

from __future__ import annotations

import re

import grpc
from sqlalchemy import Connection, exc, select

from protonova.api.v1 import keypair_pb2 as pb
from protonova.api.v1 import keypair_pb2_grpc
from protonova.services.api import keypairs, public_keys
from protonova.services.api.limits import Limits
from protonova.services.runtime import context as contexts
from protonova.services.runtime.database import Database

_NAME = re.compile(r"[\w\-@. ]{1,255}", re.ASCII)


class KeypairService(keypair_pb2_grpc.KeypairServiceServicer):
    def __init__(self, db: Database, limits: Limits) -> None:
        self._db = db
        self._limits = limits

    def CreateKeypair(
        self, request: pb.CreateKeypairRequest, context: grpc.ServicerContext
    ) -> pb.CreateKeypairResponse:
        if not _NAME.fullmatch(request.name) or request.name != request.name.strip():
            raise public_keys.invalid("name", "has characters that are not allowed")
        caller = contexts.current()
        user_id = request.user_id or caller.user_id
        public_key, private_key = request.public_key, ""
        if request.type == pb.KEYPAIR_TYPE_X509:
            if not public_key:
                public_key, private_key = public_keys.new_x509_pair(user_id)
            fingerprint = public_keys.x509_fingerprint(public_key)
        else:
            if not public_key:
                public_key, private_key = public_keys.new_ssh_pair()
            fingerprint = public_keys.ssh_fingerprint(public_key)
        keypair = pb.Keypair(
            user_id=user_id,
            name=request.name,
            type=request.type or pb.KEYPAIR_TYPE_SSH,
            public_key=public_key,
            fingerprint=fingerprint,
        )

        def create(connection: Connection) -> pb.Keypair:
            _, limits = self._limits.of(connection, caller.project_id, user_id)
            now = connection.execute(select(self._db.now())).scalar_one()
            return keypairs.create(connection, keypair, limits["key_pairs"], now)

        try:
            created = self._db.write(create)
        except exc.IntegrityError:
            raise keypairs.exists_already(request.name) from None
        return pb.CreateKeypairResponse(keypair=created, private_key=private_key)

    def GetKeypair(
        self, request: pb.GetKeypairRequest, context: grpc.ServicerContext
    ) -> pb.GetKeypairResponse:
        user_id = request.user_id or contexts.current().user_id
        found = self._db.read(lambda connection: keypairs.get(connection, user_id, request.name))
        return pb.GetKeypairResponse(keypair=found)

    def ListKeypairs(
        self, request: pb.ListKeypairsRequest, context: grpc.ServicerContext
    ) -> pb.ListKeypairsResponse:
        user_id = request.user_id or contexts.current().user_id
        found = self._db.read(
            lambda connection: keypairs.listing(connection, user_id, request.page_token, request.page_size)
        )
        return pb.ListKeypairsResponse(keypairs=found)

    def DeleteKeypair(
        self, request: pb.DeleteKeypairRequest, context: grpc.ServicerContext
    ) -> pb.DeleteKeypairResponse:
        user_id = request.user_id or contexts.current().user_id
        self._db.write(lambda connection: keypairs.remove(connection, user_id, request.name))
        return pb.DeleteKeypairResponse()
