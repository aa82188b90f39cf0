"""Reads the bodies of requests: bounded, and JSON."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import orjson

from protonova.gateway.faults import Fault

MOST = 114688
_DRAINED = 16 << 20


def read_json(environ: dict[str, Any], kinds: Collection[str], most: int = MOST) -> Any:
    """The JSON body of a request that must have one, of at most so many bytes; ``kinds`` are the content types
    that mean JSON."""
    raw = _read(environ, most)
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if raw and kind not in kinds:
        raise Fault(415, f"Content type {kind} is not served; send application/json.")
    if not raw:
        raise Fault(400, "The request needs a JSON body.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Fault(400, f"The body is not JSON: {error}.") from None


def _read(environ: dict[str, Any], most: int) -> bytes:
    length = announced(environ, most)
    if length is None and "HTTP_TRANSFER_ENCODING" not in environ:
        return b""
    raw: bytes = environ["wsgi.input"].read(most + 1 if length is None else length)
    if len(raw) > most:
        raise Fault(413, f"The body is larger than {most} bytes.")
    return raw


def announced(environ: dict[str, Any], most: int = MOST) -> int | None:
    """The length a request announces; one that is too large is refused before anything is kept of it."""
    length = environ.get("CONTENT_LENGTH")
    if not length:
        return None
    if not (length.isascii() and length.isdigit()):
        raise Fault(400, "Content-Length is not a number.")
    if int(length) > most:
        _drain(environ, int(length))
        raise Fault(413, f"The body is larger than {most} bytes.")
    return int(length)


def _drain(environ: dict[str, Any], length: int) -> None:
    """Lets a client finish sending: one that is cut off in the middle never reads the answer. What is absurdly
    large is cut off all the same."""
    left = length if length <= _DRAINED else 0
    while left > 0 and (piece := environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(piece)
