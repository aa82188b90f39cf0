"""The last whole period before a time."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from protonova.services.runtime import config
from protonova.services.runtime.audit_period import last_whole


@pytest.mark.parametrize(
    ("setting", "before", "begin", "end"),
    [
        ("hour", "2026-03-01T12:34:56", "2026-03-01T11:00:00", "2026-03-01T12:00:00"),
        ("hour@15", "2026-03-01T12:10:00", "2026-03-01T10:15:00", "2026-03-01T11:15:00"),
        ("hour@15", "2026-03-01T00:20:00", "2026-02-28T23:15:00", "2026-03-01T00:15:00"),
        ("day", "2026-03-01T12:34:56", "2026-02-28T00:00:00", "2026-03-01T00:00:00"),
        ("day@6", "2026-03-01T05:59:59", "2026-02-27T06:00:00", "2026-02-28T06:00:00"),
        ("month", "2026-03-01T00:00:01", "2026-02-01T00:00:00", "2026-03-01T00:00:00"),
        ("month@10", "2026-01-09T00:00:00", "2025-11-10T00:00:00", "2025-12-10T00:00:00"),
        ("month@28", "2024-03-27T00:00:00", "2024-01-28T00:00:00", "2024-02-28T00:00:00"),
        ("year", "2026-03-01T00:00:00", "2025-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("year@7", "2026-06-30T23:59:59", "2024-07-01T00:00:00", "2025-07-01T00:00:00"),
    ],
)
def test_the_last_whole_period(setting, before, begin, end):
    def at(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert last_whole(setting, at(before)) == (at(begin), at(end))


def test_other_zones_are_reckoned_in_utc():
    before = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert last_whole("day", before)[1] == datetime(2026, 2, 28, tzinfo=UTC)


@pytest.mark.parametrize(
    ("setting", "good"),
    [
        ("hour", True), ("hour@59", True), ("day@23", True), ("month@28", True), ("year@12", True),
        ("hour@60", False), ("day@24", False), ("month@29", False), ("month@0", False), ("year@13", False),
        ("week", False), ("an hour", False), ("month@", False), ("", False),
    ],
)  # fmt: skip
def test_what_can_be_configured(setting, good):
    if good:
        assert (
            config.load(files=[], instance_usage_audit_period=setting).instance_usage_audit_period == setting
        )
    else:
        with pytest.raises(ValueError, match="doesn't match"):
            config.load(files=[], instance_usage_audit_period=setting)
