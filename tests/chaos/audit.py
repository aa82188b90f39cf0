"""What must be true once the killing has stopped: compares every owner's facts with what users were promised."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import grpc

from benchmarks.client import Client, wait_for
from benchmarks.cloud import Cloud
from protonova.api.v1 import server_group_pb2, server_group_pb2_grpc
from protonova.common.v1 import server_group_pb2 as server_group_common
from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from tests.chaos.workload import VOLUMES, Ledger

SETTLE_SECONDS = 60.0
# What a move is in the end.
ENDED = ("confirmed", "reverted", "completed", "cancelled", "failed", "error")
# How a process is called: with certificates, where the cloud wants them.
Connect = Callable[[str], grpc.Channel]


class Audit:
    """Reads servers, allocations, ports and guests through public doors only."""

    def __init__(self, cloud: Cloud, client: Client, connect: Connect = grpc.insecure_channel) -> None:
        self._cloud = cloud
        self._client = client
        self._connect = connect

    def settle(self, ledger: Ledger) -> None:
        """Waits until every server is as promised, nothing is in transition, and nothing is left of the rest."""
        last: list[str] = []

        def agreed() -> bool:
            last[:] = self.differences(ledger)
            return not last

        try:
            wait_for(agreed, seconds=SETTLE_SECONDS, every=1.0, what="the cloud to settle")
        except TimeoutError as error:
            raise AssertionError("not settled:\n" + "\n".join(last)) from error

    def differences(self, ledger: Ledger) -> list[str]:
        servers = {server["id"]: server for server in self._servers()}
        return [
            *self._wrong_servers(servers, ledger),
            *_compared("allocations", self._consumers(), set(ledger.status)),
            *_compared("ports", self._port_owners(), sorted(ledger.with_port)),
            *_compared("attached volumes", self._attached(), set(ledger.attached.items())),
            *_compared("volumes in use", self._volumes_in_use(), set(ledger.attached)),
            *_compared("guests", self.guests(), set(ledger.status)),
            *self._wrong_groups(servers, ledger),
            *self._wrong_usage(ledger),
            *self._unended_moves(),
        ]

    def _wrong_usage(self, ledger: Ledger) -> list[str]:
        """The quota counts what there is: a CPU a server, but for those that were resized."""
        path = f"/v2.1/os-quota-sets/{self._client.project_id}/detail"
        cores = self._client.call("GET", path)["quota_set"]["cores"]["in_use"]
        promised = sum(ledger.vcpus.get(server, 1) for server in ledger.status)
        return [] if cores == promised else [f"quota: {cores} cores are counted, {promised} are used"]

    def moves(self) -> Counter[str]:
        """How many moves of each kind ended how."""
        return Counter(f"{each['migration_type']} {each['status']}" for each in self._migrations())

    def _unended_moves(self) -> list[str]:
        return [
            f"migration {each['id']} of {each['instance_uuid']} is {each['status']}"
            for each in self._migrations()
            if each["status"] not in ENDED
        ]

    def _migrations(self) -> list[Any]:
        return self._client.call("GET", "/v2.1/os-migrations?limit=1000")["migrations"]

    def _wrong_groups(self, servers: dict[str, Any], ledger: Ledger) -> list[str]:
        """Members are the living ones, their places the hosts they are on, and no policy is broken."""
        wrong: list[str] = []
        for group_id, members in ledger.groups.items():
            shown = self._client.call("GET", f"/v2.1/os-server-groups/{group_id}")["server_group"]
            wrong += _compared(f"members of {group_id}", set(shown["members"]), members)
            hosts = {(id_, servers[id_]["OS-EXT-SRV-ATTR:host"]) for id_ in members if id_ in servers}
            found = self._group(group_id)
            places = {(place.server_id, place.host) for place in found.places}
            wrong += _compared(f"places of {group_id}", places, hosts)
            if found.policy == server_group_common.SERVER_GROUP_POLICY_ANTI_AFFINITY:
                crowd = Counter(host for _, host in hosts)
                crowded = {host for host, count in crowd.items() if count > found.max_server_per_host}
                wrong += [f"too many of {group_id} on {host}" for host in sorted(crowded)]
        return wrong

    def _group(self, group_id: str) -> server_group_pb2.GetServerGroupPlacesResponse:
        api = next(process for process in self._cloud.supervised() if process["service"] == "api")
        with self._connect(api["address"]) as channel:
            stub = server_group_pb2_grpc.ServerGroupServiceStub(channel)
            request = server_group_pb2.GetServerGroupPlacesRequest(id=group_id)
            return stub.GetServerGroupPlaces(request, timeout=20)

    def _wrong_servers(self, servers: dict[str, Any], ledger: Ledger) -> list[str]:
        wrong = _compared("servers", set(servers), set(ledger.status))
        for server_id, status in ledger.status.items():
            server = servers.get(server_id)
            if server and (server["status"] != status or server["OS-EXT-STS:task_state"]):
                wrong.append(
                    f"{server_id}: {server['status']}/{server['OS-EXT-STS:task_state']}, promised {status}"
                )
        return wrong

    def _servers(self) -> list[Any]:
        return self._client.call("GET", "/v2.1/servers/detail?all_tenants=1&limit=1000")["servers"]

    def _consumers(self) -> set[str]:
        found: set[str] = set()
        for provider in self._placement("/resource_providers")["resource_providers"]:
            found.update(
                self._placement(f"/resource_providers/{provider['uuid']}/allocations")["allocations"]
            )
        return found

    def _placement(self, path: str) -> Any:
        return self._client.call("GET", f"/placement{path}")

    def _port_owners(self) -> list[str]:
        """One entry a port: two ports of one server are a leak."""
        ports = self._client.call("GET", "/network/v2.0/ports")["ports"]
        return sorted(p["device_id"] for p in ports if p["device_owner"].startswith("compute:"))

    def _attached(self) -> set[tuple[str, str]]:
        """Pairs of volume and server, as the servers and the attachments of the volume service both have them."""
        shown = {
            (volume["id"], server["id"])
            for server in self._servers()
            for volume in server["os-extended-volumes:volumes_attached"]
        }
        path = f"{VOLUMES}/{self._client.project_id}/attachments?all_tenants=1"
        status, _, data = self._client.exchange("GET", path, None, {"OpenStack-API-Version": "volume 3.44"})
        assert status == 200, data
        held = [(one["volume_id"], one["instance"]) for one in json.loads(data)["attachments"]]
        assert len(held) == len(set(held)), "a volume is attached to a server twice"
        return shown | set(held)

    def _volumes_in_use(self) -> set[str]:
        path = f"{VOLUMES}/{self._client.project_id}/volumes/detail?all_tenants=1"
        volumes = self._client.call("GET", path)["volumes"]
        return {volume["id"] for volume in volumes if volume["status"] != "available"}

    def guests(self) -> set[str]:
        found: list[str] = []
        hosts = self._hosts()
        for process in self._cloud.supervised():
            if process["service"] == "compute":
                with self._connect(process["address"]) as channel:
                    stub = guest_pb2_grpc.GuestServiceStub(channel)
                    for host in hosts:
                        found += _guests_on(stub, host)
        assert len(found) == len(set(found)), "a guest runs twice"
        return set(found)

    def _hosts(self) -> list[str]:
        services = self._client.call("GET", "/v2.1/os-services?binary=nova-compute")["services"]
        return [service["host"] for service in services]


def _guests_on(stub: guest_pb2_grpc.GuestServiceStub, host: str) -> list[str]:
    try:
        answer = stub.ListGuests(guest_pb2.ListGuestsRequest(host=host), timeout=20)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.NOT_FOUND:  # another agent's host
            return []
        raise
    return [guest.server_id for guest in answer.guests]


def _compared(what: str, found: Any, promised: Any) -> list[str]:
    if found == promised:
        return []
    extra, missing = set(found) - set(promised), set(promised) - set(found)
    return [f"{what}: left over {sorted(extra)}, missing {sorted(missing)}, {len(found)} of {len(promised)}"]
