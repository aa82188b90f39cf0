"""Channels to compute agents: one for each address an agent has told, kept while the process lives."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import grpc
from oslo_config import cfg

from protonova.compute.v1.console_pb2_grpc import ConsoleServiceStub
from protonova.compute.v1.guest_device_pb2_grpc import GuestDeviceServiceStub
from protonova.compute.v1.guest_image_pb2_grpc import GuestImageServiceStub
from protonova.compute.v1.guest_move_pb2_grpc import GuestMoveServiceStub
from protonova.compute.v1.guest_pb2_grpc import GuestServiceStub
from protonova.compute.v1.image_pb2_grpc import ImageServiceStub
from protonova.services.runtime.channel import connect

# Beyond this many, the ones unused for longest are closed.
_MOST = 4096


@dataclass(frozen=True)
class _Agent:
    channel: grpc.Channel
    guests: GuestServiceStub
    images: ImageServiceStub
    devices: GuestDeviceServiceStub
    consoles: ConsoleServiceStub
    guest_images: GuestImageServiceStub
    moves: GuestMoveServiceStub


class Agents:
    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._known: dict[str, _Agent] = {}

    def guests(self, target: str) -> GuestServiceStub:
        """The guest service of the agent at an address."""
        return self._at(target).guests

    def images(self, target: str) -> ImageServiceStub:
        """The image service of the agent at an address."""
        return self._at(target).images

    def devices(self, target: str) -> GuestDeviceServiceStub:
        """The service for devices of guests of the agent at an address."""
        return self._at(target).devices

    def consoles(self, target: str) -> ConsoleServiceStub:
        """The service for consoles of guests of the agent at an address."""
        return self._at(target).consoles

    def guest_images(self, target: str) -> GuestImageServiceStub:
        """The service for copies of guests' disks of the agent at an address."""
        return self._at(target).guest_images

    def moves(self, target: str) -> GuestMoveServiceStub:
        """The service for guests that go from host to host, of the agent at an address."""
        return self._at(target).moves

    def _at(self, target: str) -> _Agent:
        with self._lock:
            known = self._known.pop(target, None)
            if known is None:
                # Steps have a patience of their own: a call fails at once when nobody is there.
                channel = connect(self._conf, target, wait_seconds=0)
                known = _Agent(
                    channel,
                    GuestServiceStub(channel),
                    ImageServiceStub(channel),
                    GuestDeviceServiceStub(channel),
                    ConsoleServiceStub(channel),
                    GuestImageServiceStub(channel),
                    GuestMoveServiceStub(channel),
                )
            # The newest stand last.
            self._known[target] = known
            surplus = [self._known.pop(next(iter(self._known))) for _ in range(len(self._known) - _MOST)]
        for agent in surplus:
            agent.channel.close()
        return known

    def close(self) -> None:
        with self._lock:
            channels = [agent.channel for agent in self._known.values()]
            self._known.clear()
        for channel in channels:
            channel.close()
