"""Where the identity middleware keeps what it learned of tokens: this process's memory, or Redis.

The middleware takes its cache from the environ of each request, under the key it is configured with.
"""

from __future__ import annotations

import threading
import time as clock
from typing import Any, Protocol

import redis

ENVIRON_KEY = "protonova.token_cache"
_MOST_REMEMBERED = 10_000


class TokenCache(Protocol):
    """What the middleware calls. Values are opaque to the cache."""

    def get(self, key: str) -> Any: ...

    def set(self, key: str, value: Any, time: int = 0) -> None: ...


class MemoryCache:
    """A bounded map with an end of life for each value."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Any, float]] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Any:
        found = self._kept.get(key)
        return found[0] if found is not None and found[1] > clock.monotonic() else None

    def set(self, key: str, value: Any, time: int = 0) -> None:
        with self._lock:
            if len(self._kept) >= _MOST_REMEMBERED:
                now = clock.monotonic()
                self._kept = {name: kept for name, kept in self._kept.items() if kept[1] > now}
                if len(self._kept) >= _MOST_REMEMBERED:
                    self._kept.clear()
            self._kept[key] = (value, clock.monotonic() + (time or 300))


class RedisCache:
    """Shared by all gateways. While Redis does not answer, nothing is cached."""

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = redis.Redis.from_url(url, socket_timeout=0.5)
        self._prefix = prefix

    def get(self, key: str) -> Any:
        try:
            return self._redis.get(f"{self._prefix}:token:{key}")
        except redis.RedisError:
            return None

    def set(self, key: str, value: Any, time: int = 0) -> None:
        try:
            self._redis.set(f"{self._prefix}:token:{key}", value, ex=time or 300)
        except redis.RedisError:
            return


def of(conf: Any) -> TokenCache:
    """The cache a configuration asks for."""
    if conf.redis.url:
        return RedisCache(conf.redis.url, conf.redis.prefix)
    return MemoryCache()
