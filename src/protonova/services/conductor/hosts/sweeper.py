"""Tells watchers of hosts that fell silent.

It acts on a host if and only if the host is reported to be up and its heartbeat is older than `service_down_time`
by the database's clock; at most a few hundred a transaction. Any number of replicas may sweep at once.
"""

from __future__ import annotations

import logging
import threading
from functools import partial

from protonova.services.conductor.hosts.store import Hosts
from protonova.services.runtime import errors

_log = logging.getLogger("protonova.conductor.hosts")


class Sweeper:
    def __init__(self, hosts: Hosts, interval: float) -> None:
        self._hosts = hosts
        self._interval = interval
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="host-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def sweep(self) -> list[str]:
        """Returns the node ids of the hosts that are down since now."""
        fallen: list[str] = []
        while silent := self._hosts.db.read(self._hosts.silent):
            marked = self._hosts.db.write(partial(self._hosts.mark_down, node_ids=silent))
            fallen.extend(marked)
            if not marked:
                break
        if fallen:
            _log.warning("%d hosts are down: %s", len(fallen), ", ".join(fallen[:20]))
        return fallen

    def _run(self) -> None:
        while not self._stopping.wait(self._interval):
            try:
                self.sweep()
            except errors.Error as error:
                _log.warning("Silent hosts could not be looked for: %s", error)
