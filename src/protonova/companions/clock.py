"""Time as the companions keep it (microseconds since the epoch) and as each API writes it."""

import time
from datetime import UTC, datetime


def now() -> int:
    return time.time_ns() // 1000


def precise(stamp: int) -> str:
    """2026-01-31T10:20:30.123456Z, the Identity form."""
    return datetime.fromtimestamp(stamp / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def zulu(stamp: int | None) -> str | None:
    """2026-01-31T10:20:30Z, the Image and Network form."""
    return None if stamp is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp // 1_000_000))


def naive(stamp: int | None) -> str | None:
    """2026-01-31T10:20:30.123456, the Volume form."""
    if stamp is None:
        return None
    return datetime.fromtimestamp(stamp / 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def parse(text: str) -> int:
    """Any ISO 8601 form; without an offset it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1_000_000)
