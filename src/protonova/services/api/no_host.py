"""The fault of a server for which no host was found.

Its message says how many hosts each stage of the decision left; its details, which only administrators are shown,
say it of the hosts that came nearest too.
"""

from __future__ import annotations

from protonova.common.v1.server_pb2 import Fault
from protonova.scheduler.v1.scheduler_pb2 import HostVerdict, Selection

CODE = 500
LONGEST = 255
# Clients look for these words.
_MESSAGE = "No valid host was found. There are not enough hosts available."


def fault(selection: Selection) -> Fault:
    """Of a selection without a destination."""
    explanation = selection.explanation
    return Fault(
        code=CODE,
        message=shortened(f"{_MESSAGE} {explanation.words}".strip()),
        details="\n".join([selection.failure, *map(_line, explanation.verdicts)]),
    )


def shortened(message: str) -> str:
    """As long as users' faults may be."""
    return message if len(message) <= LONGEST else f"{message[: LONGEST - 1].rstrip()}…"


def _line(verdict: HostVerdict) -> str:
    told = f"{verdict.stage}: {verdict.reason}" if verdict.stage else "passes now"
    return f"{verdict.host}: {told}"
