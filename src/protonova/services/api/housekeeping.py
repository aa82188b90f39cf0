"""Forgets what is no longer asked for: idempotency keys past their day."""

from __future__ import annotations

import logging
import threading

from sqlalchemy import Connection, select

from protonova.services.api import idempotency
from protonova.services.runtime import errors
from protonova.services.runtime.config import Conf
from protonova.services.runtime.database import Database

_log = logging.getLogger("protonova.api")
_PERIOD = 600.0


class Housekeeping:
    def __init__(self, conf: Conf, db: Database) -> None:
        self._conf = conf
        self._db = db
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def tidy(self) -> int:
        """How many keys were forgotten."""

        def forget(connection: Connection) -> int:
            now = connection.execute(select(self._db.now())).scalar_one()
            return idempotency.forget_expired(connection, now, self._conf.api.idempotency_key_seconds)

        return self._db.write(forget)

    def _run(self) -> None:
        while not self._stop.wait(_PERIOD):
            try:
                self.tidy()
            except errors.Unavailable as error:
                _log.warning("Housekeeping is put off: %s", error)
