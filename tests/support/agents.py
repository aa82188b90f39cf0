"""Compute agents of our own: real gRPC servers with guests in memory, that can be told to misbehave."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from protonova.common.v1.server_pb2 import PowerState
from protonova.compute.v1 import (
    guest_image_pb2,
    guest_image_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
)
from protonova.compute.v1 import guest_pb2 as pb
from protonova.services.runtime import errors
from tests.support.agent_states import GuestStates
from tests.support.images import FakeImages


@dataclass
class Gate:
    """Holds calls back until it is opened; tells when one has come."""

    reached: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def hold(self, active: Callable[[], bool]) -> None:
        self.reached.set()
        while not self.open.wait(0.02):
            if not active():
                raise errors.Cancelled("The caller has gone.")


class Guests(GuestStates):
    """Guests by (host, server id). `refuse` makes calls fail; `gates` holds them before they act."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.guests: dict[tuple[str, str], pb.Guest] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.fences: list[pb.Fence] = []
        self.spawned: list[pb.SpawnGuestRequest] = []
        self.gates: dict[str, Gate] = {}
        self._errors: dict[tuple[str, str], list[errors.Error]] = defaultdict(list)
        self._always: dict[tuple[str, str], errors.Error] = {}
        self._generations: dict[str, int] = {}
        self._sequences: dict[str, int] = {}

    # ---- what a test tells it

    def fail(self, method: str, error: errors.Error, host: str = "*", times: int = 1) -> None:
        self._errors[method, host].extend([error] * times)

    def always_fail(self, method: str, error: errors.Error, host: str = "*") -> None:
        self._always[method, host] = error

    def gate(self, method: str) -> Gate:
        return self.gates.setdefault(method, Gate())

    def where(self, server_id: str) -> list[str]:
        return [host for host, known in self.guests if known == server_id]

    # ---- what a conductor calls

    def SpawnGuest(self, request, context):
        self.enter("SpawnGuest", request.host, request.server.id, request.fence, context)
        self.spawned.append(request)
        yield pb.SpawnGuestResponse(progress=10, stage="fetching image")
        guest = pb.Guest(
            server_id=request.server.id,
            power_state=PowerState.POWER_STATE_RUNNING,
            instance_name=request.server.instance_name,
            root_device_name="/dev/vda",
        )
        if request.server.HasField("numa_topology"):
            guest.numa_topology.CopyFrom(request.server.numa_topology)
            guest.numa_topology.fitted = True
        with self.lock:
            self.be_the_newest(request.server.id, request.fence)
            guest = self.guests.setdefault((request.host, request.server.id), guest)
        yield pb.SpawnGuestResponse(progress=100, guest=guest)

    def DestroyGuest(self, request, context):
        self.enter("DestroyGuest", request.host, request.server_id, request.fence, context)
        with self.lock:
            self.guests.pop((request.host, request.server_id), None)
        return pb.DestroyGuestResponse()

    def StartGuest(self, request, context):
        self.enter("StartGuest", request.host, request.server_id, request.fence, context)
        return pb.StartGuestResponse(guest=self._power(request, PowerState.POWER_STATE_RUNNING))

    def StopGuest(self, request, context):
        self.enter("StopGuest", request.host, request.server_id, request.fence, context)
        guest = self._there(request.host, request.server_id)
        if request.only_in and guest.power_state not in request.only_in:
            return pb.StopGuestResponse(guest=guest)
        return pb.StopGuestResponse(guest=self._power(request, PowerState.POWER_STATE_SHUTDOWN))

    def RebootGuest(self, request, context):
        self.enter("RebootGuest", request.host, request.server_id, request.fence, context)
        return pb.RebootGuestResponse(guest=self._power(request, PowerState.POWER_STATE_RUNNING))

    def GetGuestConsoleOutput(self, request, context):
        self.enter("GetGuestConsoleOutput", request.host, request.server_id, None, context)
        self._there(request.host, request.server_id)
        lines = ["one", "two", "three"]
        kept = lines[-request.length :] if request.HasField("length") else lines
        return pb.GetGuestConsoleOutputResponse(output=("\n".join(kept) + "\n").encode())

    def ListGuests(self, request, context):
        return pb.ListGuestsResponse(
            guests=[g for (host, _), g in self.guests.items() if host == request.host]
        )

    # ---- inside

    def _power(self, request, state):
        with self.lock:
            guest = self._there(request.host, request.server_id)
            guest.power_state = state
            return guest

    def _there(self, host, server_id):
        if (host, server_id) not in self.guests:
            raise errors.NotFound("There is no such guest.", reason="GUEST_NOT_FOUND")
        return self.guests[host, server_id]

    def enter(self, method, host, server_id, fence, context):
        self.calls.append((method, host, server_id))
        if fence is not None:
            self._admit(server_id, fence)
        if method in self.gates:
            self.gates[method].hold(context.is_active)
        self.refuse(method, host)

    def be_the_newest(self, server_id, fence):
        """A long call has no effect any more once a newer operation was here. To be asked under the lock."""
        if fence.sequence < self._sequences.get(server_id, 0):
            raise errors.FailedPrecondition("A newer holder was here.", reason="FENCED")

    def refuse(self, method, host="*"):
        """Raises what a test wants raised."""
        for key in ((method, host), (method, "*")):
            if self._errors[key]:
                raise self._errors[key].pop(0)
            if key in self._always:
                raise self._always[key]

    def _admit(self, server_id, fence):
        assert fence.operation_id
        assert fence.step
        with self.lock:
            self.fences.append(fence)
            newest = self._generations.get(fence.operation_id, 0)
            sequence = self._sequences.get(server_id, 0)
            if fence.generation < newest or fence.sequence < sequence:
                raise errors.FailedPrecondition("A newer holder was here.", reason="FENCED")
            self._generations[fence.operation_id] = fence.generation
            self._sequences[server_id] = fence.sequence


class GuestImages(guest_image_pb2_grpc.GuestImageServiceServicer):
    """Copies of the disks of an agent's guests, and their way to an image service."""

    def __init__(self, guests: Guests, images: FakeImages) -> None:
        self.copies: set[tuple[str, str, str]] = set()
        self._guests = guests
        self._images = images

    def SnapshotGuest(self, request, context):
        self._enter("SnapshotGuest", request, context)
        yield guest_image_pb2.SnapshotGuestResponse(progress=10)
        with self._guests.lock:
            self._guests.be_the_newest(request.server_id, request.fence)
            self.copies.add((request.host, request.server_id, request.image_id))
        yield guest_image_pb2.SnapshotGuestResponse(progress=100)

    def UploadSnapshot(self, request, context):
        self._enter("UploadSnapshot", request, context)
        copy = (request.host, request.server_id, request.image_id)
        if self._images.get(request.image_id).status != "active":
            assert copy in self.copies
            self._images.upload(request.image_id, b"a root disk")
        self.copies.discard(copy)
        yield guest_image_pb2.UploadSnapshotResponse(progress=100)

    def DropSnapshot(self, request, context):
        self._enter("DropSnapshot", request, context)
        self.copies.discard((request.host, request.server_id, request.image_id))
        return guest_image_pb2.DropSnapshotResponse()

    def _enter(self, method, request, context):
        self._guests.enter(method, request.host, request.server_id, request.fence, context)


class Images(image_pb2_grpc.ImageServiceServicer):
    """Images by (host, image id), in the order they were fetched. Calls for hosts in `refuses` fail."""

    def __init__(self) -> None:
        self.fetched: list[tuple[str, str]] = []
        self.refuses: set[str] = set()
        self.gate: Gate | None = None
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def PrefetchImage(self, request, context):
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.at_once, self.most_at_once)
        try:
            if self.gate is not None:
                self.gate.hold(context.is_active)
            if request.host in self.refuses:
                raise errors.FailedPrecondition("Not this image.", reason="IMAGE_UNACCEPTABLE")
            key = (request.host, request.image.id)
            before = key in self.fetched
            if not before:
                self.fetched.append(key)
            return image_pb2.PrefetchImageResponse(cached_before=before)
        finally:
            with self._lock:
                self.at_once -= 1
