"""Wakes watchers early: those of this process at once, those of others through Redis where there is one.

Nothing is lost without it: watchers look at the head of their topic by themselves, only later.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from protonova.services.runtime.config import Conf

_log = logging.getLogger("protonova.feeds")

_changed = threading.Condition()
_counts: dict[str, int] = {}
_redis: _Redis | None = None


def count(topic: str) -> int:
    """How often a topic was told of; for `wait`."""
    with _changed:
        return _counts.get(topic, 0)


def wait(topic: str, seen: int, seconds: float) -> None:
    """Until a topic is told of again, or the time is over."""
    with _changed:
        _changed.wait_for(lambda: _counts.get(topic, 0) != seen, timeout=seconds)


def tell(topic: str) -> None:
    """Something was committed to a topic."""
    _tell_here(topic)
    if _redis is not None:
        _redis.tell(topic)


def across_processes() -> bool:
    """Whether changes made by other processes wake this one."""
    return _redis is not None and _redis.listening


def connect(conf: Conf) -> None:
    """Joins the other processes' wake-ups, if a Redis is configured."""
    global _redis
    if conf.redis.url and _redis is None:
        _redis = _Redis(conf)


def _tell_here(topic: str) -> None:
    with _changed:
        _counts[topic] = _counts.get(topic, 0) + 1
        _changed.notify_all()


class _Redis:
    """One thread that tells and one that listens; both go on when Redis comes back."""

    def __init__(self, conf: Conf) -> None:
        from protonova.services.runtime import cache

        self.listening = False
        self._client = cache.connect(conf)
        self._channel = f"{conf.redis.prefix}:feeds"
        self._pending: set[str] = set()
        self._some = threading.Condition()
        for name, work in (("feeds-tell", self._telling), ("feeds-listen", self._listening)):
            threading.Thread(target=work, name=name, daemon=True).start()

    def tell(self, topic: str) -> None:
        with self._some:
            self._pending.add(topic)
            self._some.notify()

    def _telling(self) -> None:
        while True:
            with self._some:
                self._some.wait_for(lambda: self._pending)
                topics, self._pending = self._pending, set()
            try:
                for topic in topics:
                    self._client.publish(self._channel, topic)
            except Exception as error:  # noqa: BLE001 - any failure of Redis only means later wake-ups
                _log.debug("Redis cannot be told of feeds: %s", error)

    def _listening(self) -> None:
        pause = threading.Event()
        while True:
            try:
                with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    subscription.subscribe(self._channel)
                    self.listening = True
                    _log.debug("Feeds are told of through Redis")
                    for message in subscription.listen():
                        _tell_here(_text(message["data"]))
            except Exception as error:  # noqa: BLE001 - any failure of Redis only means later wake-ups
                if self.listening:
                    _log.warning("Redis does not tell of feeds any more: %s", error)
                self.listening = False
            pause.wait(1.0)


def _text(data: Any) -> str:
    return data.decode() if isinstance(data, bytes) else str(data)
