"""Options that are lists of names with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable

from protonova.services.runtime import errors


def ratios(items: Iterable[str], option: str) -> dict[str, float]:
    """`["cpu.percent=-1.0", …]` by name. Raises OPTION_INVALID."""
    found: dict[str, float] = {}
    for item in items:
        name, _, text = item.rpartition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not name.strip() or not math.isfinite(number):
            raise errors.InvalidArgument(
                f"{option}: '{item}' is not of the form name=number.", reason="OPTION_INVALID", option=option
            )
        found[name.strip()] = number
    return found
