"""Feeds: nothing committed is missed, in order, through breaks, over the wire."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.services.runtime import channel, config, feeds
from protonova.services.runtime.database import Database
from protonova.services.runtime.server import Server

PATIENCE = 10.0

metadata = sa.MetaData()
feed_tables = feeds.tables(metadata)
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
    mysql_engine="InnoDB",
)


def _load(connection: Connection, keys: list[str]) -> dict[str, int]:
    rows = connection.execute(hosts.select().where(hosts.c.id.in_(keys)))
    return {row.id: row.value for row in rows}


class Owner:
    """Hosts and their feed."""

    def __init__(self, url: str, **options: float) -> None:
        self.db = Database(url)
        self.db.write(metadata.create_all)
        self.feed: feeds.Feed[int] = feeds.Feed(self.db, feed_tables, "hosts", _load, **options)

    def put(self, *keys: str, value: int = 0) -> None:
        def change(connection: Connection) -> None:
            connection.execute(hosts.delete().where(hosts.c.id.in_(keys)))
            connection.execute(hosts.insert(), [{"id": key, "value": value} for key in keys])
            feeds.publish(connection, "hosts", keys)

        self.db.write(change)

    def remove(self, *keys: str) -> None:
        def change(connection: Connection) -> None:
            connection.execute(hosts.delete().where(hosts.c.id.in_(keys)))
            feeds.publish(connection, "hosts", keys, deleted=True)

        self.db.write(change)

    def collect(self, revision: int) -> list[Any]:
        """All that can be had from a revision on without waiting."""
        stop, found = threading.Event(), []
        head = self.feed.head()
        for change in self.feed.watch(revision, stop, alive=lambda: not found or found[-1].revision < head):
            found.append(change)
        return found


@pytest.fixture
def owner(database_url: str) -> Iterator[Owner]:
    owner = Owner(database_url)
    yield owner
    owner.db.close()


def test_a_snapshot_and_what_follows(owner: Owner) -> None:
    owner.put("a", "b", value=1)
    owner.put("a", value=2)
    owner.remove("b")
    owner.put("c", value=3)
    snapshot = owner.collect(0)
    assert snapshot == [
        feeds.Change(0, "a", False, 2),
        feeds.Change(0, "c", False, 3),
        feeds.SnapshotEnd(5),
    ]
    owner.put("c", value=4)
    owner.remove("a")
    assert owner.collect(5) == [feeds.Change(6, "c", False, 4), feeds.Change(7, "a", True, None)]
    # Who resumes in the middle of what one transaction published misses nothing of it.
    owner.put("x", "y", "z")
    assert [change.key for change in owner.collect(8)] == ["y", "z"]


def test_concurrent_publishers_are_never_missed(owner: Owner) -> None:
    stop, seen, complete = threading.Event(), [], threading.Event()

    def watch() -> None:
        for change in owner.feed.watch(0, stop):
            if isinstance(change, feeds.Change):
                seen.append(change)
                if len({change.key for change in seen}) == 60:
                    complete.set()

    watcher = threading.Thread(target=watch)
    watcher.start()

    def work(number: int) -> None:
        for place in range(15):
            owner.put(f"{number}-{place}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert complete.wait(PATIENCE)
    stop.set()
    for thread in (*threads, watcher):
        thread.join()
    revisions = [change.revision for change in seen if change.revision]
    assert revisions == sorted(set(revisions))
    assert owner.feed.head() == 60


def test_a_watcher_of_another_process_sees_changes_soon(owner: Owner, database_url: str) -> None:
    """Another process = another Feed that nobody wakes."""
    other = Database(database_url)
    watched: feeds.Feed[int] = feeds.Feed(other, feed_tables, "hosts", _load)
    stop, arrived = threading.Event(), threading.Event()

    def watch() -> None:
        for change in watched.watch(0, stop):
            if isinstance(change, feeds.Change) and change.key == "late":
                arrived.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    owner.put("late")
    assert arrived.wait(PATIENCE)
    stop.set()
    watcher.join()
    other.close()


def test_who_was_away_too_long_gets_a_snapshot(database_url: str) -> None:
    owner = Owner(database_url, forget_seconds=0.0)
    owner.put("a", "b")
    owner.remove("a")
    owner.put("c")
    assert owner.feed.prune() == 1
    assert owner.collect(2) == [
        feeds.Change(0, "b", False, 0),
        feeds.Change(0, "c", False, 0),
        feeds.SnapshotEnd(4),
    ]
    assert owner.collect(3) == [feeds.Change(4, "c", False, 0)]
    # A revision that never was, as after a database was restored from yesterday.
    assert isinstance(owner.collect(99)[-1], feeds.SnapshotEnd)
    owner.db.close()


def test_large_snapshots_come_whole(sqlite_url: str) -> None:
    owner = Owner(sqlite_url)
    keys = [f"host-{number:05}" for number in range(1234)]
    owner.put(*keys)
    assert [change.key for change in owner.collect(0)[:-1]] == keys
    assert [change.key for change in owner.collect(1)] == keys[1:]
    owner.db.close()


class HostService(host_pb2_grpc.HostServiceServicer):
    """Serves the feed as the conductor does."""

    def __init__(self, owner: Owner, server: Server) -> None:
        self._owner = owner
        self._server = server

    def WatchHosts(self, request: host_pb2.WatchHostsRequest, context: Any) -> Iterator[Any]:
        for change in self._owner.feed.watch(
            request.resume_revision, self._server.stopping, context.is_active
        ):
            if isinstance(change, feeds.SnapshotEnd):
                yield host_pb2.WatchHostsResponse(snapshot_end=True, revision=change.revision)
            elif change.deleted:
                yield host_pb2.WatchHostsResponse(deleted_node_id=change.key, revision=change.revision)
            else:
                yield host_pb2.WatchHostsResponse(
                    host=host_pb2.HostState(node_id=change.key, vcpus=change.value),
                    revision=change.revision,
                )


class View:
    """What a scheduler knows of hosts."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        self.connects = 0
        self._told: set[str] = set()
        self._changed = threading.Condition()

    def on_connect(self) -> None:
        self.connects += 1
        self._told = set()

    def on_event(self, response: host_pb2.WatchHostsResponse) -> None:
        with self._changed:
            what = response.WhichOneof("change")
            if what == "host":
                self.hosts[response.host.node_id] = response.host.vcpus
                self._told.add(response.host.node_id)
            elif what == "deleted_node_id":
                self.hosts.pop(response.deleted_node_id, None)
            else:
                self.hosts = {key: value for key, value in self.hosts.items() if key in self._told}
            self._changed.notify_all()

    def comes_to(self, wanted: dict[str, int]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.hosts == wanted, timeout=PATIENCE)


def _serve(owner: Owner, port: int = 0) -> Server:
    server = Server(config.load(), "conductor", f"127.0.0.1:{port}")
    server.add(host_pb2_grpc.add_HostServiceServicer_to_server, HostService(owner, server))
    server.start()
    return server


def test_a_follower_goes_on_where_it_was_through_a_restart_of_the_owner(
    sqlite_url: str, follower: Callable[..., feeds.Follower]
) -> None:
    owner, view = Owner(sqlite_url), View()
    owner.put("a", value=1)
    server = _serve(owner)
    following = follower(server.port, view)
    assert following.synced.wait(PATIENCE)
    assert view.comes_to({"a": 1})
    owner.put("b", value=2)
    assert view.comes_to({"a": 1, "b": 2})
    began = time.monotonic()
    server.stop(grace=PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2  # streams end when told, not when the grace is over
    owner.put("c", value=3)
    owner.remove("a")
    server = _serve(owner, server.port)
    assert view.comes_to({"b": 2, "c": 3})
    following.stop()
    server.stop(grace=0)
    owner.db.close()


@pytest.fixture
def follower() -> Iterator[Callable[..., feeds.Follower]]:
    opened: list[Any] = []

    def make(port: int, view: View) -> feeds.Follower:
        connection = channel.connect(config.load(), f"127.0.0.1:{port}")
        opened.append(connection)
        stub = host_pb2_grpc.HostServiceStub(connection)
        following = feeds.Follower(
            stub.WatchHosts,
            lambda revision: host_pb2.WatchHostsRequest(resume_revision=revision),
            view.on_event,
            on_connect=view.on_connect,
        )
        following.start()
        return following

    yield make
    for connection in opened:
        connection.close()


@pytest.mark.redis
def test_redis_wakes_watchers_of_other_processes(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from protonova.services.runtime import cache
    from protonova.services.runtime.feeds import wake

    monkeypatch.setattr(wake, "_redis", None)
    conf = config.load(redis={"url": redis_url, "prefix": f"test-{time.time_ns()}"})
    wake.connect(conf)
    for _ in range(200):
        if wake.across_processes():
            break
        threading.Event().wait(0.01)
    seen = wake.count("hosts")
    # As another process tells it; the subscription may still be on its way, so tell until it is heard.
    for _ in range(100):
        cache.connect(conf).publish(f"{conf.redis.prefix}:feeds", "hosts")
        wake.wait("hosts", seen, 0.1)
        if wake.count("hosts") > seen:
            break
    assert wake.count("hosts") > seen
    listener = cache.connect(conf).pubsub(ignore_subscribe_messages=True)
    listener.subscribe(f"{conf.redis.prefix}:feeds")
    wake.tell("cells")
    for _ in range(100):
        message = listener.get_message(timeout=0.1)
        if message is not None and message["data"] == b"cells":
            break
    else:
        raise AssertionError("nothing was told")
    listener.close()
