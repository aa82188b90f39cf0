"""Times: the database keeps microseconds since the epoch (0 = never), messages carry Timestamps."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp


def to_timestamp(micros: int) -> Timestamp | None:
    """None for "never", so that the field of a message stays absent."""
    if not micros:
        return None
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def to_micros(stamp: Timestamp) -> int:
    """0 for an absent one."""
    return stamp.seconds * 1_000_000 + stamp.nanos // 1000


def set_time(stamp: Timestamp, micros: int) -> None:
    """Sets a Timestamp field of a message in place."""
    stamp.seconds = micros // 1_000_000
    stamp.nanos = micros % 1_000_000 * 1000
