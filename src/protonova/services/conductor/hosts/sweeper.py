"""Tells watchers of hosts that fell silent.

It acts on a host if and only if the host is reported to be up and its heartbeat is older than `service_down_time`
by the database's clock; at most a few hundred a transaction. Any number of replicas may sweep at once.
"""

from __future__ import annotations

import logging
from functools import partial

from protonova.services.conductor.hosts.store import Hosts

_log = logging.getLogger("protonova.conductor.hosts")


def sweep(hosts: Hosts) -> list[str]:
    """Returns the node ids of the hosts that are down since now."""
    fallen: list[str] = []
    while silent := hosts.db.read(hosts.silent):
        marked = hosts.db.write(partial(hosts.mark_down, node_ids=silent))
        fallen.extend(marked)
        if not marked:
            break
    if fallen:
        _log.warning("%d hosts are down: %s", len(fallen), ", ".join(fallen[:20]))
    return fallen
