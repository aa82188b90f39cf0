"""Who a host is: by what its guests are told from those of another cloud on the same hypervisor.

The cell gives each of its hosts an id, and drivers mark guests with it. The agent remembers in its journal every
id that a host was ever given, because guests keep the mark they were made with. Before the cell has spoken for the
first time guests are marked with the id of the node. An agent that has lost its journal does not know its own
guests until the cell has told who it is; so nothing is concluded from guests that it does not see, before that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.journal import Journal


class Identities:
    def __init__(self, hosts: Hosts, journal: Journal) -> None:
        self._hosts = hosts
        self._journal = journal
        self._told = {host.name: threading.Event() for host in hosts}
        for host in hosts:
            given = journal.marks(host.name)
            host.driver.identify((host.node_id, *given))
            if given:
                self._told[host.name].set()

    def take(self, hosts: Iterable[str], given: Mapping[str, str]) -> None:
        """What the cell has answered to a report of these hosts; an older cell gives none an id."""
        for name in hosts:
            if mark := given.get(name, ""):
                self._learn(self._hosts.get(name), mark)
            self._told[name].set()

    def is_told(self, host: str) -> bool:
        """Whether the cell has said who the host is, now or ever."""
        return self._told[host].is_set()

    def _learn(self, host: Host, mark: str) -> None:
        known = self._journal.marks(host.name)
        if known and known[-1] == mark:
            return
        self._journal.add_mark(host.name, mark)
        host.driver.identify((host.node_id, *self._journal.marks(host.name)))
