"""The api service's contract, kept in memory: what the gateway is tested against.

It behaves like the real one towards the gateway (same errors, same bounds by project and paging) and does
nothing else: servers become what a test makes of them.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.api.v1 import flavor_pb2, flavor_pb2_grpc, server_pb2
from protonova.common.v1 import flavor_pb2 as flavor_common
from protonova.common.v1 import server_action_pb2
from protonova.common.v1 import server_pb2 as server_common
from protonova.services.runtime import context, errors
from tests.support.compute_states import ServerStates

START = 1_700_000_000


class Servers(ServerStates):
    """Servers of one region. ``requests`` keeps what was asked, ``refuse`` makes a method fail."""

    def __init__(self, flavors: Flavors) -> None:
        self.flavors = flavors
        self.servers: dict[str, server_common.Server] = {}
        self.actions: dict[str, list[server_action_pb2.ServerAction]] = {}
        self.requests: list[Any] = []
        self.refuse: dict[str, errors.Error] = {}
        self.passwords = True
        self._keys: dict[tuple[str, str], server_pb2.CreateServersResponse] = {}

    def put(self, **fields: Any) -> server_common.Server:
        """A server as a test wants it."""
        number = len(self.servers)
        fields.setdefault("id", str(uuid.UUID(int=number + 1)))
        fields.setdefault("created_at", Timestamp(seconds=START + number))
        server = server_common.Server(**fields)
        self.servers[server.id] = server
        return server

    def _enter(self, request: Any) -> None:
        self.requests.append(request)
        name = type(request).__name__.removesuffix("Request")
        if name in self.refuse:
            raise self.refuse[name]

    def _find(self, server_id: str, include_deleted: bool = False) -> server_common.Server:
        caller = context.current()
        server = self.servers.get(server_id)
        visible = server is not None and (caller.is_admin or server.project_id == caller.project_id)
        if not visible or (server.HasField("deleted_at") and not include_deleted):
            raise errors.NotFound(
                f"Instance {server_id} could not be found.", "SERVER_NOT_FOUND", server_id=server_id
            )
        return server

    def CreateServers(self, request, _):
        self._enter(request)
        caller = context.current()
        if request.idempotency_key:
            known = self._keys.get((caller.project_id, request.idempotency_key))
            if known is not None:
                return known
        flavor = self.flavors.flavors.get(request.flavor_id)
        if flavor is None:
            raise errors.InvalidArgument(
                f"Flavor {request.flavor_id} could not be found.", "FLAVOR_NOT_FOUND"
            )
        made = server_pb2.CreateServersResponse(
            reservation_id="r-12345678", admin_password=request.admin_password or "generated"
        )
        for index in range(max(request.max_count, 1)):
            server = self.put(
                name=request.name if request.max_count < 2 else f"{request.name}-{index + 1}",
                project_id=caller.project_id,
                user_id=caller.user_id,
                vm_state=server_common.VM_STATE_BUILDING,
                task_state=server_common.TASK_STATE_SCHEDULING,
                flavor=flavor,
                image=server_common.ImageSnapshot(id=request.image_id),
                metadata=request.metadata,
                tags=request.tags,
                security_groups=request.security_groups,
                auto_disk_config=request.auto_disk_config,
                hostname=request.hostname or request.name,
                key_name=request.key_name,
            )
            if request.HasField("description"):
                server.description = request.description
            made.servers.append(server)
        if request.idempotency_key:
            self._keys[caller.project_id, request.idempotency_key] = made
        return made

    def GetServer(self, request, _):
        self._enter(request)
        server = self._find(request.id, request.include_deleted)
        if server.partial and not request.allow_partial:
            raise errors.Unavailable("The cell does not answer.", "CELL_UNAVAILABLE", cell_id=server.cell_id)
        return server_pb2.GetServerResponse(server=server)

    def ListServers(self, request, _):
        self._enter(request)
        wanted = request.filter
        found = [server for server in self.servers.values() if self._matches(server, wanted)]
        if not request.allow_partial:
            found = [server for server in found if not server.partial]
        found.sort(key=lambda server: server.created_at.seconds, reverse=True)
        for order in reversed(request.sort):
            found.sort(key=lambda server: str(_field(server, order.key)), reverse=order.descending)
        if request.page_token:
            ids = [server.id for server in found]
            if request.page_token not in ids:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[ids.index(request.page_token) + 1 :]
        return server_pb2.ListServersResponse(servers=found[: request.page_size])

    @staticmethod
    def _matches(server, wanted) -> bool:
        if wanted.project_id and server.project_id != wanted.project_id:
            return False
        if wanted.HasField("deleted") and wanted.deleted != server.HasField("deleted_at"):
            return False
        if wanted.vm_states and server.vm_state not in wanted.vm_states:
            return False
        if wanted.task_states and server.task_state not in wanted.task_states:
            return False
        if wanted.server_ids and server.id not in wanted.server_ids:
            return False
        if wanted.HasField("locked") and bool(server.locked_by) != wanted.locked:
            return False
        if not set(wanted.tags_all) <= set(server.tags):
            return False
        for text in wanted.texts:
            value = str(_field(server, text.field))
            if text.kind == text.KIND_EXACT and value != text.value:
                return False
            if text.kind == text.KIND_REGEX and not re.search(text.value, value):
                return False
        return True

    def UpdateServer(self, request, _):
        self._enter(request)
        server = self._find(request.server.id)
        for path in request.update_mask.paths:
            value = getattr(request.server, path)
            if request.server.DESCRIPTOR.fields_by_name[path].has_presence and not request.server.HasField(
                path
            ):
                server.ClearField(path)
            else:
                setattr(server, path, value)
        return server_pb2.UpdateServerResponse(server=server)

    def DeleteServer(self, request, _):
        self._enter(request)
        del self.servers[self._find(request.id).id]
        return server_pb2.DeleteServerResponse()

    def _change(self, server_id: str, action: str, needs: int, becomes: int) -> None:
        server = self._find(server_id)
        if server.vm_state != needs:
            raise errors.FailedPrecondition(
                "wrong state",
                "SERVER_STATE",
                server_id=server.id,
                action=action,
                attribute="vm_state",
                value=server_common.VmState.Name(server.vm_state).removeprefix("VM_STATE_").lower(),
            )
        server.vm_state = becomes

    def StartServer(self, request, _):
        self._enter(request)
        self._change(request.id, "start", server_common.VM_STATE_STOPPED, server_common.VM_STATE_ACTIVE)
        return server_pb2.StartServerResponse()

    def StopServer(self, request, _):
        self._enter(request)
        self._change(request.id, "stop", server_common.VM_STATE_ACTIVE, server_common.VM_STATE_STOPPED)
        return server_pb2.StopServerResponse()

    def RebootServer(self, request, _):
        self._enter(request)
        self._change(request.id, "reboot", server_common.VM_STATE_ACTIVE, server_common.VM_STATE_ACTIVE)
        return server_pb2.RebootServerResponse()

    def GetConsoleOutput(self, request, _):
        self._enter(request)
        self._find(request.id)
        lines = [b"one", b"two\x1b[0m", b"three"]
        return server_pb2.GetConsoleOutputResponse(
            output=b"\n".join(lines[-request.length :] if request.HasField("length") else lines)
        )

    def UpdateServerMetadata(self, request, _):
        self._enter(request)
        server = self._find(request.id)
        if request.replace:
            server.metadata.clear()
        for key, value in request.metadata.items():
            server.metadata[key] = value
        return server_pb2.UpdateServerMetadataResponse(metadata=server.metadata)

    def DeleteServerMetadataItem(self, request, _):
        self._enter(request)
        server = self._find(request.id)
        if request.key not in server.metadata:
            raise errors.NotFound("There is no such metadata item.", "METADATA_NOT_FOUND")
        del server.metadata[request.key]
        return server_pb2.DeleteServerMetadataItemResponse()

    def UpdateServerTags(self, request, _):
        self._enter(request)
        server = self._find(request.id)
        before = set() if request.replace else set(server.tags)
        if missing := set(request.remove) - before:
            raise errors.NotFound(f"There is no tag {missing.pop()}.", "TAG_NOT_FOUND")
        after = (before | set(request.add)) - set(request.remove)
        if len(after) > 50:
            raise errors.InvalidArgument("A server has at most 50 tags.", "TOO_MANY_TAGS", limit=50)
        added = sorted(set(request.add) - set(server.tags))
        server.tags[:] = sorted(after)
        return server_pb2.UpdateServerTagsResponse(tags=server.tags, added=added)

    def ListServerActions(self, request, _):
        self._enter(request)
        self._find(request.server_id, request.include_deleted)
        found = list(reversed(self.actions.get(request.server_id, [])))
        if request.page_token:
            ids = [action.request_id for action in found]
            if request.page_token not in ids:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[ids.index(request.page_token) + 1 :]
        if request.page_size:
            found = found[: request.page_size]
        return server_pb2.ListServerActionsResponse(actions=found)

    def GetServerAction(self, request, _):
        self._enter(request)
        self._find(request.server_id, request.include_deleted)
        for action in self.actions.get(request.server_id, []):
            if action.request_id == request.request_id:
                return server_pb2.GetServerActionResponse(action=action)
        raise errors.NotFound("There is no such action.", "ACTION_NOT_FOUND")


class Flavors(flavor_pb2_grpc.FlavorServiceServicer):
    def __init__(self) -> None:
        self.flavors: dict[str, flavor_common.Flavor] = {}
        self.access: dict[str, set[str]] = {}
        self.requests: list[Any] = []

    def put(self, **fields: Any) -> flavor_common.Flavor:
        defaults = {"vcpus": 1, "memory_mb": 512, "root_gb": 1, "is_public": True, "rxtx_factor": 1.0}
        flavor = flavor_common.Flavor(**{**defaults, **fields})
        self.flavors[flavor.id] = flavor
        return flavor

    def _find(self, flavor_id: str) -> flavor_common.Flavor:
        flavor = self.flavors.get(flavor_id)
        if flavor is None or not self._seen(flavor):
            raise errors.NotFound(
                f"Flavor {flavor_id} could not be found.", "FLAVOR_NOT_FOUND", flavor_id=flavor_id
            )
        return flavor

    def _seen(self, flavor: flavor_common.Flavor) -> bool:
        caller = context.current()
        return flavor.is_public or caller.is_admin or caller.project_id in self.access.get(flavor.id, ())

    def CreateFlavor(self, request, _):
        flavor = flavor_common.Flavor()
        flavor.CopyFrom(request.flavor)
        flavor.id = flavor.id or str(uuid.uuid4())
        for known in self.flavors.values():
            if flavor.id == known.id or flavor.name == known.name:
                raise errors.AlreadyExists("There is such a flavor already.", "FLAVOR_EXISTS", field="name")
        self.flavors[flavor.id] = flavor
        return flavor_pb2.CreateFlavorResponse(flavor=flavor)

    def GetFlavor(self, request, _):
        return flavor_pb2.GetFlavorResponse(flavor=self._find(request.id))

    def ListFlavors(self, request, _):
        self.requests.append(request)
        found = [flavor for flavor in self.flavors.values() if self._seen(flavor)]
        if request.visibility == flavor_pb2.FLAVOR_VISIBILITY_PUBLIC:
            found = [flavor for flavor in found if flavor.is_public]
        elif request.visibility == flavor_pb2.FLAVOR_VISIBILITY_PRIVATE:
            found = [flavor for flavor in found if not flavor.is_public]
        if request.name:
            found = [flavor for flavor in found if flavor.name == request.name]
        found = [flavor for flavor in found if flavor.memory_mb >= request.min_memory_mb]
        found.sort(key=lambda flavor: flavor.id, reverse=request.sort_descending)
        if request.page_token:
            ids = [flavor.id for flavor in found]
            if request.page_token not in ids:
                raise errors.InvalidArgument("There is no such marker.", "MARKER_NOT_FOUND")
            found = found[ids.index(request.page_token) + 1 :]
        return flavor_pb2.ListFlavorsResponse(flavors=found[: request.page_size])

    def UpdateFlavor(self, request, _):
        flavor = self._find(request.id)
        flavor.ClearField("description")
        if request.HasField("description"):
            flavor.description = request.description
        return flavor_pb2.UpdateFlavorResponse(flavor=flavor)

    def DeleteFlavor(self, request, _):
        del self.flavors[self._find(request.id).id]
        return flavor_pb2.DeleteFlavorResponse()

    def ListFlavorAccess(self, request, _):
        if self._find(request.id).is_public:
            raise errors.NotFound("A public flavor has no access list.", "FLAVOR_IS_PUBLIC")
        return flavor_pb2.ListFlavorAccessResponse(project_ids=self.access.get(request.id, ()))

    def AddFlavorAccess(self, request, _):
        if self._find(request.id).is_public and request.refuse_public:
            raise errors.FailedPrecondition("A public flavor has no access list.", "FLAVOR_IS_PUBLIC")
        allowed = self.access.setdefault(request.id, set())
        if request.project_id in allowed:
            raise errors.AlreadyExists("The project has access already.", "FLAVOR_ACCESS_EXISTS")
        allowed.add(request.project_id)
        return flavor_pb2.AddFlavorAccessResponse(project_ids=allowed)

    def RemoveFlavorAccess(self, request, _):
        self._find(request.id)
        allowed = self.access.setdefault(request.id, set())
        if request.project_id not in allowed:
            raise errors.NotFound("The project has no access.", "FLAVOR_ACCESS_NOT_FOUND")
        allowed.remove(request.project_id)
        return flavor_pb2.RemoveFlavorAccessResponse(project_ids=allowed)

    def UpdateFlavorExtraSpecs(self, request, _):
        flavor = self._find(request.id)
        for key, value in request.extra_specs.items():
            flavor.extra_specs[key] = value
        return flavor_pb2.UpdateFlavorExtraSpecsResponse(extra_specs=flavor.extra_specs)

    def DeleteFlavorExtraSpec(self, request, _):
        flavor = self._find(request.id)
        if request.key not in flavor.extra_specs:
            raise errors.NotFound("There is no such extra spec.", "EXTRA_SPEC_NOT_FOUND")
        del flavor.extra_specs[request.key]
        return flavor_pb2.DeleteFlavorExtraSpecResponse()


def _field(message: Any, path: str) -> Any:
    for part in path.split("."):
        message = getattr(message, part)
    return message
