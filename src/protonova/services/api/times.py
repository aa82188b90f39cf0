"""Times between the database (microseconds since the epoch) and the contracts (`Timestamp`)."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

SECOND = 1_000_000


def stamp(microseconds: int) -> Timestamp:
    return Timestamp(seconds=microseconds // SECOND, nanos=microseconds % SECOND * 1000)


def micros(timestamp: Timestamp) -> int:
    return timestamp.seconds * SECOND + timestamp.nanos // 1000
