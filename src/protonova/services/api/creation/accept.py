"""Accepting servers: quota, mappings, build requests, operation and idempotency key, in one transaction."""

from __future__ import annotations

import base64
import secrets
import uuid
from typing import Any

from sqlalchemy import Connection, select

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.services.api import builds, idempotency, mappings, server_groups, times, usage
from protonova.services.api.creation import names
from protonova.services.api.creation.plan import Plan, Planner
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.database import Database, DatabaseUnavailable
from protonova.services.runtime.operations import Engine

BUILD = "build"


class Acceptor:
    """Answers CreateServers."""

    def __init__(self, conf: Conf, db: Database, planner: Planner, engine: Engine) -> None:
        self._conf = conf
        self._db = db
        self._planner = planner
        self._engine = engine

    def accept(self, request: pb.CreateServersRequest, caller: RequestContext) -> pb.CreateServersResponse:
        key, mark = request.idempotency_key, ""
        if key:
            idempotency.check(key)
            mark = idempotency.fingerprint(request, caller)

        def look_up(connection: Connection) -> Any:
            earlier = self._earlier(connection, request, caller, mark)
            return earlier or self._planner.look_up(connection, request, caller)

        known = self._db.read(look_up)
        if isinstance(known, pb.CreateServersResponse):
            return known
        plan = self._planner.plan(request, caller, known)

        def write(connection: Connection) -> tuple[pb.CreateServersResponse, str]:
            now, reservation_id = self._now(connection), f"r-{secrets.token_hex(8)}"
            if key and not idempotency.take(
                connection, caller, key, mark, reservation_id, now, self._oldest(now)
            ):
                earlier = self._earlier(connection, request, caller, mark)
                if earlier is None:
                    raise errors.Aborted("The idempotency key expired meanwhile.", reason="CONCURRENT_UPDATE")
                return earlier, ""
            answer, operation_id = self._write(connection, plan, caller, reservation_id, now)
            if key:
                idempotency.keep(connection, caller, key, answer)
            mappings.publish_builds(connection, [server.id for server in answer.servers])
            return answer, operation_id

        try:
            answer, operation_id = self._db.write(write)
        except DatabaseUnavailable as error:
            if not key or error.reason != "DATABASE_COMMIT_UNKNOWN":
                raise
            # The key tells whether the servers are there.
            answer, operation_id = self._db.write(write)
        if operation_id:
            self._engine.run(operation_id)
        return answer

    def _write(
        self, connection: Connection, plan: Plan, caller: RequestContext, reservation_id: str, now: int
    ) -> tuple[pb.CreateServersResponse, str]:
        if plan.known.group_id:
            _hold_group(connection, plan.known.group_id, caller.project_id)
        count = self._charge(connection, plan, caller)
        servers = _servers(plan, count, reservation_id, now)
        if plan.known.group_id:
            server_groups.join(
                connection,
                plan.known.group_id,
                [server.id for server in servers],
                caller,
                plan.known.user_limits["server_group_members"],
            )
        operation_id = self._engine.create(
            connection,
            BUILD,
            reservation_id,
            payload(plan, servers),
            action="create",
            context=caller,
        )
        builds.add(connection, servers, operation_id)
        answer = pb.CreateServersResponse(
            reservation_id=reservation_id, servers=servers, admin_password=plan.admin_password
        )
        return answer, operation_id

    def _charge(self, connection: Connection, plan: Plan, caller: RequestContext) -> int:
        """Charges for as many servers as the quota has room for, at least the fewest asked for."""
        amounts = usage.per_server(plan.template.flavor.vcpus, plan.template.flavor.memory_mb)
        owners = [("", plan.known.project_limits)]
        if caller.user_id:
            owners.append((caller.user_id, plan.known.user_limits))
        count = plan.most
        if plan.least < plan.most:
            for user_id, limits in owners:
                count = usage.affordable(connection, caller.project_id, user_id, amounts, limits, count)
            count = max(count, plan.least)
        for user_id, limits in owners:
            usage.charge(connection, caller.project_id, user_id, usage.times(amounts, count), limits)
        return count

    def _earlier(
        self, connection: Connection, request: pb.CreateServersRequest, caller: RequestContext, mark: str
    ) -> pb.CreateServersResponse | None:
        if not request.idempotency_key:
            return None
        oldest = self._oldest(self._now(connection))
        return idempotency.first_answer(connection, request, caller, mark, oldest)

    def _oldest(self, now: int) -> int:
        return now - int(self._conf.api.idempotency_key_seconds) * times.SECOND

    def _now(self, connection: Connection) -> int:
        return int(connection.execute(select(self._db.now())).scalar_one())


def _hold_group(connection: Connection, group_id: str, project_id: str) -> None:
    """Raises GROUP_NOT_FOUND, as of something that is only referred to."""
    try:
        server_groups.hold(connection, group_id, project_id)
    except errors.NotFound as error:
        raise errors.InvalidArgument.of(error.message, error.reason, error.facts) from None


def payload(plan: Plan, servers: list[Server]) -> dict[str, Any]:
    """What the build operation works by, beside the build requests themselves."""
    return {
        "servers": [server.id for server in servers],
        "least": plan.least,
        "spec": base64.b64encode(plan.spec.SerializeToString()).decode(),
        "build": base64.b64encode(plan.build.SerializeToString()).decode(),
    }


def _servers(plan: Plan, count: int, reservation_id: str, now: int) -> list[Server]:
    """Each a microsecond younger than the one before, so that lists keep their order."""
    servers = []
    for index, name in enumerate(names.of_servers(plan.name, count)):
        server = Server()
        server.CopyFrom(plan.template)
        server.id = str(uuid.uuid4())
        server.name = name
        server.reservation_id = reservation_id
        server.launch_index = index
        server.hostname = plan.hostname or names.hostname(name, server.id)
        server.generation = 1
        for device in server.block_devices:
            device.id = str(uuid.uuid4())
        server.created_at.CopyFrom(times.stamp(now + index))
        server.updated_at.CopyFrom(server.created_at)
        servers.append(server)
    return servers
