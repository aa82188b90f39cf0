"""Tells the cell what guests do outside any operation, and takes away guests that nobody owns.

The hypervisor owns power states. When a driver sees a change, the guest is looked at and what it is then is
reported; a full report of every host follows at start, after missed events, and now and then, so that nothing stays
unseen. A guest that its cell calls unsettled, for it is at work on it, is looked at again after a while.

A guest is an orphan if and only if it carries our mark and its cell has said twice, some seconds apart, that no
server of that id lives on this host. What happens to it is the operator's choice: `reap`, `stop`, `log`,
`ignore`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable

from google.protobuf import timestamp_pb2

from protonova.conductor.v1 import host_pb2, host_pb2_grpc
from protonova.services.compute.hosts import Host, Hosts
from protonova.services.compute.spec import power_state
from protonova.services.compute.virt import errors as virt_errors
from protonova.services.compute.virt.driver import GuestEvent, GuestEventKind, PowerState
from protonova.services.runtime import context, errors

LOG = logging.getLogger(__name__)

_BATCH = 500
_RETRY_SECONDS = 1.0

Key = tuple[str, str]  # host, server id


class GuestSync:
    """A thread between the drivers' events and the cell."""

    def __init__(
        self,
        hosts: Hosts,
        cell: host_pb2_grpc.HostServiceStub,
        *,
        orphan_seconds: float,
        orphan_action: str,
        is_told: Callable[[str], bool] = lambda _: True,
        tidy: Callable[[Host], None] = lambda _: None,
    ) -> None:
        self._hosts = hosts
        self._cell = cell
        self._orphan_seconds = orphan_seconds
        self._orphan_action = orphan_action
        # Whether a host knows who it is, and so which guests are its own.
        self._is_told = is_told
        # Called for a host whenever all its guests are reported.
        self._tidy = tidy
        self._changed = threading.Condition()
        self._news: set[Key] = set()
        self._resync: set[str] = {host.name for host in hosts}
        self._suspects: dict[Key, float] = {}
        self._unsettled: dict[Key, float] = {}
        self._stopping = False
        self._unsubscribe: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="guest-sync", daemon=True)

    def start(self) -> None:
        for host in self._hosts:
            self._unsubscribe.append(host.driver.events(self._listener(host.name)))
        self._thread.start()

    def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def report_all(self) -> int:
        """Has every guest of every host told anew, soon; how many hosts these are."""
        with self._changed:
            self._resync |= {host.name for host in self._hosts}
            self._changed.notify_all()
            return len(self._resync)

    def _listener(self, host: str) -> Callable[[GuestEvent], None]:
        def heard(event: GuestEvent) -> None:
            with self._changed:
                if event.kind is GuestEventKind.RESYNC:
                    self._resync.add(host)
                else:
                    self._news.add((host, event.server_id))
                self._changed.notify_all()

        return heard

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._stopping or self._news or self._resync, timeout=self._until_due()
                )
                if self._stopping:
                    return
                news, self._news = self._news, set()
                resync, self._resync = self._resync, set()
            try:
                with context.use(context.internal("compute")):
                    self._tell(news, resync)
                    self._settle_suspects()
                    self._look_again()
            except (errors.Error, virt_errors.DriverError) as error:
                LOG.info("Guests not reported, trying again: %s", error)
                self._put_back(news, resync)

    def _until_due(self) -> float | None:
        """Seconds until a guest is to be asked about again; None = there is none."""
        dues = [
            *(since + self._orphan_seconds for since in self._suspects.values()),
            *(since + _RETRY_SECONDS for since in self._unsettled.values()),
        ]
        return max(0.0, min(dues) - time.monotonic()) if dues else None

    def _put_back(self, news: set[Key], resync: set[str]) -> None:
        """What could not be told waits."""
        with self._changed:
            self._news |= news
            self._resync |= resync
            self._changed.wait_for(lambda: self._stopping, timeout=_RETRY_SECONDS)

    def _tell(self, news: Iterable[Key], resync: set[str]) -> None:
        keys = sorted(news)
        for start in range(0, len(keys), _BATCH):
            self._send([self._seen(key) for key in keys[start : start + _BATCH]])
        for name in sorted(resync):
            if not self._is_told(name):
                raise errors.Unavailable(f"The cell has not said yet who {name} is.", reason="HOST_UNTOLD")
            host = self._hosts.get(name)
            looked = _now()
            reports = [
                _report(name, state.server_id, state.power_state, looked) for state in host.driver.guests()
            ]
            self._send(reports, complete_hosts=[name], looked=looked)
            self._tidy(host)

    def _seen(self, key: Key) -> host_pb2.GuestReport:
        """What a guest is now."""
        looked = _now()
        try:
            state = self._hosts.get(key[0]).driver.guest(key[1])
        except virt_errors.GuestNotFound:
            return _report(*key, PowerState.NOSTATE, looked, missing=True)
        return _report(*key, state.power_state, looked)

    def _send(
        self,
        reports: Iterable[host_pb2.GuestReport],
        complete_hosts: Iterable[str] = (),
        looked: timestamp_pb2.Timestamp | None = None,
    ) -> None:
        request = host_pb2.ReportGuestsRequest(
            guests=reports, complete_hosts=complete_hosts, observed_at=looked
        )
        answer = self._cell.ReportGuests(request)
        unknown, unsettled = set(answer.unknown_server_ids), set(answer.unsettled_server_ids)
        now = time.monotonic()
        for report in request.guests:
            key = (report.host, report.server_id)
            if report.server_id in unknown and not report.missing:
                self._suspects.setdefault(key, now)
            else:
                self._suspects.pop(key, None)
            if report.server_id in unsettled:
                self._unsettled[key] = now
            else:
                self._unsettled.pop(key, None)

    def _look_again(self) -> None:
        """At guests whose cell was at work on them a while ago."""
        edge = time.monotonic() - _RETRY_SECONDS
        self._tell([key for key, since in self._unsettled.items() if since <= edge], set())

    def _settle_suspects(self) -> None:
        """Asks again about guests called unknown a while ago, and acts on those that still are."""
        now = time.monotonic()
        for key, since in list(self._suspects.items()):
            if now - since < self._orphan_seconds:
                continue
            del self._suspects[key]
            host = self._hosts.get(key[0])
            try:
                state = host.driver.guest(key[1])
            except virt_errors.GuestNotFound:
                continue
            report = _report(*key, state.power_state, _now())
            answer = self._cell.ReportGuests(host_pb2.ReportGuestsRequest(guests=[report]))
            if key[1] in answer.unknown_server_ids:
                self._act(host, key[1])

    def _act(self, host: Host, server_id: str) -> None:
        if self._orphan_action == "ignore":
            return
        LOG.warning("Guest %s on %s has no server; action: %s", server_id, host.name, self._orphan_action)
        if self._orphan_action == "reap":
            host.driver.destroy(server_id)
        elif self._orphan_action == "stop":
            host.driver.power_off(server_id, graceful=False)


def _now() -> timestamp_pb2.Timestamp:
    now = timestamp_pb2.Timestamp()
    now.GetCurrentTime()
    return now


def _report(
    host: str, server_id: str, state: PowerState, looked: timestamp_pb2.Timestamp, missing: bool = False
) -> host_pb2.GuestReport:
    return host_pb2.GuestReport(
        host=host, server_id=server_id, power_state=power_state(state), missing=missing, observed_at=looked
    )
