"""Connections to MariaDB that are cheap to make.

PyMySQL offers TLS to every server, and reads the system's certificates for it anew with each connection, even
though it then checks none: tens of milliseconds of a processor, and most of a megabyte that is kept. When a server
comes back after an outage, and all connections are made at once, nothing else would get done. So connections of one
process share what they need for TLS.
"""

from __future__ import annotations

import functools
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

_lock = threading.Lock()
_contexts: dict[tuple[tuple[str, str], ...], ssl.SSLContext] = {}


def prepare(engine: Engine) -> None:
    """Makes the engine's connections share their TLS contexts."""

    @sa.event.listens_for(engine, "do_connect")
    def _connect(_dialect: Any, _record: object, words: list[Any], options: dict[str, Any]) -> Any:
        return _connection_class()(*words, **options)


@functools.cache
def _connection_class() -> Any:
    from pymysql.connections import Connection  # slow to import, and not needed where there is no MariaDB

    class Sharing(Connection):
        """A connection as any other; `_create_ssl_ctx` is what PyMySQL calls for each."""

        def _create_ssl_ctx(self, wanted: Any) -> ssl.SSLContext:
            if isinstance(wanted, ssl.SSLContext):
                return wanted
            with _lock:
                key = tuple(sorted((name, str(value)) for name, value in wanted.items()))
                if key not in _contexts:
                    _contexts[key] = super()._create_ssl_ctx(wanted) if _checks(wanted) else _unchecked()
                return _contexts[key]

    return Sharing


def _checks(wanted: Mapping[str, Any]) -> bool:
    """Whether anything was asked of TLS; without, it is used where the server offers it, unchecked."""
    return any(value is not None for value in wanted.values())


def _unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
