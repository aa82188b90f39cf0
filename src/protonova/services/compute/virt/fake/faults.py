"""What goes wrong in the fake hypervisor, and how long things take there.

A plan is a list of rules, from a dict or from a JSON file that is read again whenever it changes, so that a
running cloud can be disturbed from outside:

    {"rules": [
      {"host": "fake-03", "call": "spawn", "times": 3, "error": "HostRefuses"},
      {"call": "spawn", "stage": "disks", "delay": 0.05},
      {"call": "power_off", "stage": "guest", "deaf": true},
      {"guest": "instance-0000000?", "call": "spawn", "stage": "start", "kill": true}
    ]}

host, guest   shell patterns; guest matches the server id, the hypervisor's name or the display name
call          spawn, destroy, power_on, power_off, reboot, console_output, guests, inventory, pause, unpause,
              suspend, resume, trigger_crash_dump, diagnostics, set_password, rescue, unrescue, rebuild,
              attach_volume, detach_volume, swap_volume, extend_volume,
              snapshot_volume, merge_volume, attach_interface, detach_interface,
              attach_share, detach_share, mount_share (of each share, at each start),
              check_receive, set_aside, take_back, discard, aside_files, receive, live_prepare, live_migrate,
              live_finish or "*"
stage         part of the call ("begin" if not given; "*" = each): image, disks, network, define, start, guest,
              copy, check, end
skip, times   let the first `skip` matches pass; then apply `times` times (default: always)
delay         seconds to wait
error         class name of `virt.errors` to raise, with `message`
deaf          the guest does not obey (graceful power off, soft reboot, giving a device back)
kill          the process ends as by SIGKILL

All rules that match apply, in order: delays add up, the first error ends it.
"""

from __future__ import annotations

import fnmatch
import json
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protonova.services.compute.virt import errors


@dataclass
class Rule:
    call: str = "*"
    stage: str = "begin"
    host: str = "*"
    guest: str = "*"
    skip: int = 0
    times: int | None = None
    delay: float = 0.0
    error: str = ""
    message: str = ""
    deaf: bool = False
    kill: bool = False
    seen: int = field(default=0, init=False)

    def matches(self, host: str, call: str, stage: str, guest: Iterable[str]) -> bool:
        return (
            self.call in ("*", call)
            and self.stage in ("*", stage)
            and (self.host == "*" or fnmatch.fnmatchcase(host, self.host))
            and (self.guest == "*" or any(fnmatch.fnmatchcase(name, self.guest) for name in guest))
        )

    def due(self) -> bool:
        self.seen += 1
        past = self.seen - self.skip
        return past > 0 and (self.times is None or past <= self.times)


@dataclass(frozen=True)
class Verdict:
    """What the plan wants to happen at one point."""

    delay: float = 0.0
    error: errors.DriverError | None = None
    deaf: bool = False


NOTHING = Verdict()


class FaultPlan:
    def __init__(self, rules: Iterable[Mapping[str, Any]] = (), file: Path | None = None) -> None:
        self._guard = threading.Lock()
        self._rules = [Rule(**rule) for rule in rules]
        self._file = file
        self._stamp: tuple[int, int, int] | None = None

    def set(self, *rules: Mapping[str, Any]) -> None:
        """Replace all rules."""
        with self._guard:
            self._rules = [Rule(**rule) for rule in rules]

    def at(self, host: str, call: str, stage: str, *guest: str) -> Verdict:
        """Counts this visit and says what is to happen. Does not come back where a rule says `kill`."""
        if self._file is not None:
            self._reread(self._file)
        if not self._rules:
            return NOTHING
        delay, deaf = 0.0, False
        error: errors.DriverError | None = None
        with self._guard:
            for rule in self._rules:
                if not rule.matches(host, call, stage, guest) or not rule.due():
                    continue
                if rule.kill:
                    os.kill(os.getpid(), signal.SIGKILL)
                delay += rule.delay
                deaf = deaf or rule.deaf
                if rule.error:
                    kind = errors.BY_NAME.get(rule.error, errors.DriverError)
                    error = kind(rule.message or f"{call} on {host} fails at {stage} by the fault plan")
                    break
        return Verdict(delay, error, deaf)

    def _reread(self, file: Path) -> None:
        try:
            stat = file.stat()
        except FileNotFoundError:
            if self._stamp is not None:
                self._stamp = None
                self.set()
            return
        stamp = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if stamp == self._stamp:
            return
        try:
            rules = json.loads(file.read_text()).get("rules", [])
            fresh = [Rule(**rule) for rule in rules]
        except (ValueError, TypeError, AttributeError, OSError):
            return  # half written: the next call reads it again
        with self._guard:
            self._rules = fresh
        self._stamp = stamp
