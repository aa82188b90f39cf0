"""Volume's and Share's form of a fault: an element named after the status."""

from flask import Response

from protonova.companions.fault import Fault
from protonova.companions.identity import fault as identity_fault
from protonova.companions.web import answer

_ELEMENTS = {
    400: "badRequest",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    406: "notAcceptable",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    503: "serviceUnavailable",
}


def written(fault: Fault) -> Response:
    if fault.status == 401:
        return identity_fault.written(fault)
    element = _ELEMENTS.get(fault.status, "computeFault")
    return answer({element: {"code": fault.status, "message": fault.message}}, fault.status, fault.headers)
