"""Whether a first boot would succeed, asked at the public doors.

Services serve before hosts have reported. A cloud is usable when its compute services are up, placement offers
room on them, and the scheduler has its view of them.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence

from protonova.cli import credentials
from protonova.cli.cloud import Options
from protonova.cli.layout import StateDirectory
from protonova.cli.rest import Refused, Rest, Unreachable

PAUSE = 0.05


def usable(client: Rest, hosts: int) -> bool:
    """One look; raises Refused or Unreachable where a door does not answer properly."""
    services = client.get("compute", "/os-services", binary="nova-compute")["services"]
    up = [service for service in services if service["state"] == "up" and service["status"] == "enabled"]
    if len(up) < hosts:
        return False
    offered = client.get("placement", "/allocation_candidates", resources="VCPU:1,MEMORY_MB:1")
    return len(offered["provider_summaries"]) >= 1


class Scheduler:
    """Asks the scheduler for nothing, which it answers once it could choose hosts."""

    def __init__(self, state: StateDirectory) -> None:
        from protonova.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
        from protonova.services.runtime import channel, config, context

        context.enter(context.internal("ready-check"))
        conf = config.load(files=Options.remembered(state).files(state))
        self._request = scheduler_pb2.SelectDestinationsRequest()
        self._stub = scheduler_pb2_grpc.SchedulerServiceStub(channel.connect(conf, conf.scheduler.target))

    def ready(self) -> bool:
        from protonova.services.runtime import errors

        try:
            self._stub.SelectDestinations(self._request, timeout=5)
        except errors.Error as error:
            return not error.transient
        return True


def main(arguments: Sequence[str]) -> int:
    """``DIR HOSTS``: returns once that many hosts of the cloud can take servers."""
    state = StateDirectory.at(arguments[0])
    hosts = int(arguments[1])
    account = credentials.of(state, Options.remembered(state).ports)["protonova-admin"]
    client = Rest(account, timeout=10)
    scheduler = Scheduler(state)
    pause = threading.Event()
    said = ""
    while True:
        try:
            if usable(client, hosts) and scheduler.ready():
                return 0
            reason = "hosts have not reported yet, or the scheduler has not heard of them"
        except (Refused, Unreachable) as error:
            reason = str(error)
        if reason != said:
            print(f"{time.strftime('%H:%M:%S')} {reason}", file=sys.stderr, flush=True)
            said = reason
        pause.wait(PAUSE)
