"""An agent in this process, called as a conductor calls it, with the cell and the placement it talks to."""

from __future__ import annotations

import queue

from protonova.common.v1 import server_pb2
from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.placement.v1 import resource_provider_pb2 as provider_pb2
from protonova.placement.v1 import resource_provider_pb2_grpc as provider_grpc
from protonova.services.compute import main as agent
from protonova.services.runtime import channel, config, errors
from protonova.services.runtime.server import Server

SERVER = "7e0b6f8e-7d0e-4d3a-a3f5-5a3c0b5d9f10"


class Cell(host_pb2_grpc.HostServiceServicer):
    """A cell that writes down what agents tell it, and knows the servers it is told to know."""

    def __init__(self):
        self.reports = queue.Queue()
        self.guests = queue.Queue()
        self.hosts = set()
        self.servers = set()
        self.unsettled = set()
        self.identities = {}

    def ReportHosts(self, request, context):
        self.hosts.update(report.host for report in request.hosts)
        self.reports.put(request)
        return host_pb2.ReportHostsResponse(
            unknown_hosts=[name for name in request.unchanged_hosts if name not in self.hosts],
            identities=self.identities,
        )

    def ReportGuests(self, request, context):
        self.guests.put(request)
        told = {guest.server_id for guest in request.guests}
        return host_pb2.ReportGuestsResponse(
            unknown_server_ids=sorted(told - self.servers), unsettled_server_ids=sorted(told & self.unsettled)
        )


class Providers(provider_grpc.ResourceProviderServiceServicer):
    """Placement's providers, as far as an agent uses them, with generations that are checked."""

    def __init__(self):
        self.generations, self.inventories, self.traits = {}, {}, {}

    def GetResourceProvider(self, request, context):
        if request.id not in self.generations:
            raise errors.NotFound(reason="PROVIDER_NOT_FOUND")
        provider = provider_pb2.ResourceProvider(id=request.id, generation=self.generations[request.id])
        return provider_pb2.GetResourceProviderResponse(provider=provider)

    def CreateResourceProvider(self, request, context):
        self.generations[request.id] = 0
        return provider_pb2.CreateResourceProviderResponse(provider={"id": request.id, "generation": 0})

    def UpdateInventories(self, request, context):
        self._raise(request)
        self.inventories[request.id] = dict(request.inventories)
        return provider_pb2.UpdateInventoriesResponse(generation=self.generations[request.id])

    def ReplaceProviderTraits(self, request, context):
        self._raise(request)
        self.traits[request.id] = set(request.traits)
        return provider_pb2.ReplaceProviderTraitsResponse(generation=self.generations[request.id])

    def _raise(self, request):
        if request.generation != self.generations[request.id]:
            raise errors.Aborted(reason="CONCURRENT_UPDATE")
        self.generations[request.id] += 1


class Agent:
    """An agent in this process, with the cell and the placement it talks to."""

    def __init__(self, state, identities=(), **options):
        """`identities`: by host the id that the cell gives it."""
        base = config.load([], files=[])
        self.cell, self.providers = Cell(), Providers()
        self.cell.identities.update(identities)
        self.edge = Server(base, "edge", "127.0.0.1:0")
        self.edge.add(host_pb2_grpc.add_HostServiceServicer_to_server, self.cell)
        self.edge.add(provider_grpc.add_ResourceProviderServiceServicer_to_server, self.providers)
        target = f"127.0.0.1:{self.edge.start()}"
        self.conf = config.load(
            [],
            files=[],
            state_path=str(state),
            conductor__target=target,
            placement__target=target,
            compute={"driver": "fake", "hosts": ["one", "two"], "orphan_confirm_seconds": 0.1, **options},
        )
        self.start()

    def start(self):
        self.server = Server(self.conf, "compute", "127.0.0.1:0")
        agent.build(self.conf, self.server)
        port = self.server.start()
        self.channel = channel.connect(self.conf, f"127.0.0.1:{port}")
        self.guests = guest_pb2_grpc.GuestServiceStub(self.channel)

    def stop(self):
        self.channel.close()
        self.server.stop(0)

    def close(self):
        self.stop()
        self.edge.stop(0)

    def spawn(self, operation="create", generation=1, sequence=1, server_id=SERVER, host="one"):
        server = server_pb2.Server(id=server_id, name="web", instance_name="instance-00000001")
        server.flavor.vcpus, server.flavor.memory_mb = 1, 64
        request = guest_pb2.SpawnGuestRequest(
            host=host, server=server, fence=fence(operation, "spawning", generation, sequence)
        )
        return list(self.guests.SpawnGuest(request))[-1].guest

    def ids(self, host="one"):
        return {
            guest.server_id for guest in self.guests.ListGuests(guest_pb2.ListGuestsRequest(host=host)).guests
        }


def fence(operation, step, generation=1, sequence=0):
    return guest_pb2.Fence(operation_id=operation, step=step, generation=generation, sequence=sequence)
