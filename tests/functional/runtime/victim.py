"""A replica that kills itself with SIGKILL around one of its transactions.

python -m tests.functional.runtime.victim URL DIRECTORY SUBJECT N before|after
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.engine import Connection

from protonova.services.runtime.database import Database
from tests.support.journeys import Journeys

T = TypeVar("T")


class Fatal(Database):
    """The process ends at the n-th transaction of its workers."""

    dies_at = 0
    moment = "before"
    writes = 0

    def write(self, fn: Callable[[Connection], T], **options: Any) -> T:
        if not threading.current_thread().name.startswith("operations-"):
            return super().write(fn, **options)
        mine = self.writes == self.dies_at
        self.writes += 1
        if mine and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = super().write(fn, **options)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result


def main(url: str, directory: str, subject: str, dies_at: str, moment: str) -> None:
    journeys = Journeys(url, Path(directory))
    db = Fatal(url)
    db.dies_at, db.moment = int(dies_at), moment
    engine = journeys.engine(db)
    engine.start()
    operation_id = journeys.begin(engine, subject)
    engine.wait(operation_id, 20)


if __name__ == "__main__":
    main(*sys.argv[1:])
