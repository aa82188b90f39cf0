"""Network's form of a fault: a type that clients match on, a message, a detail."""

from flask import Response

from protonova.companions.fault import Fault
from protonova.companions.identity import fault as identity_fault
from protonova.companions.web import answer

_TYPES = {
    400: "HTTPBadRequest",
    403: "PolicyNotAuthorized",
    404: "HTTPNotFound",
    405: "HTTPMethodNotAllowed",
    409: "Conflict",
    413: "HTTPRequestEntityTooLarge",
    500: "HTTPInternalServerError",
    503: "HTTPServiceUnavailable",
}


def written(fault: Fault) -> Response:
    if fault.status == 401:
        return identity_fault.written(fault)
    kind = fault.kind or _TYPES.get(fault.status, "NeutronException")
    body = {"NeutronError": {"type": kind, "message": fault.message, "detail": ""}}
    return answer(body, fault.status, fault.headers)


def invalid(message: str) -> Fault:
    return Fault(400, f"Invalid input for operation: {message}", "InvalidInput")
