"""Tells the cell that the hosts are here, and placement what they have.

A host is reported in full when the agent starts, when something of it changed, or when the cell says that it does
not know it; otherwise its name alone is its heartbeat. What guests hold of its NUMA cells and PCI devices changes
with each, and is told soon. Placement is told first, so that a host the scheduler sees can be claimed on.
"""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Sequence

import orjson

from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.services.compute.device_providers import DeviceProviders
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.identity import Identities
from protonova.services.compute.inventory import InventoryReporter
from protonova.services.compute.pinning import Pinning
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
        pinning: Pinning,
        *,
        identities: Identities,
        agent_target: str,
        availability_zone: str,
        interval: float,
        inventory_interval: float,
        device_providers: DeviceProviders | None = None,
        host_ip: str = "",
        share_ip: str = "",
        monitors: Sequence[str] = (),
    ) -> None:
        self._hosts = hosts
        self._cell = cell
        self._inventory = inventory
        self._pinning = pinning
        self._identities = identities
        self._target = agent_target
        self._zone = availability_zone
        self._device_providers = device_providers
        self._host_ip = host_ip
        self._share_ip = share_ip
        self._monitors = tuple(monitors)
        self._interval = interval
        self._inventory_interval = inventory_interval
        self._instance = str(uuid.uuid4())
        self._reported: dict[str, host_pb2.HostReport] = {}
        self._looked_at = float("-inf")
        self._facts: dict[str, HostInventory] = {}
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def soon(self) -> None:
        """Something of the hosts has changed that schedulers should know of before the next beat is due."""
        self._wake.set()

    def stop(self) -> None:
        self._stop.set()
        self._wake.set()
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
            if self._wake.wait(self._pause(failures)):
                self._wake.clear()
                # What changes now changes again in a moment: many guests are told of at once.
                self._stop.wait(min(self._interval, _FIRST_RETRY_SECONDS))

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
            self._tell_placement_of_devices(host)
            report = self._report(host, self._facts[host.name])
            if self._reported.get(host.name) == report:
                unchanged.append(host.name)
            else:
                changed.append(report)
        answer = self._cell.ReportHosts(host_pb2.ReportHostsRequest(hosts=changed, unchanged_hosts=unchanged))
        self._reported.update((report.host, report) for report in changed)
        self._identities.take((report.host for report in changed), answer.identities)
        for name in answer.unknown_hosts:
            self._reported.pop(name, None)
        if answer.unknown_hosts:
            # Whoever lost the hosts may have lost their providers too.
            self._inventory.forget()
            if self._device_providers is not None:
                self._device_providers.forget()
            self._looked_at = float("-inf")
            self.beat()

    def _look(self) -> None:
        if time.monotonic() - self._looked_at < self._inventory_interval and len(self._facts) == len(
            self._hosts
        ):
            return
        for host in self._hosts:
            facts = host.driver.inventory()
            self._look_at_devices(host)
            self._inventory.report(host, facts)
            self._facts[host.name] = facts
        self._looked_at = time.monotonic()

    def _tell_placement_of_devices(self, host: Host) -> None:
        """What placement refuses is told again with everything else; meanwhile the host is no less up."""
        if self._device_providers is None:
            return
        try:
            self._device_providers.report(
                host, self._pinning.offered.of(host), self._pinning.held_devices(host)
            )
        except errors.Error as error:
            if error.transient:
                raise
            LOG.warning("The PCI devices of %s are not told to placement: %s", host.name, error)
            self._inventory.forget()
            self._device_providers.forget()
            self._looked_at = float("-inf")

    def _look_at_devices(self, host: Host) -> None:
        """Devices that came to be what they must not are no reason for the host to be down: those known stay."""
        try:
            self._pinning.offered.look(host)
        except virt_errors.DriverError as error:
            if error.transient:
                raise
            LOG.warning("The PCI devices of %s cannot be offered: %s", host.name, error)

    def _report(self, host: Host, facts: HostInventory) -> host_pb2.HostReport:
        report = host_pb2.HostReport(
            host=host.name,
            node=facts.hostname,
            node_id=host.node_id,
            agent_target=self._target,
            availability_zone=self._zone,
            hypervisor_type=facts.hypervisor_type,
            hypervisor_version=facts.hypervisor_version,
            host_ip=facts.host_ip or self._host_ip,
            vcpus=facts.vcpus + facts.dedicated_cpus,
            memory_mb=facts.memory_mb,
            local_gb=facts.disk_gb,
            disk_available_least_gb=facts.free_disk_gb,
            cpu_info=orjson.dumps(dict(facts.cpu_info)).decode(),
            architecture=facts.architecture,
            agent_instance=self._instance,
            metrics=self._metrics(host),
            supported_guests=[
                host_pb2.SupportedGuest(architecture=architecture, hypervisor_type=hypervisor, vm_mode=mode)
                for architecture, hypervisor, mode in facts.supported_instances
            ],
            topology=self._pinning.topology(host),
            devices=self._pinning.devices(host),
            share_protocols=facts.share_protocols,
            share_ip=self._share_ip,
        )
        if facts.booted_at is not None:
            report.booted_at.FromDatetime(facts.booted_at)
        return report

    def _metrics(self, host: Host) -> dict[str, float]:
        """None, while they cannot be measured: a host is not down for want of them."""
        if not self._monitors:
            return {}
        try:
            measured = host.driver.metrics()
        except virt_errors.DriverError as error:
            LOG.info("%s cannot be measured: %s", host.name, error)
            return {}
        return {
            name: value
            for name, value in measured.items()
            if any(name == wanted or name.startswith(f"{wanted}.") for wanted in self._monitors)
        }
