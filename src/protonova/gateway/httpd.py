"""The HTTP servers of a gateway process: Granian's server threads, one set for each address, in this process.

Granian parses HTTP outside of Python and hands requests to a pool of Python threads. It is run as threads and
not as worker processes, so that both APIs share one set of channels and caches, and no process is forked.
More processes are made by starting more gateways: they may listen on the same port.
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import orjson
from granian.constants import Interfaces, RuntimeModes
from granian.server import MTServer

from protonova.gateway.faults import UNEXPECTED, Fault

LOG = logging.getLogger(__name__)
_START_SECONDS = 10.0


class _Threads(MTServer):
    """Granian's threaded server without its own main loop, signals and check for a free-threaded Python."""

    def _check_gil(self) -> None:
        return

    def begin(self, application: Callable[..., Any]) -> None:
        self._init_shared_socket()
        self._spawn_workers(self._spawn_wsgi_worker, application)

    def end(self) -> None:
        self._stop_workers()


class HttpServer:
    """Serves one WSGI application at one address."""

    def __init__(self, listen: str, application: Callable[..., Any], threads: int) -> None:
        host, _, port = listen.rpartition(":")
        self._application = application
        self._running = 0
        self._counting = threading.Lock()
        # Holds a chosen port until Granian has bound it too.
        self._reserved = socket.socket(
            socket.AF_INET6 if ":" in host.strip("[]") else socket.AF_INET, socket.SOCK_STREAM
        )
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._host = host.strip("[]")
        self._reserved.bind((self._host, int(port)))
        self.port: int = self._reserved.getsockname()[1]
        self.address = f"{host}:{self.port}"
        self._server = _Threads(
            "gateway",
            address=self._host,
            port=self.port,
            interface=Interfaces.WSGI,
            blocking_threads=threads,
            backpressure=max(256, threads * 8),
            runtime_mode=RuntimeModes.mt,
            websockets=False,
            log_enabled=False,
        )

    def start(self) -> None:
        """Begins to serve; returns when the first request would be answered."""
        self._server.begin(self._counted)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if time.monotonic() > deadline:
                raise RuntimeError(f"Nothing answers at {self.address}.")
        self._reserved.close()

    def stop(self, seconds: float) -> None:
        """Takes no more connections at once, and lets running requests end within ``seconds``."""
        ending = threading.Thread(target=self._server.end, name="http-end", daemon=True)
        ending.start()
        ending.join(seconds)
        self._reserved.close()

    @property
    def running(self) -> int:
        """Requests being answered now."""
        return self._running

    def _counted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with self._counting:
            self._running += 1
        try:
            return self._application(environ, start_response)
        except Exception:
            LOG.exception("%s %s failed", environ.get("REQUEST_METHOD"), environ.get("PATH_INFO"))
            body = orjson.dumps(Fault(500, UNEXPECTED).document())
            start_response(
                "500 Internal Server Error",
                [("Content-Type", "application/json"), ("Content-Length", str(len(body)))],
            )
            return [body]
        finally:
            with self._counting:
                self._running -= 1

    def _answers(self) -> bool:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104
        connection = http.client.HTTPConnection(host, self.port, timeout=_START_SECONDS)
        try:
            connection.request("GET", "/")
            connection.getresponse().read()
        except OSError:
            # Not listening yet: leave the processor to the thread that is about to.
            threading.Event().wait(0.005)
            return False
        finally:
            connection.close()
        return True
