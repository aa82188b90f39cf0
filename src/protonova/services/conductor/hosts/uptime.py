"""For how long a host has been running, as the command `uptime` writes it and readers know it.

It is for people: the host's clock and ours are taken for the same, and nothing is decided by it.
"""

from __future__ import annotations

from datetime import datetime, timedelta


def written(since: datetime, now: datetime) -> str:
    """` 08:32:11 up 93 days, 18:25`, the time in UTC."""
    ran = max(now - since, timedelta())
    hours, minutes = divmod(ran.seconds // 60, 60)
    days = f"{ran.days} day{'' if ran.days == 1 else 's'}, " if ran.days else ""
    rest = f"{hours:2d}:{minutes:02d}" if hours else f"{minutes} min"
    return f" {now:%H:%M:%S} up {days}{rest}"
