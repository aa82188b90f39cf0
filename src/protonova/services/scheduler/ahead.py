"""Servers with PCI devices that were claimed for on a host, and of which the host has yet to tell.

A host names the servers that hold devices. Until it names one, or for so long as a build may take to come to its
agent, the server counts as if it held what it asks for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from protonova.services.scheduler.devices import Wanted

# Long enough for ports and volumes to be made ready; a build that failed before does not hinder others for longer.
_SECONDS = 10.0


class DeviceClaims:
    """Of all hosts, by node id and server id. Its user sees to it that it is used by one thread at a time."""

    def __init__(self) -> None:
        self._nodes: dict[str, dict[str, tuple[float, Wanted]]] = {}

    def put(self, node_id: str, server_id: str, wanted: Wanted) -> None:
        self._nodes.setdefault(node_id, {})[server_id] = (time.monotonic() + _SECONDS, wanted)

    def heard(self, node_id: str, server_ids: Iterable[str]) -> None:
        """These hold their devices now, or never will."""
        claims = self._nodes.get(node_id)
        if claims:
            for server_id in server_ids:
                claims.pop(server_id, None)
            if not claims:
                del self._nodes[node_id]

    def forget(self, node_id: str) -> None:
        self._nodes.pop(node_id, None)

    def expire(self) -> list[str]:
        """The nodes where some have waited long enough."""
        now = time.monotonic()
        late = [
            (node_id, server_id)
            for node_id, claims in self._nodes.items()
            for server_id, (until, _) in claims.items()
            if until < now
        ]
        for node_id, server_id in late:
            self.heard(node_id, [server_id])
        return sorted({node_id for node_id, _ in late})

    def devices(self, node_id: str) -> int:
        """How many devices they want together."""
        return sum(wanted.devices for _, wanted in self._nodes.get(node_id, {}).values())

    def by_node(self) -> dict[str, tuple[Wanted, ...]]:
        return {
            node_id: tuple(wanted for _, wanted in claims.values()) for node_id, claims in self._nodes.items()
        }
