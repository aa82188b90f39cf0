"""Identity's form of a fault."""

from flask import Response

from protonova.companions.fault import Fault
from protonova.companions.web import answer

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Request Entity Too Large",
    500: "Internal Server Error",
}


def written(fault: Fault) -> Response:
    title = _TITLES.get(fault.status, "Error")
    body = {"error": {"code": fault.status, "message": fault.message, "title": title}}
    return answer(body, fault.status, fault.headers)


def unauthorized(
    message: str = "The credentials or the token given are not valid, or they have expired.",
) -> Fault:
    return Fault(401, message)
