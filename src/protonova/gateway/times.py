"""Times as the APIs write and read them. Everything inside is UTC."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from protonova.gateway.faults import Fault


@lru_cache(maxsize=65536)
def _written(seconds: int) -> str:
    at = time.gmtime(seconds)
    return f"{at[0]:04}-{at[1]:02}-{at[2]:02}T{at[3]:02}:{at[4]:02}:{at[5]:02}"


def zulu(stamp: Any) -> str:
    """``2026-01-02T03:04:05Z``."""
    return _written(stamp.seconds) + "Z"


def micro(stamp: Any) -> str:
    """``2026-01-02T03:04:05.000000``: with microseconds, without a zone."""
    return f"{_written(stamp.seconds)}.{stamp.nanos // 1000:06}"


def field_zulu(message: Any, field: str) -> str | None:
    return zulu(getattr(message, field)) if message.HasField(field) else None


def field_micro(message: Any, field: str) -> str | None:
    return micro(getattr(message, field)) if message.HasField(field) else None


def read(text: str, parameter: str) -> Timestamp:
    """A time a client wrote; without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise Fault(400, f"query.{parameter}: '{text}' is not an ISO 8601 time.") from None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    stamp = Timestamp()
    try:
        stamp.FromDatetime(at.astimezone(UTC))
    except OverflowError:
        raise Fault(400, f"query.{parameter}: '{text}' is outside the calendar in UTC.") from None
    return stamp
