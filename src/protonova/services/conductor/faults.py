"""What users are told of a failure: the fault of a server, and which failures another host may not share."""

from __future__ import annotations

from protonova.common.v1.server_pb2 import Server
from protonova.services.runtime import errors

_CODES: list[tuple[type[errors.Error], int]] = [
    (errors.QuotaExceeded, 403),
    (errors.NotFound, 404),
]
_OURS = 500

# Reasons that speak of one host (or of the way to it), not of the request.
_OF_THE_HOST = frozenset(
    {
        "HOST_REFUSES",
        "HOST_NOT_READY",
        "HOST_NOT_SERVED",
        "HYPERVISOR_UNAVAILABLE",
        "SERVICE_UNREACHABLE",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
        "STEP_DEADLINE_EXCEEDED",
        "IMAGE_UNAVAILABLE",
        "PORT_BINDING_FAILED",
        "CAPACITY_EXCEEDED",
        "PROVIDER_NOT_FOUND",
        "GROUP_POLICY_VIOLATED",
        "INTERNAL",
        "UNKNOWN",
    }
)


def another_host_may_do(error: errors.Error) -> bool:
    return error.reason in _OF_THE_HOST


def set_fault(server: Server, error: errors.Error, message: str = "") -> None:
    """Puts the newest fault on a server that is being changed (its `updated_at` is now)."""
    fault = server.fault
    fault.code = next((code for kind, code in _CODES if isinstance(error, kind)), _OURS)
    fault.message = (message or str(error))[:255]
    facts = ", ".join(f"{name}={value}" for name, value in sorted(error.facts.items()))
    fault.details = f"{error.reason}: {error.message}" + (f" ({facts})" if facts else "")
    fault.created_at.CopyFrom(server.updated_at)
