"""The NUMA cells of a server, from 2.78 on; where they lie on the host is told to operators only."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1.numa_pb2 import GuestCell, GuestTopology
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, INTEGER_OR_NULL, Arr, Field, Map, Obj

RULES = "compute:server:topology"

topology = Resource("servers.topology")

NODE = Obj(
    Field("memory_mb", INTEGER, required=True),
    Field("siblings", Arr(Arr(INTEGER)), required=True),
    Field("vcpu_set", Arr(INTEGER), required=True),
    Field("host_node", INTEGER),
    Field("cpu_pinning", Map("^[0-9]+$", INTEGER)),
)
TOPOLOGY = Obj(Field("nodes", Arr(NODE), required=True), Field("pagesize_kb", INTEGER_OR_NULL, required=True))


@topology.get(
    "/servers/{server_id}/topology",
    "index",
    since="2.78",
    policy=f"{RULES}:index",
    answer=TOPOLOGY,
)
def index(request: Request) -> dict[str, Any]:
    """Show a server's NUMA topology."""
    # The little that is known of a server whose cell is silent says nothing of its topology.
    asked = api.GetServerRequest(id=request.args["server_id"])
    server = request.services.servers.GetServer(asked).server
    owner = {"project_id": server.project_id, "user_id": server.user_id}
    host = request.allowed(f"{RULES}:host:index", owner)
    found = server.numa_topology
    sizes = [cell.page_size_kb or found.requested_page_size_kb for cell in found.cells]
    return {
        "nodes": [_node(found, cell, host=host) for cell in found.cells],
        "pagesize_kb": next(filter(None, sizes), None),
    }


def _node(found: GuestTopology, cell: GuestCell, *, host: bool) -> dict[str, Any]:
    threads = found.shape.threads
    cpus = list(cell.cpus)
    siblings = (
        [cpus[start : start + threads] for start in range(0, len(cpus), threads)] if threads > 1 else []
    )
    node: dict[str, Any] = {"memory_mb": cell.memory_mb, "siblings": siblings, "vcpu_set": cpus}
    if host and found.fitted:
        node["host_node"] = cell.host_cell
        node["cpu_pinning"] = {str(cpu): cell.pins[cpu] for cpu in sorted(cell.pins)}
    return node
