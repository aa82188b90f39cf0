"""ServerGroupService: groups of servers, and the hosts their members are given."""

from __future__ import annotations

import uuid

import grpc
from sqlalchemy import Connection, select

from protonova.api.v1 import server_group_pb2 as pb
from protonova.api.v1 import server_group_pb2_grpc
from protonova.common.v1 import server_group_pb2 as policies
from protonova.services.api import server_group_places, server_groups
from protonova.services.api.limits import Limits
from protonova.services.runtime import context as contexts
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database

_NAME_LENGTH = 255
_GREATEST = 2**31 - 1


class ServerGroupService(server_group_pb2_grpc.ServerGroupServiceServicer):
    def __init__(self, db: Database, limits: Limits) -> None:
        self._db = db
        self._limits = limits

    def CreateServerGroup(
        self, request: pb.CreateServerGroupRequest, context: grpc.ServicerContext
    ) -> pb.CreateServerGroupResponse:
        group = pb.ServerGroup()
        group.CopyFrom(request.group)
        caller = contexts.current()
        group.project_id = group.project_id or caller.project_id
        group.user_id = group.user_id or caller.user_id
        _check(group)
        group.id = str(uuid.uuid4())

        def create(connection: Connection) -> pb.ServerGroup:
            project, user = self._limits.of(connection, group.project_id, group.user_id)
            limits = [("", project["server_groups"])]
            if group.user_id:
                limits.append((group.user_id, user["server_groups"]))
            now = connection.execute(select(self._db.now())).scalar_one()
            return server_groups.create(connection, group, limits, now)

        return pb.CreateServerGroupResponse(group=self._db.write(create))

    def GetServerGroup(
        self, request: pb.GetServerGroupRequest, context: grpc.ServicerContext
    ) -> pb.GetServerGroupResponse:
        project_id = _within(all_projects=request.all_projects)
        found = self._db.read(lambda connection: server_groups.get(connection, request.id, project_id))
        return pb.GetServerGroupResponse(group=found)

    def ListServerGroups(
        self, request: pb.ListServerGroupsRequest, context: grpc.ServicerContext
    ) -> pb.ListServerGroupsResponse:
        if request.offset < 0:
            raise _invalid("offset", f"{request.offset} is less than 0.")
        project_id = request.project_id
        if not contexts.current().is_admin:
            project_id = _within(all_projects=False)
        found = self._db.read(
            lambda connection: server_groups.listing(
                connection, project_id, request.page_size, request.offset
            )
        )
        return pb.ListServerGroupsResponse(groups=found)

    def DeleteServerGroup(
        self, request: pb.DeleteServerGroupRequest, context: grpc.ServicerContext
    ) -> pb.DeleteServerGroupResponse:
        project_id = _within(all_projects=request.all_projects)
        self._db.write(lambda connection: server_groups.remove(connection, request.id, project_id))
        return pb.DeleteServerGroupResponse()

    def GetServerGroupPlaces(
        self, request: pb.GetServerGroupPlacesRequest, context: grpc.ServicerContext
    ) -> pb.GetServerGroupPlacesResponse:
        return self._db.read(lambda connection: server_group_places.read(connection, request.id))

    def PlaceServerGroupMembers(
        self, request: pb.PlaceServerGroupMembersRequest, context: grpc.ServicerContext
    ) -> pb.PlaceServerGroupMembersResponse:
        for place in request.places:
            if not place.host or not place.server_id:
                raise _invalid("places", "names no server or no host.")
        generation = self._db.write(lambda connection: server_group_places.change(connection, request))
        return pb.PlaceServerGroupMembersResponse(generation=generation)


def _within(*, all_projects: bool) -> str:
    """The project the caller's groups are of; empty = all, which only administrators may ask for."""
    caller = contexts.current()
    if all_projects and caller.is_admin:
        return ""
    if not caller.project_id:
        raise errors.PermissionDenied("The caller has no project.", reason="PROJECT_MISSING")
    return caller.project_id


def _check(group: pb.ServerGroup) -> None:
    """Raises GROUP_INVALID."""
    if not 0 < len(group.name) <= _NAME_LENGTH:
        raise _invalid("name", f"must have 1 to {_NAME_LENGTH} characters.")
    if not group.project_id:
        raise _invalid("project_id", "is missing.")
    if group.policy not in policies.ServerGroupPolicy.values() or not group.policy:
        raise _invalid("policy", f"{group.policy} is not known.")
    if group.HasField("max_server_per_host"):
        if group.policy != policies.SERVER_GROUP_POLICY_ANTI_AFFINITY:
            raise _invalid("max_server_per_host", "is only for the policy anti-affinity.")
        if not 0 < group.max_server_per_host <= _GREATEST:
            raise _invalid("max_server_per_host", f"must lie between 1 and {_GREATEST}.")


def _invalid(field: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(f"Server group: {field} {rule}", reason="GROUP_INVALID", field=field)
