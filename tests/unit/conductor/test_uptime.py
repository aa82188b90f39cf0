"""How the uptime of a host is written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from protonova.services.conductor.hosts import uptime

NOW = datetime(2026, 3, 1, 8, 32, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    ("ran", "text"),
    [
        (timedelta(days=93, hours=18, minutes=25), "93 days, 18:25"),
        (timedelta(days=1, hours=2, minutes=5, seconds=59), "1 day,  2:05"),
        (timedelta(days=2, minutes=7), "2 days, 7 min"),
        (timedelta(hours=18, minutes=25), "18:25"),
        (timedelta(seconds=59), "0 min"),
        (timedelta(hours=-1), "0 min"),
    ],
)
def test_written(ran, text):
    assert uptime.written(NOW - ran, NOW) == f" 08:32:11 up {text}"
