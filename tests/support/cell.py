"""A cell as the api service sees it: a real gRPC server that keeps its servers and hosts in memory."""

from __future__ import annotations

import threading
import uuid

from google.protobuf.message import Message

from protonova.common.v1 import server_pb2 as common
from protonova.common.v1.host_pb2 import ComputeService, Hypervisor, HypervisorServer
from protonova.common.v1.server_action_pb2 import ServerAction
from protonova.conductor.v1 import (
    host_pb2,
    host_pb2_grpc,
    migration_pb2_grpc,
    server_pb2,
    server_pb2_grpc,
    usage_pb2_grpc,
)
from protonova.services.runtime import errors
from protonova.services.runtime.server import Server as RpcServer
from tests.support.cell_moves import Moves
from tests.support.cell_states import CellStates
from tests.support.gates import Gates
from tests.support.usage import CellUsages


class Cell:
    """Its conductor, on a port of its own. `stop` and `start` make it silent and bring it back."""

    def __init__(self, conf, name: str = "cell1") -> None:
        self.id = str(uuid.uuid4())
        self.name = name
        self.gates = Gates()
        self.servers: dict[str, common.Server] = {}
        self.builds: dict[str, server_pb2.ServerBuild] = {}
        self.hosts: list[ComputeService] = []
        self.prefetches: dict[str, host_pb2.PrefetchImagesRequest] = {}
        self.changes: list[tuple[str, bool]] = []
        self.moves = Moves(self.servers)
        self.usage = CellUsages()
        self.changed = threading.Condition()
        self.asked: list[Message] = []
        self._conf = conf
        self._listen = "127.0.0.1:0"
        self._rpc: RpcServer | None = None
        self.start()

    def start(self) -> None:
        self._rpc = RpcServer(self._conf, f"cell-{self.name}", self._listen)
        self._rpc.add(server_pb2_grpc.add_ServerServiceServicer_to_server, _Servers(self, self._rpc))
        self._rpc.add(migration_pb2_grpc.add_MigrationServiceServicer_to_server, self.moves)
        self._rpc.add(usage_pb2_grpc.add_UsageServiceServicer_to_server, self.usage)
        self._rpc.add(host_pb2_grpc.add_HostServiceServicer_to_server, _Hosts(self))
        self._listen = f"127.0.0.1:{self._rpc.start()}"

    def stop(self) -> None:
        if self._rpc is not None:
            self._rpc.stop(0)
            self._rpc = None

    @property
    def target(self) -> str:
        return self._listen

    def add_host(self, host: str, zone: str = "nova", *, disabled: bool = False) -> None:
        self.hosts.append(
            ComputeService(
                id=str(uuid.uuid4()),
                number=len(self.hosts) + 1,
                host=host,
                binary="nova-compute",
                availability_zone=zone,
                disabled=disabled,
                up=True,
                cell_id=self.id,
            )
        )

    def put(self, server: common.Server) -> None:
        """What the cell commits."""
        with self.changed:
            self.servers[server.id] = server
            self.changes.append((server.id, False))
            self.changed.notify_all()

    def drop(self, server_id: str) -> None:
        with self.changed:
            self.servers.pop(server_id, None)
            self.changes.append((server_id, True))
            self.changed.notify_all()


class _Servers(CellStates):
    def __init__(self, cell: Cell, rpc: RpcServer) -> None:
        self._cell = cell
        self._rpc = rpc

    def _get(self, server_id: str) -> common.Server:
        server = self._cell.servers.get(server_id)
        if server is None:
            raise errors.NotFound("No such server.", reason="SERVER_NOT_FOUND", server_id=server_id)
        return server

    def CreateServers(self, request, context):
        self._cell.gates.enter("CreateServers")
        for build in request.builds:
            if build.server.id not in self._cell.builds:
                self._cell.builds[build.server.id] = build
                server = common.Server()
                server.CopyFrom(build.server)
                server.cell_id, server.host = self._cell.id, build.destination.host
                server.task_state = common.TASK_STATE_SPAWNING
                self._cell.put(server)
        self._cell.gates.leave("CreateServers")
        return server_pb2.CreateServersResponse()

    def GetServer(self, request, context):
        self._cell.gates.enter("GetServer")
        return server_pb2.GetServerResponse(server=self._get(request.id))

    def ListServers(self, request, context):
        self._cell.gates.enter("ListServers")
        found = [s for s in self._cell.servers.values() if request.filter.project_id in ("", s.project_id)]
        if request.filter.server_ids:
            found = [server for server in found if server.id in request.filter.server_ids]
        keys = [(s.key, s.descending) for s in request.sort] or [("created_at", True)]
        keys.append(("id", keys[-1][1]))
        for key, descending in reversed(keys):
            found.sort(key=lambda s, key=key: _value(s, key), reverse=descending)
        if request.HasField("after"):
            found = [s for s in found if _beyond(s, request.after, keys)]
        return server_pb2.ListServersResponse(servers=found[: request.page_size])

    def UpdateServer(self, request, context):
        server = self._get(request.server.id)
        for path in request.update_mask.paths:
            setattr(server, path, getattr(request.server, path))
        return server_pb2.UpdateServerResponse(server=server)

    def DeleteServer(self, request, context):
        self._cell.gates.enter("DeleteServer")
        self._get(request.id)
        self._cell.drop(request.id)
        return server_pb2.DeleteServerResponse()

    def StartServer(self, request, context):
        self._get(request.id).vm_state = common.VM_STATE_ACTIVE
        return server_pb2.StartServerResponse()

    def StopServer(self, request, context):
        server = self._get(request.id)
        if server.vm_state == common.VM_STATE_STOPPED:
            raise errors.FailedPrecondition(
                "It is stopped.",
                reason="SERVER_STATE",
                server_id=server.id,
                action="stop",
                attribute="vm_state",
                value="stopped",
            )
        server.vm_state = common.VM_STATE_STOPPED
        return server_pb2.StopServerResponse()

    def RebootServer(self, request, context):
        self._get(request.id)
        self._cell.gates.calls["hard" if request.hard else "soft"] += 1
        return server_pb2.RebootServerResponse()

    def GetConsoleOutput(self, request, context):
        return server_pb2.GetConsoleOutputResponse(output=f"{self._get(request.id).name} says hello".encode())

    def UpdateServerMetadata(self, request, context):
        server = self._get(request.id)
        if request.replace:
            server.metadata.clear()
        server.metadata.update(request.metadata)
        self._cell.gates.calls["max_items"] = request.max_items
        return server_pb2.UpdateServerMetadataResponse(metadata=server.metadata)

    def DeleteServerMetadataItem(self, request, context):
        if request.key not in self._get(request.id).metadata:
            raise errors.NotFound("No such item.", reason="METADATA_NOT_FOUND")
        del self._get(request.id).metadata[request.key]
        return server_pb2.DeleteServerMetadataItemResponse()

    def UpdateServerTags(self, request, context):
        server = self._get(request.id)
        before = set(server.tags)
        after = set(request.add) if request.replace else (before | set(request.add)) - set(request.remove)
        server.tags[:] = sorted(after)
        return server_pb2.UpdateServerTagsResponse(tags=server.tags, added=sorted(set(request.add) - before))

    def ListServerActions(self, request, context):
        self._get(request.server_id)
        return server_pb2.ListServerActionsResponse(
            actions=[ServerAction(action="create", server_id=request.server_id, request_id="req-cell")]
        )

    def GetServerAction(self, request, context):
        if request.request_id != "req-cell":
            raise errors.NotFound("No such action.", reason="ACTION_NOT_FOUND")
        return server_pb2.GetServerActionResponse(
            action=ServerAction(action="create", server_id=request.server_id, request_id="req-cell")
        )

    def WatchServers(self, request, context):
        at = request.resume_revision
        if at == 0:
            with self._cell.changed:
                at, now = len(self._cell.changes), list(self._cell.servers.values())
            for server in now:
                yield server_pb2.WatchServersResponse(server=server, revision=at)
            yield server_pb2.WatchServersResponse(snapshot_end=True, revision=at)
        while context.is_active() and not self._rpc.stopping.is_set():
            with self._cell.changed:
                self._cell.changed.wait_for(lambda at=at: len(self._cell.changes) > at, timeout=0.1)
                new = self._cell.changes[at:]
            for server_id, gone in new:
                at += 1
                if gone:
                    yield server_pb2.WatchServersResponse(deleted_server_id=server_id, revision=at)
                elif server_id in self._cell.servers:
                    yield server_pb2.WatchServersResponse(server=self._cell.servers[server_id], revision=at)


class _Hosts(host_pb2_grpc.HostServiceServicer):
    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    def ListComputeServices(self, request, context):
        self._cell.gates.enter("ListComputeServices")
        return host_pb2.ListComputeServicesResponse(
            services=[
                service
                for service in self._cell.hosts
                if request.host in ("", service.host) and request.binary in ("", service.binary)
            ]
        )

    def UpdateComputeService(self, request, context):
        for service in self._cell.hosts:
            if service.id == request.id:
                for field in ("disabled", "disabled_reason", "forced_down"):
                    if request.HasField(field):
                        setattr(service, field, getattr(request, field))
                return host_pb2.UpdateComputeServiceResponse(service=service)
        raise errors.NotFound("No such service.", reason="COMPUTE_SERVICE_NOT_FOUND")

    def DeleteComputeService(self, request, context):
        self._cell.hosts[:] = [service for service in self._cell.hosts if service.id != request.id]
        return host_pb2.DeleteComputeServiceResponse()

    def ListHypervisors(self, request, context):
        found = [
            Hypervisor(
                id=str(uuid.uuid5(uuid.NAMESPACE_DNS, service.host)),
                number=service.number,
                hostname=service.host,
                service=service,
                vcpus=4,
                memory_mb=8192,
            )
            for service in self._cell.hosts
            if request.hostname_pattern in service.host
            and (not request.hosts or service.host in request.hosts)
        ]
        if request.with_servers:
            for hypervisor in found:
                hypervisor.servers.extend(
                    HypervisorServer(id=server.id)
                    for server in self._cell.servers.values()
                    if server.host == hypervisor.service.host
                )
        return host_pb2.ListHypervisorsResponse(
            hypervisors=[one for one in found if request.id in ("", one.id)]
        )

    def PrefetchImages(self, request, context):
        self._cell.gates.enter("PrefetchImages")
        self._cell.prefetches[request.id] = request
        return host_pb2.PrefetchImagesResponse()


def _value(server: common.Server, key: str):
    value = getattr(server, key)
    return (value.seconds, value.nanos) if key.endswith("_at") else value


def _beyond(server: common.Server, after: common.Server, keys: list[tuple[str, bool]]) -> bool:
    for key, descending in keys:
        mine, theirs = _value(server, key), _value(after, key)
        if mine != theirs:
            return (mine < theirs) if descending else (mine > theirs)
    return False
