"""What the scheduler would say of a server: asked as a build would ask it, and nothing comes of it."""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.scheduler.v1 import scheduler_pb2
from protonova.services.api import hint_hosts, request_specs
from protonova.services.api.cells import Cells
from protonova.services.api.creation.plan import Planner
from protonova.services.api.neighbours import Neighbours
from protonova.services.runtime.config import Conf
from protonova.services.runtime.context import RequestContext
from protonova.services.runtime.database import Database


class DryRun:
    def __init__(
        self, conf: Conf, db: Database, planner: Planner, cells: Cells, neighbours: Neighbours
    ) -> None:
        self._db = db
        self._planner = planner
        self._cells = cells
        self._neighbours = neighbours
        self._patience = float(conf.api.cell_timeout)

    def of_request(
        self, request: pb.CreateServersRequest, caller: RequestContext, max_hosts: int
    ) -> pb.ExplainServersResponse:
        """As many servers as are asked for at most. Raises what CreateServers does, but for quota."""
        known = self._db.read(lambda connection: self._planner.look_up(connection, request, caller))
        plan = self._planner.plan(request, caller, known)
        return self._asked(plan.spec, plan.most, max_hosts)

    def of_server(self, server: Server, max_hosts: int) -> pb.ExplainServersResponse:
        """As if it were to be built now, beside itself if it has a host."""
        topology = server.numa_topology if server.HasField("numa_topology") else None
        spec = request_specs.of_server(server, server.flavor, topology, server.pci_requests)
        return self._asked(spec, 1, max_hosts)

    def _asked(
        self, spec: scheduler_pb2.RequestSpec, count: int, max_hosts: int
    ) -> pb.ExplainServersResponse:
        hint_hosts.fill(spec, self._db, self._cells, self._patience)
        answer = self._neighbours.explain(spec, count, max_hosts)
        return pb.ExplainServersResponse(explanation=answer.explanation, destinations=answer.destinations)
