"""The periods over which usage is audited: whole hours, days, months or years, from an offset on, in UTC.

`hour@15` begins at a quarter past, `day@6` at six o'clock, `month@10` on the tenth, `year@7` with July.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

FORM = (
    r"^(hour(@[0-5]?[0-9])?|day(@(1?[0-9]|2[0-3]))?|month(@([1-9]|1[0-9]|2[0-8]))?|year(@([1-9]|1[0-2]))?)$"
)


def last_whole(setting: str, before: datetime) -> tuple[datetime, datetime]:
    """Beginning and end of the last period that was over at a time."""
    unit, _, given = setting.partition("@")
    begin_of, step_back = _UNITS[unit]
    end = begin_of(before.astimezone(UTC).replace(second=0, microsecond=0), int(given) if given else None)
    if end > before:
        end = step_back(end)
    return step_back(end), end


def _hour(at: datetime, minute: int | None) -> datetime:
    return at.replace(minute=minute or 0)


def _day(at: datetime, hour: int | None) -> datetime:
    return at.replace(hour=hour or 0, minute=0)


def _month(at: datetime, day: int | None) -> datetime:
    return at.replace(day=day or 1, hour=0, minute=0)


def _year(at: datetime, month: int | None) -> datetime:
    return at.replace(month=month or 1, day=1, hour=0, minute=0)


def _month_before(at: datetime) -> datetime:
    """No offset is beyond the 28th, so every month has the day."""
    return (at.replace(day=1) - timedelta(days=1)).replace(day=at.day)


_UNITS: dict[str, tuple[Callable[[datetime, int | None], datetime], Callable[[datetime], datetime]]] = {
    "hour": (_hour, lambda at: at - timedelta(hours=1)),
    "day": (_day, lambda at: at - timedelta(days=1)),
    "month": (_month, _month_before),
    "year": (_year, lambda at: at.replace(year=at.year - 1)),
}
