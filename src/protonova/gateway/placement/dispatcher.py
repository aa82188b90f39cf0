"""How the Placement API frames answers: error documents with codes, 405 with Allow, last-modified."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import orjson
from flask.wrappers import Response as FlaskResponse

from protonova.gateway.dispatch import Dispatcher, Headers
from protonova.gateway.faults import Fault
from protonova.gateway.links import Links, base_of
from protonova.gateway.operation import Operation, Route
from protonova.gateway.placement.query import canonical
from protonova.gateway.request import Request
from protonova.gateway.validation import is_uuid
from protonova.gateway.versions import PLACEMENT, VersionNotServed, Window

CODES_SHOWN = Window.parse("1.23-")
LAST_MODIFIED = Window.parse("1.15-")
UNDEFINED = "placement.undefined_code"

# Reason → the error code clients tell conflicts apart by.
CODES = {
    "CONCURRENT_UPDATE": "placement.concurrent_update",
    "INVENTORY_EXISTS": "placement.concurrent_update",
    "INVENTORY_IN_USE": "placement.inventory.inuse",
    "DUPLICATE_NAME": "placement.duplicate_name",
    "PROVIDER_IN_USE": "placement.resource_provider.inuse",
    "PROVIDER_HAS_CHILDREN": "placement.resource_provider.cannot_delete_parent",
    "RESHAPED_PROVIDER_NOT_FOUND": "placement.resource_provider.not_found",
    "QUERY_DUPLICATE_KEY": "placement.query.duplicate_key",
    "QUERY_BAD_VALUE": "placement.query.bad_value",
    "QUERY_MISSING_VALUE": "placement.query.missing_value",
}


class PlacementDispatcher(Dispatcher):
    """The Placement API."""

    api = PLACEMENT
    json_types = frozenset(("application/json",))
    # Allocations of thousands of consumers may move in one request.
    largest_body = 4 << 20

    def serve(self, route: Route | None, args: Mapping[str, str]) -> FlaskResponse:
        # Whatever way a UUID is written in, it names the same thing.
        named = {name: canonical(text) if is_uuid(text) else text for name, text in args.items()}
        return super().serve(route, named)

    def _links(self, environ: dict[str, Any]) -> Links:
        # Where this API is reached is not told by the configuration, which names the Compute API's address.
        base = base_of(environ)
        return Links(base, base, base)

    def version_headers(self, version: str, headers: Headers) -> None:
        headers.append(("OpenStack-API-Version", f"placement {version}"))
        headers.append(("Vary", "openstack-api-version"))

    def id_headers(self, request_id: str, headers: Headers) -> None:
        headers.append(("x-openstack-request-id", request_id))

    def fault_body(self, fault: Fault, request_id: str, environ: Mapping[str, Any]) -> bytes:
        error: dict[str, Any] = {
            "status": fault.code,
            "title": HTTPStatus(fault.code).phrase,
            "detail": fault.message,
            "request_id": request_id,
        }
        if environ.get("protonova.version", 0) in CODES_SHOWN:
            error["code"] = CODES.get(fault.reason, UNDEFINED)
        if isinstance(fault, VersionNotServed):
            error["max_version"] = self.api.maximum
            error["min_version"] = self.api.minimum
        return orjson.dumps({"errors": [error]})

    def no_operation(self, route: Route, method: str, version: int) -> Fault:
        declared = set(route.plain)
        if method in declared and not self._was_unknown_method(route, method):
            return Fault(404, f"This is not offered at version {self.api.text(version)}.")
        allowed = ", ".join(route.methods(version) or sorted(declared))
        return Fault(405, f"{method} is not offered here.", headers=[("Allow", allowed)])

    @staticmethod
    def _was_unknown_method(route: Route, method: str) -> bool:
        # Deleting all inventories came to a path that had other methods before: there it was a 405.
        return method == "DELETE" and route.path.endswith("/inventories")

    def finish(self, operation: Operation, request: Request, body: bytes, headers: Headers) -> None:
        if request.version not in LAST_MODIFIED or not (body or operation.path == "/traits/{name}"):
            return
        if operation.method == "DELETE":
            return
        stamp = request.memo.get("last_modified")
        headers.append(("last-modified", formatdate(stamp and stamp.seconds, usegmt=True)))
        headers.append(("cache-control", "no-cache"))

    def parse(self, environ: dict[str, Any]) -> Any:
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind not in self.json_types:
            raise Fault(415, f"Content type '{kind}' is not served; send application/json.")
        return super().parse(environ)

    def check(self, environ: Mapping[str, Any]) -> None:
        if environ.get("CONTENT_LENGTH", "").strip("0") and not environ.get("CONTENT_TYPE"):
            raise Fault(400, "The body comes without a Content-Type.")
        accepted = environ.get("HTTP_ACCEPT", "")
        if not accepted:
            return
        kinds = {part.partition(";")[0].strip().lower() for part in accepted.split(",")}
        if not kinds & {"*/*", "application/*", "application/json"}:
            raise Fault(406, "Only application/json is served.")
