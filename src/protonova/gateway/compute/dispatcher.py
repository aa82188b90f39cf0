"""How the Compute API frames answers: its headers, its faults, and 404 for whatever it does not offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from protonova.api.v1 import server_pb2
from protonova.gateway.dispatch import Dispatcher, Headers
from protonova.gateway.faults import Fault, from_error
from protonova.gateway.operation import Operation, Route
from protonova.gateway.request import Request
from protonova.gateway.versions import COMPUTE, VersionNotServed
from protonova.services.runtime import errors


class ComputeDispatcher(Dispatcher):
    """The Compute API, under /v2.1 and /v2."""

    api = COMPUTE
    # `/servers/` is a server without an id, not the list.
    strict_slashes = True
    json_types = frozenset(
        (
            "application/json",
            "application/vnd.openstack.compute+json",
            "application/vnd.openstack.compute.v2+json",
            "text/plain",
            "",
        )
    )

    def version_headers(self, version: str, headers: Headers) -> None:
        headers.append(("OpenStack-API-Version", f"compute {version}"))
        headers.append(("X-OpenStack-Nova-API-Version", version))
        headers.append(("Vary", "OpenStack-API-Version, X-OpenStack-Nova-API-Version"))

    def id_headers(self, request_id: str, headers: Headers) -> None:
        headers.append(("X-Compute-Request-Id", request_id))
        headers.append(("X-Openstack-Request-Id", request_id))

    def fault_headers(self, fault: Fault) -> Headers:
        headers: Headers = []
        if isinstance(fault, VersionNotServed):
            # The answer names the version it refuses.
            self.version_headers(fault.wanted, headers)
        return headers

    def fault_body(self, fault: Fault, request_id: str, environ: Mapping[str, Any]) -> bytes:
        return orjson.dumps(fault.document())

    def authorize(self, operation: Operation, request: Request) -> None:
        rule = operation.policy
        if rule is None:
            return
        server_id = request.args.get("server_id")
        if server_id is None or not self.policy.looks_at_user(rule):
            request.enforce(rule)
            return
        # The operator lets users do things to their own servers: whose this one is must be known first.
        wanted = server_pb2.GetServerRequest(id=server_id, allow_partial=True, include_deleted=True)
        try:
            server = self.services.servers.GetServer(wanted).server
        except errors.Error as error:
            raise from_error(error, request.args) from error
        request.enforce(rule, {"project_id": server.project_id, "user_id": server.user_id})

    def no_operation(self, route: Route, method: str, version: int) -> Fault:
        return Fault(404, f"{method} is not offered here at version {self.api.text(version)}.")
