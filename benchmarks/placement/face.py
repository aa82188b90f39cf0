"""The gateway's Placement API as a process of its own, for whom every caller is an administrator: identities cost
a real cloud one look into a cache, and nothing here is to wait for another service."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterable
from typing import Any

from protonova.gateway.app import Gateway
from protonova.gateway.auth import IDENTITY
from protonova.gateway.httpd import HttpServer
from protonova.gateway.request import Identity
from protonova.services.runtime import config, context, log, process

_ADMIN = Identity("admin", "admin", "default", "bench", "bench", "default", ("admin", "member", "reader"))


class _Everyone:
    """WSGI in the place of the identity middleware."""

    def __init__(self, application: Callable[..., Iterable[bytes]], _: Any) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ[IDENTITY] = _ADMIN
        return self._application(environ, start_response)


def main() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    conf = config.load(sys.argv[1:])
    log.setup("gateway", conf)
    process.collect_less_often()
    context.enter(context.internal("gateway"))
    gateway = Gateway(conf, protect=_Everyone)
    server = HttpServer("127.0.0.1:0", gateway.placement, conf.gateway.threads)
    server.start()
    process.notify_ready("gateway", server.address)
    signal.sigwait(numbers)
    server.stop(1)
    gateway.close()


if __name__ == "__main__":
    main()
