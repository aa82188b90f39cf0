"""What all the APIs do alike with a request and an answer: JSON in and out, request ids, limits of a body."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from flask import Response, g, request

from protonova.companions.fault import Fault, bad

LARGEST_DOCUMENT = 4 * 1024 * 1024
_REQUEST_ID = re.compile(r"^req-[0-9a-fA-F-]{36}$")


def new_id() -> str:
    return str(uuid.uuid4())


def mark() -> None:
    """Give the request its id, before anything else."""
    g.request_id = f"req-{uuid.uuid4()}"


def signed(response: Response) -> Response:
    request_id = getattr(g, "request_id", "") or f"req-{uuid.uuid4()}"
    response.headers["X-Openstack-Request-Id"] = request_id
    if request.path.startswith("/volume"):
        response.headers["X-Compute-Request-Id"] = request_id
    return response


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = Response(orjson.dumps(value), status, mimetype="application/json")
    if headers:
        response.headers.update(headers)
    return response


def empty(status: int = 204, headers: Mapping[str, str] | None = None) -> Response:
    return Response(b"", status, headers=dict(headers or {}))


def parsed() -> Any:
    """The request's JSON, whatever its shape."""
    if (request.content_length or 0) > LARGEST_DOCUMENT:
        raise Fault(413, f"A request document may have {LARGEST_DOCUMENT} bytes.")
    text = request.stream.read(LARGEST_DOCUMENT + 1)
    if len(text) > LARGEST_DOCUMENT:
        raise Fault(413, f"A request document may have {LARGEST_DOCUMENT} bytes.")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad(f"The request body is not valid JSON: {error}") from error


def document(key: str = "") -> dict[str, Any]:
    """The request's JSON object, or the object at `key` in it."""
    value = parsed()
    if not isinstance(value, dict):
        raise bad("The request body must be a JSON object.")
    if not key:
        return value
    inner = value.get(key)
    if not isinstance(inner, dict):
        raise bad(f"The request body must hold an object '{key}'.")
    return inner


def yes(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on", "t", "y", "")


def flag(name: str, text: str) -> bool:
    """A boolean of a query string."""
    if text.lower() in ("1", "true", "yes", "on", "t", "y"):
        return True
    if text.lower() in ("0", "false", "no", "off", "f", "n"):
        return False
    raise bad(f"'{name}' must be true or false, not '{text}'.")


def page_limit(most: int, default: int | None = None) -> int:
    text = request.args.get("limit")
    if text is None:
        return most if default is None else default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise bad(f"'limit' must be a whole number that is not negative, not '{text}'.")
    return min(int(text), most)
