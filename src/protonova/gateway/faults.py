"""Errors as users see them: the one table from reasons to HTTP codes, and the shape of fault bodies.

A service's error carries a stable reason. ``REASONS`` says which HTTP code each becomes; what is not listed
goes by its gRPC status. Internals never reach a user: an unexpected exception is a 500 with a fixed text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from protonova.services.runtime import errors

ELEMENTS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}
LONGEST = 1000
UNEXPECTED = "The request failed for a reason on our side. The request id leads to it in our logs."


class Fault(Exception):
    """An answer that is an error, with the text its reader gets."""

    def __init__(
        self, code: int, message: str, headers: list[tuple[str, str]] | None = None, reason: str = ""
    ) -> None:
        super().__init__(message)
        self.code = code
        # A text names what was sent, which may be of any size.
        self.message = message if len(message) <= LONGEST else f"{message[: LONGEST - 1]}…"
        self.headers = headers or []
        # What the error was called where it arose; Placement's error codes derive from it.
        self.reason = reason

    def document(self) -> dict[str, Any]:
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        for name, value in self.headers:
            if name == "Retry-After":
                body["retryAfter"] = value
        return {ELEMENTS.get(self.code, "computeFault"): body}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a reason becomes: a code of its own, or the one of its gRPC status (``code=None``).

    ``named_by`` lists the path parameters that name the thing: with one of them in the path the thing is the
    subject of the request and its absence a 404; without, it was only referred to, which is a bad request.
    """

    code: int | None = None
    named_by: tuple[str, ...] = ()
    words: Callable[[Mapping[str, str]], str] | None = None


def _wrong_state(facts: Mapping[str, str]) -> str:
    return (
        f"Cannot '{facts.get('action', 'change')}' instance {facts.get('server_id', '')} while it is in "
        f"{facts.get('attribute', 'state')} {facts.get('value', 'unknown')}"
    )


def _quota(facts: Mapping[str, str]) -> str:
    resource = facts.get("resource", "resources")
    text = f"Quota exceeded for {resource}"
    if "requested" in facts:
        text += f": Requested {facts['requested']}"
        if "used" in facts and "limit" in facts:
            text += f", but already used {facts['used']} of {facts['limit']} {resource}"
    return text


BY_STATUS = Rule()

REASONS: dict[str, Rule] = {
    # Servers.
    "SERVER_NOT_FOUND": BY_STATUS,
    "SERVER_STATE": Rule(409, words=_wrong_state),
    "SERVER_LOCKED": Rule(409),
    # The status tells those actions to which it is a conflict from the one to which it is bad input.
    "SERVER_HAS_SHARES": BY_STATUS,
    "HOST_NOT_READY": Rule(409),
    "SERVER_ON_HOST": Rule(409),
    "HOST_NOT_IN_ZONE": Rule(409),
    "SERVER_VOLUME_BACKED": Rule(400),
    "CELL_UNAVAILABLE": Rule(503),
    "CONSOLE_UNAVAILABLE": Rule(404),
    "GUEST_AGENT_REFUSES": Rule(409),
    "UNSUPPORTED": Rule(501),
    "VOLUME_NOT_ATTACHED": Rule(409),
    "RESCUE_UNSUPPORTED": Rule(400),
    "REBUILD_UNSUPPORTED": Rule(400),
    "NUMA_CHANGED": Rule(400),
    "METADATA_NOT_FOUND": Rule(404),
    "TAG_NOT_FOUND": Rule(404),
    "TOO_MANY_TAGS": Rule(400),
    "TAG_INVALID": Rule(400),
    "ACTION_NOT_FOUND": Rule(404),
    "FIELD_INVALID": Rule(400),
    # What a new server refers to: the status tells a bad reference from a missing subject.
    "FLAVOR_NOT_FOUND": BY_STATUS,
    "FLAVOR_TOO_SMALL": Rule(400),
    "NUMA_INVALID": Rule(400),
    "PCI_INVALID": Rule(400),
    "IMAGE_UNUSABLE": Rule(400),
    "KEYPAIR_NOT_FOUND": BY_STATUS,
    "NETWORK_UNUSABLE": Rule(400),
    "NETWORK_AMBIGUOUS": Rule(409),
    "PORT_IN_USE": Rule(409),
    "EXTERNAL_NETWORK_FORBIDDEN": Rule(403),
    "SECURITY_GROUP_NOT_FOUND": BY_STATUS,
    "SECURITY_GROUP_AMBIGUOUS": Rule(409),
    "BLOCK_DEVICE_INVALID": Rule(400),
    "GROUP_NOT_FOUND": BY_STATUS,
    "GROUP_INVALID": Rule(400),
    "HINT_INVALID": Rule(400),
    "ZONE_NOT_FOUND": BY_STATUS,
    "HOST_NOT_FOUND": BY_STATUS,
    "USER_DATA_INVALID": Rule(400),
    "METADATA_INVALID": Rule(400),
    "COUNT_INVALID": Rule(400),
    "NAME_INVALID": Rule(400),
    "HOSTNAME_INVALID": Rule(400),
    "ADDRESS_INVALID": Rule(400),
    "CERTIFICATES_INVALID": Rule(400),
    "IDEMPOTENCY_KEY_INVALID": Rule(400),
    "IDEMPOTENCY_KEY_REUSED": Rule(409),
    "QUOTA_EXCEEDED": Rule(403, words=_quota),
    "ZERO_DISK_FORBIDDEN": Rule(403),
    # What is plugged into servers.
    "SHARE_NOT_FOUND": Rule(404),
    "SHARE_NOT_ATTACHED": Rule(404),
    "SHARE_UNUSABLE": Rule(409),
    "SHARE_ATTACHED": Rule(409),
    "SHARE_TAG_INVALID": Rule(400),
    "SHARES_UNSUPPORTED": Rule(403),
    "VOLUME_NOT_FOUND": BY_STATUS,
    "VOLUME_UNUSABLE": Rule(400),
    "VOLUME_IS_ROOT": Rule(400),
    "VOLUME_NOT_MIGRATING": Rule(409),
    "ATTACHMENT_NOT_FOUND": Rule(404),
    "DEVICE_NAME_INVALID": Rule(400),
    "DEVICE_NAME_IN_USE": Rule(409),
    "TOO_MANY_DISKS": Rule(403),
    "TAG_UNSUPPORTED": Rule(400),
    "INTERFACE_NOT_FOUND": Rule(404),
    "INTERFACE_ATTACH_FAILED": Rule(500),
    "NETWORK_NOT_FOUND": BY_STATUS,
    "PORT_NOT_FOUND": BY_STATUS,
    "ADDRESS_IN_USE": Rule(409),
    "ADDRESS_UNUSABLE": Rule(400),
    "ADDRESS_NOT_FOUND": Rule(404),
    "ADDRESS_NOT_ASSOCIATED": Rule(409),
    "SECURITY_GROUP_UNUSABLE": Rule(400),
    "EXTERNAL_QUOTA_EXCEEDED": Rule(403),
    "CONSOLE_TYPE_UNAVAILABLE": Rule(400),
    "CONSOLE_TOKEN_NOT_FOUND": Rule(404),
    # Moves. Without a migration in the path there is just none to confirm or to revert.
    "FLAVOR_UNCHANGED": Rule(400),
    "HOST_UNCHANGED": Rule(400),
    "HOST_IN_OTHER_CELL": Rule(400),
    "HOST_IS_UP": Rule(400),
    "MIGRATION_NOT_FOUND": Rule(404, ("migration_id",)),
    "MIGRATION_STATE": Rule(400),
    "MIGRATION_CHECK_FAILED": Rule(400),
    # Lists.
    "MARKER_NOT_FOUND": Rule(400),
    "FILTER_INVALID": Rule(400),
    "SORT_INVALID": Rule(400),
    # Flavors.
    "FLAVOR_EXISTS": Rule(409),
    "FLAVOR_INVALID": Rule(400),
    "FLAVOR_IS_PUBLIC": BY_STATUS,
    "FLAVOR_ACCESS_EXISTS": Rule(409),
    "FLAVOR_ACCESS_NOT_FOUND": Rule(404),
    "EXTRA_SPEC_NOT_FOUND": Rule(404),
    # Key pairs and quotas.
    "KEYPAIR_EXISTS": Rule(409),
    "KEYPAIR_INVALID": Rule(400),
    "QUOTA_INVALID": Rule(400),
    # Hosts.
    "COMPUTE_SERVICE_NOT_FOUND": Rule(404),
    "COMPUTE_SERVICE_AMBIGUOUS": Rule(400),
    "HOST_IN_USE": Rule(409),
    "HOST_NOT_CLEAN": Rule(400),
    "HYPERVISOR_NOT_FOUND": Rule(404),
    # Aggregates.
    "AGGREGATE_NOT_FOUND": Rule(404),
    "AGGREGATE_EXISTS": Rule(409),
    "AGGREGATE_INVALID": Rule(400),
    "AGGREGATE_NOT_EMPTY": Rule(400),
    "AGGREGATE_EMPTY": Rule(400),
    "AGGREGATE_HOST_EXISTS": Rule(409),
    "AGGREGATE_HOST_NOT_FOUND": Rule(404),
    "AGGREGATE_ZONE_CONFLICT": Rule(409),
    "IMAGE_NOT_FOUND": BY_STATUS,
    # Placement: providers.
    "PROVIDER_NOT_FOUND": Rule(404, ("uuid",)),
    "PARENT_NOT_FOUND": Rule(400),
    "PROVIDER_LOOP": Rule(400),
    "REPARENT_REFUSED": Rule(400),
    "DUPLICATE_NAME": Rule(409),
    "PROVIDER_IN_USE": Rule(409),
    "PROVIDER_HAS_CHILDREN": Rule(409),
    "CONCURRENT_UPDATE": Rule(409),
    # Placement: inventories.
    "INVENTORY_IN_USE": Rule(409),
    "INVENTORY_INVALID": Rule(400),
    "INVENTORY_EXISTS": Rule(409),
    "INVENTORY_NOT_FOUND": Rule(404),
    # Placement: classes and traits.
    "RESOURCE_CLASS_NOT_FOUND": Rule(404, ("name", "resource_class")),
    "RESOURCE_CLASS_INVALID": Rule(400),
    "RESOURCE_CLASS_STANDARD": Rule(400),
    "RESOURCE_CLASS_EXISTS": Rule(409),
    "RESOURCE_CLASS_IN_USE": Rule(409),
    "TRAIT_NOT_FOUND": Rule(404, ("name",)),
    "TRAIT_INVALID": Rule(400),
    "TRAIT_STANDARD": Rule(400),
    "TRAIT_IN_USE": Rule(409),
    # Placement: allocations.
    "CAPACITY_EXCEEDED": Rule(409),
    "ALLOCATION_INVALID": Rule(409),
    "ALLOCATION_NOT_FOUND": Rule(404),
    "QUERY_INVALID": Rule(400),
    "QUERY_TOO_HARD": Rule(400),
}

STATUSES: dict[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 503,
}


def from_error(error: errors.Error, named: Mapping[str, Any]) -> Fault:
    """The fault a service's error becomes for a request whose path names these things."""
    rule = REASONS.get(error.reason, BY_STATUS)
    code = rule.code
    if code is None:
        code = STATUSES.get(error.status, 500)
    elif code == 404 and rule.named_by and not any(name in named for name in rule.named_by):
        code = 400
    if code == 500 and rule.code != 500:
        return Fault(500, UNEXPECTED)
    if code == 503:
        return Fault(503, "A service this request needs does not answer. Try again later.")
    message = rule.words(error.facts) if rule.words is not None and error.facts else error.message
    return Fault(code, message, reason=error.reason)
