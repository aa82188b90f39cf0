"""Server groups as a scheduler meets them: api's own service over a database, with members put in by hand."""

from __future__ import annotations

import uuid
from typing import Any

from protonova.api.v1 import server_group_pb2 as pb
from protonova.services.api import (
    migrations,
    server_group_places,
    server_groups,
    tables,
)
from protonova.services.api.limits import Limits
from protonova.services.api.server_group_service import ServerGroupService
from protonova.services.runtime import config, context, migration
from protonova.services.runtime.database import Database

USER = context.RequestContext(user_id="user", project_id="project")


class ServerGroups:
    def __init__(self, database_url: str) -> None:
        self._db = Database(database_url, metadata=tables.metadata)
        migration.upgrade(self._db, migrations)
        self.service = ServerGroupService(self._db, Limits(config.load(files=[])))

    def make(self, policy: str, members: int, **fields: Any) -> tuple[str, list[str]]:
        """A group's id and those of its members."""
        group = pb.ServerGroup(
            id=str(uuid.uuid4()),
            project_id="project",
            user_id="user",
            name="group",
            policy=f"SERVER_GROUP_POLICY_{policy}",  # type: ignore[arg-type]
            **fields,
        )
        self._db.write(lambda connection: server_groups.create(connection, group, (), 0))
        ids = [str(uuid.uuid4()) for _ in range(members)]
        if ids:
            self.join(group.id, *ids)
        return group.id, ids

    def join(self, group_id: str, *server_ids: str) -> None:
        self._db.write(lambda connection: server_groups.join(connection, group_id, server_ids, USER, -1))

    def leave(self, *server_ids: str) -> None:
        self._db.write(lambda connection: server_groups.leave(connection, server_ids))

    def delete(self, group_id: str) -> None:
        self._db.write(lambda connection: server_groups.remove(connection, group_id))

    def place(self, group_id: str, **hosts: Any) -> None:
        request = pb.PlaceServerGroupMembersRequest(id=group_id, **hosts)
        self._db.write(lambda connection: server_group_places.change(connection, request))

    def places(self, group_id: str) -> dict[str, str]:
        """Hosts by member."""
        found = self._db.read(lambda connection: server_group_places.read(connection, group_id))
        return {place.server_id: place.host for place in found.places}

    def close(self) -> None:
        self._db.close()
