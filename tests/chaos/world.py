"""A cloud that tests break on purpose, with what they need to do so and to say that all is well again.

Nothing here is timed: what a test waits for is something it can see, through a public door.
"""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from benchmarks.client import Client, wait_for
from benchmarks.cloud import Cloud, running
from benchmarks.figures import Site
from protonova.common.v1 import operation_pb2, operation_pb2_grpc
from tests.chaos.audit import Audit, Connect
from tests.chaos.workload import Ledger, patiently

# Leases as short as makes sense, so that what a dead process held is soon taken over, and what a lost call of a
# resize was charged for is soon given back.
SHORT_LEASES = "[operations]\nlease_seconds = 3\npoll_seconds = 0.5\n[api]\nlost_move_seconds = 10\n"
RUNNING = operation_pb2.OPERATION_STATE_RUNNING

Answer = tuple[int, Any]


class World:
    """A cloud, its administrator, and what was promised to them."""

    def __init__(self, cloud: Cloud, faults: Path, connect: Connect) -> None:
        self.cloud = cloud
        self.site = Site.prepare(cloud)
        self.admin: Client = self.site.admin
        self.ledger = Ledger()
        self.audit = Audit(cloud, self.admin, connect)
        self._connect = connect
        self._faults = faults

    # ---- requests ------------------------------------------------------------------------------------------

    def create(self, *, port: bool = False, count: int = 1, key: str = "") -> Answer:
        """One POST, whatever comes of it: status and document."""
        server: dict[str, Any] = {
            "name": "breakable",
            "flavorRef": self.site.flavor,
            "imageRef": self.site.image,
            "networks": [{"uuid": self.site.network}] if port else "none",
        }
        if count > 1:
            server.update(min_count=1, max_count=count)
        headers = {"Idempotency-Key": key} if key else {}
        return self.ask("POST", "/v2.1/servers", {"server": server}, headers)

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        status, _, data = self.admin.exchange(method, path, body, headers)
        return status, json.loads(data) if data else None

    def accepted(self, *, port: bool = False, key: str = "") -> str:
        """The id of a server that was accepted, by as many tries as a user has patience for."""
        key = key or str(uuid.uuid4())

        def ask() -> str | None:
            status, answer = self.create(port=port, key=key)
            assert status in (202, 502, 503, 504), (status, answer)
            return answer["server"]["id"] if status == 202 else None

        server: str = wait_for(lambda: patiently(ask, random.Random(0)), seconds=60, what="an answer")
        self.promise(server, "ACTIVE", port=port)
        return server

    def promise(self, server: str, status: str, *, port: bool = False) -> None:
        """What the cloud has been asked for, and has accepted."""
        self.ledger.status[server] = status
        if port:
            self.ledger.with_port.add(server)

    def state(self, server: str) -> tuple[str, str | None]:
        """Status and task state; patient with a cloud that is broken just now."""

        def ask() -> tuple[str, str | None]:
            shown = self.site.show(server)
            return shown["status"], shown["OS-EXT-STS:task_state"]

        found: tuple[str, str | None] = patiently(ask, random.Random(0))
        return found

    def wait(self, server: str, status: str, seconds: float = 45) -> None:
        def reached() -> bool:
            now, task = self.state(server)
            assert now == status or now != "ERROR", self.site.show(server).get("fault")
            return now == status and task is None

        wait_for(reached, seconds=seconds, every=0.05, what=f"{server} {status}")

    def delete_all(self) -> None:
        for server in list(self.ledger.status):
            patiently(lambda id_=server: self._deleted(id_), random.Random(0))
            del self.ledger.status[server]
        self.ledger.with_port.clear()
        self.audit.settle(self.ledger)

    def _deleted(self, server: str) -> None:
        self.admin.call("DELETE", f"/v2.1/servers/{server}", expect=(204, 404))

    def settle(self) -> None:
        """Everything is as promised, and nothing else is there."""
        self.audit.settle(self.ledger)

    # ---- insight -------------------------------------------------------------------------------------------

    def operations(self, name: str, *states: int) -> list[operation_pb2.Operation]:
        """Operations of a process's service, the newest first."""
        with self._connect(self.cloud.process(name)["address"]) as channel:
            stub = operation_pb2_grpc.OperationServiceStub(channel)
            request = operation_pb2.ListOperationsRequest(states=states, page_size=1000)  # type: ignore[arg-type]
            return list(stub.ListOperations(request, timeout=10).operations)

    def wait_step(self, name: str, step: str) -> operation_pb2.Operation:
        """Until an operation of a service stands at a step."""

        def found() -> operation_pb2.Operation | None:
            return next((one for one in self.operations(name) if one.step == step and not_over(one)), None)

        operation: operation_pb2.Operation = wait_for(found, seconds=20, what=f"{name} to be at {step}")
        return operation

    def guests(self) -> set[str]:
        return self.audit.guests()

    # ---- disturbances --------------------------------------------------------------------------------------

    def disturb(self, *rules: dict[str, Any]) -> None:
        """Has the hypervisors misbehave: see `compute.virt.fake.faults`."""
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps({"rules": rules}))
        fresh.replace(self._faults)

    def calm(self) -> None:
        self._faults.unlink(missing_ok=True)


def not_over(operation: operation_pb2.Operation) -> bool:
    return not operation.HasField("finished_at")


@contextmanager
def world(
    database: Any = "sqlite",
    *,
    config: str = "",
    connect: Connect = grpc.insecure_channel,
    **options: Any,
) -> Iterator[World]:
    """A running cloud of three hosts, unless told otherwise."""
    options.setdefault("computes", 3)
    with faults_file() as faults:
        config = f"{SHORT_LEASES}[fake]\nfaults = {faults}\n{config}"
        with running(database, config=config, **options) as cloud:
            yield World(cloud, faults, connect)


@contextmanager
def faults_file() -> Iterator[Path]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="protonova-faults-") as directory:
        yield Path(directory) / "plan.json"


def eventually(check: Callable[[], Any], what: str, seconds: float = 30) -> Any:
    return wait_for(check, seconds=seconds, every=0.05, what=what)
