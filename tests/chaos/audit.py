"""What must be true once the killing has stopped: compares every owner's facts with what users were promised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from benchmarks.client import Client, wait_for
from benchmarks.cloud import Cloud
from protonova.compute.v1 import guest_pb2, guest_pb2_grpc
from tests.chaos.workload import Ledger

SETTLE_SECONDS = 60.0
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
            *_compared("guests", self.guests(), set(ledger.status)),
        ]

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
