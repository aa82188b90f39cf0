"""Services that die at a chosen point, as if their process were killed there, in a region of this process.

A life of a service passes points, one after another: before, in and after each of its commits, before and after
each call it makes, and, of an agent, at each stage of what its driver does. One of them can be the last: from there
on nothing that this life does happens, its callers find their connections broken, and whoever does its work
afterwards is another life on what it left behind. Only what happens for requests and operations counts as a point:
what a service does again and again by itself has no end.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from sqlalchemy.engine import Connection

from protonova.services.compute import journal, virt
from protonova.services.compute import main as compute
from protonova.services.runtime import channel
from protonova.services.runtime.database import Database
from protonova.services.runtime.openstack import session
from protonova.services.runtime.server import Server

T = TypeVar("T")

_PATIENCE = 5.0
# Threads that work for somebody; what they are called by the runtime and the agent.
_WORKING = ("rpc", "stream", "operations-", "guest-", "receive-", "migrate-", "snapshot")
_BESIDE = ("operations-keeper", "operations-clock", "guest-sync")
# What an agent does beside requests, to put right what was done while it was away.
_TIDYING = ("destroy", "discard", "take_back", "CompleteEvacuation")


class Died(SystemExit):
    """Ends a thread of a life that is over. Nothing in the services catches it."""


class LostError(Exception):
    """The same in threads whose end another thread of that life waits for."""


class Life:
    """One process of a service, from its start to its death."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.died = threading.Event()
        self._silent = threading.Event()
        # Set by whoever starts it.
        self.server: Server | None = None
        self.points: list[str] = []
        self._last: int | None = None
        self._since: threading.Event | None = None
        self._lock = threading.Lock()

    def arm(self, last: int, since: threading.Event | None = None) -> None:
        """Points are counted from now on, or `since` something has happened; the one with this number, from 0, is
        the last."""
        with self._lock:
            self.points, self._last, self._since = [], last, since

    def disarm(self) -> None:
        with self._lock:
            self._last = None

    def at(self, point: str) -> None:
        """Goes on, or does not."""
        if self.died.is_set():
            self._end()
        if not (_working() or _tidying(point)):
            return
        with self._lock:
            if self._last is None or self.died.is_set():
                return
            if self._since is not None and not self._since.is_set():
                return
            self.points.append(point)
            if len(self.points) - 1 != self._last:
                return
            self.died.set()
        assert self.server is not None
        self.server._grpc.stop(0).wait(_PATIENCE)
        self._silent.set()
        self._end()

    def _end(self) -> None:
        """When no answer gets out any more."""
        self._silent.wait(_PATIENCE)
        if _working() and not threading.current_thread().name.startswith(("rpc", "stream", "operations-")):
            raise LostError(f"This life of {self.name} is over.")
        raise Died

    def bury(self) -> None:
        """What the system does to the files and sockets of a process that has died."""
        assert self.server is not None
        server = self.server
        self.died.set()
        server._grpc.stop(0).wait()
        self._silent.set()
        server.stopping.set()
        server._streams.shutdown(wait=False, cancel_futures=True)
        while server._on_stop:
            with contextlib.suppress(Exception, Died):
                server._on_stop.pop()()


def _working() -> bool:
    name = threading.current_thread().name
    return name.startswith(_WORKING) and not name.startswith(_BESIDE)


def _tidying(point: str) -> bool:
    return threading.current_thread().name == "guest-sync" and any(word in point for word in _TIDYING)


class Lives:
    """Makes the services of a region mortal, for as long as it is entered."""

    def __init__(self) -> None:
        # Set when a driver has failed by its fault plan.
        self.failed = threading.Event()
        self._by_conf: dict[int, Life] = {}
        self._kept: list[Any] = []
        self._undo = contextlib.ExitStack()

    def of(self, conf: Any) -> Life | None:
        return self._by_conf.get(id(conf))

    def begin(self, conf: Any, name: str) -> Life:
        life = Life(name)
        self._by_conf[id(conf)] = life
        self._kept.append(conf)  # so that nobody else gets its id
        return life

    def __enter__(self) -> Lives:
        connect = channel.connect
        mortal = functools.partial(_connect, self, connect)
        for module in [
            found for name, found in sys.modules.items() if name.startswith("protonova.services.")
        ]:
            if getattr(module, "connect", None) is connect:
                self._put(module, "connect", mortal)
        self._put(session.Client, "_call", _http(self, session.Client._call))
        self._put(virt, "load", functools.partial(_load, self, virt.load))
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @contextlib.contextmanager
    def doors(self, life: Life) -> Iterator[None]:
        """While a service is wired, what it opens is its life's."""
        with contextlib.ExitStack() as stack:
            old = Database.__dict__["of"]
            stack.callback(setattr, Database, "of", old)
            kind = type("MortalDatabase", (_Database,), {"life": life})
            Database.of = classmethod(lambda cls, *args, **options: old.__func__(kind, *args, **options))  # type: ignore[method-assign, assignment]
            stack.callback(setattr, compute, "Journal", journal.Journal)
            compute.Journal = type("MortalJournal", (_Journal,), {"life": life})  # type: ignore[misc]
            yield

    def _put(self, where: Any, name: str, value: Any) -> None:
        self._undo.callback(setattr, where, name, getattr(where, name))
        setattr(where, name, value)


class _Database(Database):
    life: Life

    def write(self, fn: Callable[[Connection], T], **options: Any) -> T:
        def committing(connection: Connection) -> T:
            result = fn(connection)
            self.life.at("in a commit")
            return result

        self.life.at("before a commit")
        result = super().write(committing, **options)
        self.life.at("after a commit")
        return result

    def read(self, fn: Callable[[Connection], T], **options: Any) -> T:
        if self.life.died.is_set():
            self.life._end()
        return super().read(fn, **options)


class _Journal(journal.Journal):
    life: Life

    def admit(self, *args: Any) -> bytes | None:
        self.life.at("before admitting")
        found = super().admit(*args)
        self.life.at("after admitting")
        return found

    def record(self, *args: Any) -> None:
        self.life.at("before recording")
        super().record(*args)
        self.life.at("after recording")


class _Plan:
    """A fault plan that is passed at each stage of what a fake driver does."""

    def __init__(self, lives: Lives, life: Life, plan: Any) -> None:
        self._lives, self._life, self._plan = lives, life, plan

    def at(self, host: str, call: str, stage: str, *guest: str) -> Any:
        self._life.at(f"in {call}, {stage}")
        verdict = self._plan.at(host, call, stage, *guest)
        if verdict.error is not None:
            self._lives.failed.set()
        return verdict


def _load(lives: Lives, load: Callable[..., Any], name: str, conf: Any, **options: Any) -> Any:
    driver = load(name, conf, **options)
    if life := lives.of(conf):
        driver.faults = _Plan(lives, life, driver.faults)
    return driver


def _connect(lives: Lives, connect: Callable[..., Any], conf: Any, target: str, **options: Any) -> Any:
    made = connect(conf, target, **options)
    life = lives.of(conf)
    return made if life is None else _Channel(life, made)


class _Channel(grpc.Channel):
    """Calls that are points; streams end with their life."""

    def __init__(self, life: Life, inner: Any) -> None:
        self._life, self._inner = life, inner

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return _Call(self._life, method.rpartition("/")[2], self._inner.unary_unary(method, *args, **options))

    def unary_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return _Call(
            self._life, method.rpartition("/")[2], self._inner.unary_stream(method, *args, **options)
        )

    def stream_unary(self, method: str, *args: Any, **options: Any) -> Any:
        return self._inner.stream_unary(method, *args, **options)

    def stream_stream(self, method: str, *args: Any, **options: Any) -> Any:
        return self._inner.stream_stream(method, *args, **options)

    def subscribe(self, *args: Any, **options: Any) -> None:
        self._inner.subscribe(*args, **options)

    def unsubscribe(self, *args: Any) -> None:
        self._inner.unsubscribe(*args)

    def close(self) -> None:
        self._inner.close()

    def __enter__(self) -> _Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Call:
    def __init__(self, life: Life, name: str, inner: Any) -> None:
        self._life, self._name, self._inner = life, name, inner

    def __call__(self, *args: Any, **options: Any) -> Any:
        self._life.at(f"before {self._name}")
        answer = self._inner(*args, **options)
        self._life.at(f"after {self._name}")
        return answer

    def future(self, *args: Any, **options: Any) -> Any:
        self._life.at(f"before {self._name}")
        return self._inner.future(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _http(lives: Lives, call: Callable[..., Any]) -> Callable[..., Any]:
    def passed(client: Any, method: str, path: str, **arguments: Any) -> Any:
        life = lives.of(client._conf)
        if life is None or (method == "GET" and not life.died.is_set()):
            return call(client, method, path, **arguments)
        life.at(f"before {method} {client._service_type}")
        answer = call(client, method, path, **arguments)
        life.at(f"after {method} {client._service_type}")
        return answer

    return passed
