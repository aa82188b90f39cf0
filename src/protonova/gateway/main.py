"""The gateway process: both REST APIs over HTTP.

SIGTERM and SIGINT end it when running requests are answered, SIGUSR1 writes a state report to the log.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from collections.abc import Mapping
from typing import Any

from protonova.gateway import options  # noqa: F401 - registers the gateway's options
from protonova.gateway.app import Gateway
from protonova.gateway.forward import Forwarder
from protonova.gateway.front import Application
from protonova.gateway.httpd import HttpServer
from protonova.services.runtime import config, context, log, process, telemetry

LOG = logging.getLogger(__name__)
# First path segments of the companions.
COMPANIONS = ("identity", "image", "network", "volume", "share")
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)


def build(conf: Any) -> tuple[Gateway, list[HttpServer]]:
    """The applications and their servers, ready to start."""
    gateway = Gateway(conf, mounts(conf))
    servers = [HttpServer(conf.gateway.listen, gateway.compute, conf.gateway.threads)]
    if conf.gateway.placement_listen:
        servers.append(HttpServer(conf.gateway.placement_listen, gateway.placement, conf.gateway.threads))
    return gateway, servers


def mounts(conf: Any) -> Mapping[str, Application]:
    """Other services reached through the gateway, by first path segment."""
    target = conf.gateway.companions_url
    if not target:
        return {}
    forwarder = Forwarder(target)
    return dict.fromkeys(COMPANIONS, forwarder)


def run(conf: Any) -> int:
    """Serves until told to end."""
    # Blocked before any thread exists, so that all signals come to the main thread's sigwait.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    log.setup("gateway", conf)
    process.collect_less_often()
    context.enter(context.internal("gateway"))
    telemetry.start("gateway", conf)
    gateway, servers = build(conf)
    # An answer makes many objects and no cycles: the collector need not look often, nor at what stays for ever.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    telemetry.report("gateway", lambda: [(server.address, server.running) for server in servers])
    try:
        for server in servers:
            server.start()
        LOG.info("gateway serves on %s", ", ".join(server.address for server in servers))
        process.notify_ready("gateway", servers[0].address)
        while True:
            number = signal.sigwait(_SIGNALS)
            if number == signal.SIGUSR1:
                telemetry.log_state_report()
            elif number == signal.SIGHUP:
                conf.mutate_config_files()
                log.set_levels(conf)
            else:
                break
        LOG.info("gateway ends")
    finally:
        telemetry.forget_report("gateway")
        for server in servers:
            server.stop(conf.graceful_shutdown_timeout)
        gateway.close()
    return 0


def main(argv: list[str] | None = None) -> int:
    return run(config.load(sys.argv[1:] if argv is None else argv))


if __name__ == "__main__":
    raise SystemExit(main())
