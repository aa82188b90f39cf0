"""Sets of CPUs as operators write them: "0-3,^1,8"."""

from __future__ import annotations

import re
from collections.abc import Iterable

# More than any machine has; what is written down is not to decide how much memory is taken.
MOST = 8192
_PART = re.compile(r"(\^?)\s*(\d+)\s*(?:-\s*(\d+))?")


def parse(text: str, everything: Iterable[int] = ()) -> set[int]:
    """The CPUs a text names; `^` leaves out. One that begins with `^` leaves out of `everything`.

    Raises ValueError for what is no such text.
    """
    text = text.strip()
    chosen: set[int] = set(everything) if text.startswith("^") else set()
    excluded: set[int] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"'{part}' names no CPUs")
        first, last = (int(number[:9]) for number in (match[2], match[3] or match[2]))
        if first > last:
            raise ValueError(f"'{part}' ends before it begins")
        if last >= MOST:
            raise ValueError(f"'{part}' goes beyond CPU {MOST - 1}")
        (excluded if match[1] else chosen).update(range(first, last + 1))
    return chosen - excluded


def spell(cpus: Iterable[int]) -> str:
    """The shortest text for a set: "0-3,8"."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
