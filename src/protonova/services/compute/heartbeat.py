"""Tells the cell that the hosts are here, and placement what they have.

A host is reported in full when the agent starts, when something of it changed, or when the cell says that it
does not know it; otherwise its name alone is its heartbeat. Placement is told first, so that a host the
scheduler sees can be claimed on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid

import orjson

from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.inventory import InventoryReporter
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import HostInventory
from protonova.services.runtime import context, errors

LOG = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.1


class Heartbeat:
    """A thread that reports every `interval` seconds, and looks at the hardware every `inventory_interval`."""

    def __init__(
        self,
        hosts: Hosts,
        cell: host_pb2_grpc.HostServiceStub,
        inventory: InventoryReporter,
        *,
        agent_target: str,
        availability_zone: str,
        interval: float,
        inventory_interval: float,
    ) -> None:
        self._hosts = hosts
        self._cell = cell
        self._inventory = inventory
        self._target = agent_target
        self._zone = availability_zone
        self._interval = interval
        self._inventory_interval = inventory_interval
        self._instance = str(uuid.uuid4())
        self._reported: dict[str, host_pb2.HostReport] = {}
        self._looked_at = float("-inf")
        self._facts: dict[str, HostInventory] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                with context.use(context.internal("compute")):
                    self.beat()
            except (errors.Error, virt_errors.DriverError) as error:
                failures += 1
                LOG.log(
                    logging.WARNING if failures in (10, 100) else logging.INFO,
                    "Hosts not reported: %s",
                    error,
                )
            else:
                failures = 0
            self._stop.wait(self._pause(failures))

    def _pause(self, failures: int) -> float:
        """Soon again after a failure, then ever slower up to the usual interval; never in step with others."""
        if not failures:
            return self._interval * random.uniform(0.9, 1.0)  # noqa: S311 - spreads load, guards nothing
        return min(self._interval, _FIRST_RETRY_SECONDS * 1.5 ** min(failures, 20))

    def beat(self) -> None:
        """One report of all hosts."""
        self._look()
        changed: list[host_pb2.HostReport] = []
        unchanged: list[str] = []
        for host in self._hosts:
            report = self._report(host, self._facts[host.name])
            if self._reported.get(host.name) == report:
                unchanged.append(host.name)
            else:
                changed.append(report)
        answer = self._cell.ReportHosts(host_pb2.ReportHostsRequest(hosts=changed, unchanged_hosts=unchanged))
        self._reported.update((report.host, report) for report in changed)
        for name in answer.unknown_hosts:
            self._reported.pop(name, None)
        if answer.unknown_hosts:
            # Whoever lost the hosts may have lost their providers too.
            self._inventory.forget()
            self._looked_at = float("-inf")
            self.beat()

    def _look(self) -> None:
        if time.monotonic() - self._looked_at < self._inventory_interval and len(self._facts) == len(
            self._hosts
        ):
            return
        for host in self._hosts:
            facts = host.driver.inventory()
            self._inventory.report(host, facts)
            self._facts[host.name] = facts
        self._looked_at = time.monotonic()

    def _report(self, host: Host, facts: HostInventory) -> host_pb2.HostReport:
        return host_pb2.HostReport(
            host=host.name,
            node=facts.hostname,
            node_id=host.node_id,
            agent_target=self._target,
            availability_zone=self._zone,
            hypervisor_type=facts.hypervisor_type,
            hypervisor_version=facts.hypervisor_version,
            host_ip=facts.host_ip,
            vcpus=facts.vcpus,
            memory_mb=facts.memory_mb,
            local_gb=facts.disk_gb,
            disk_available_least_gb=facts.free_disk_gb,
            cpu_info=orjson.dumps(dict(facts.cpu_info)).decode(),
            architecture=facts.architecture,
            agent_instance=self._instance,
        )
