"""Channels to compute agents: one for each address an agent has told, kept while the process lives."""

from __future__ import annotations

import threading

import grpc
from oslo_config import cfg

from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.services.runtime.channel import connect

# Beyond this many, the ones unused for longest are closed.
_MOST = 4096


class Agents:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._known: dict[str, tuple[grpc.Channel, GuestServiceStub]] = {}

    def guests(self, target: str) -> GuestServiceStub:
        """The guest service of the agent at an address."""
        with self._lock:
            known = self._known.pop(target, None)
            if known is None:
                # Steps have a patience of their own: a call fails at once when nobody is there.
                channel = connect(self._conf, target, wait_seconds=0)
                known = channel, GuestServiceStub(channel)
            # The newest stand last.
            self._known[target] = known
            surplus = [self._known.pop(next(iter(self._known))) for _ in range(len(self._known) - _MOST)]
        for channel, _ in surplus:
            channel.close()
        return known[1]

    def close(self) -> None:
        with self._lock:
            channels = [channel for channel, _ in self._known.values()]
            self._known.clear()
        for channel in channels:
            channel.close()
