"""Redis, or what stands in for it: caches, short-lived keys, wake-ups. Never the only place of a fact.

Where no Redis is configured an embedded one is used, which only this process sees.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from protonova.services.runtime.config import Conf

if TYPE_CHECKING:
    import redis

_lock = threading.Lock()
_clients: dict[str, redis.Redis] = {}


def connect(conf: Conf) -> redis.Redis:
    """The process's client, made when first asked for: its library is not needed by every process. Calls
    raise `redis.RedisError` when Redis is away; whoever calls goes on without."""
    url = conf.redis.url
    with _lock:
        if url not in _clients:
            _clients[url] = _connected(url)
        return _clients[url]


def key(conf: Conf, *parts: str) -> str:
    """A key of ours: the configured prefix, then the parts."""
    return ":".join((conf.redis.prefix, *parts))


def _connected(url: str) -> redis.Redis:
    if not url:
        import fakeredis

        return fakeredis.FakeRedis()
    import redis

    return redis.Redis.from_url(
        url, socket_connect_timeout=2, socket_timeout=5, health_check_interval=30, retry_on_timeout=False
    )
