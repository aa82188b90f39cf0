"""Every process is told to end while users are at work: each is back soon, and nobody has to know."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from protonova.common.v1 import operation_pb2
from tests.chaos.workload import Workload
from tests.chaos.world import eventually, world

pytestmark = pytest.mark.timeout(180)

# Work that is not given back is not taken up again before the test is over.
_LONG_LEASES = "[operations]\nlease_seconds = 300\n"


def test_no_restart_costs_a_user_anything() -> None:
    with world(config=_LONG_LEASES) as cloud:
        site = cloud.site
        workload = Workload(site.admin, flavor=site.flavor, image=site.image, network=site.network, seed=7)
        failures: list[BaseException] = []
        done = threading.Event()

        def work() -> None:
            try:
                while not done.is_set():
                    workload.run(12)
            except BaseException as error:  # noqa: BLE001 - raised by the test's own thread
                failures.append(error)

        worker = threading.Thread(target=work, daemon=True)
        worker.start()
        seconds = {}
        for process in cloud.cloud.supervised():
            lived = len(workload.ledger.deleted)
            eventually(lambda at=lived: len(workload.ledger.deleted) > at or failures, "servers to live")
            started = time.monotonic()
            pid = cloud.cloud.kill(process["name"], signal.SIGTERM)
            cloud.cloud.wait_restarted(process["name"], pid)
            seconds[process["name"]] = round(time.monotonic() - started, 2)
            assert cloud.cloud.process(process["name"])["last_exit"] == "exited with status 0"
        done.set()
        worker.join()
        if failures:
            raise failures[0]
        cloud.audit.settle(workload.ledger)
        print(f"restarted in seconds: {seconds}")


def test_what_a_leaving_conductor_cannot_finish_is_handed_back() -> None:
    config = _LONG_LEASES + "[DEFAULT]\ngraceful_shutdown_timeout = 1\n"
    with world(config=config, replicas=2) as cloud:
        cloud.disturb({"call": "spawn", "stage": "define", "delay": 600})
        servers = [cloud.accepted() for _ in range(4)]

        def both_work() -> bool:
            """Who gets a build is up to the channels: as many are asked for as it takes."""
            if not set(servers) <= cloud.guests():
                return False
            if len({one.owner for one in cloud.operations("conductor-1") if one.kind == "create"}) == 2:
                return True
            servers.append(cloud.accepted())
            return False

        eventually(both_work, "builds of both conductors to be in the hypervisor")
        cloud.cloud.halt("conductor-1")
        cloud.calm()
        # Those of the one that left go on at the other and may be through; its own wait for hypervisors that hang.
        staying = f":{cloud.cloud.process('conductor-2')['pid']}#"
        eventually(
            lambda: all(
                staying in one.owner or one.state == operation_pb2.OPERATION_STATE_DONE
                for one in cloud.operations("conductor-2")
                if one.kind == "create"
            ),
            "the other conductor to have them all",
            90,
        )
        pid = cloud.cloud.kill("compute")
        cloud.cloud.wait_restarted("compute", pid)
        for server in servers:
            cloud.wait(server, "ACTIVE")
        cloud.cloud.resume("conductor-1")
        cloud.settle()
