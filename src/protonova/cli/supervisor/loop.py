"""The supervisor: one thread, one selector, all children of a plan.

It owns which process runs under which pid. It reaps and restarts with back-off, hands out status over the
control socket, and stops everything in stages. It tells ``ready`` once all processes serve and the plan's probe
has found the cloud usable; a start that cannot succeed ends with the reason, and nothing is left running.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from protonova.cli.layout import StateDirectory
from protonova.cli.plan import Plan, Process
from protonova.cli.supervisor import control, zygote
from protonova.cli.supervisor.child import Child

# A process that dies this often before it has served once will not serve.
HOPELESS = 3


class Supervisor:
    """Runs a plan until it is told to stop."""

    def __init__(
        self, state: StateDirectory, plan: Plan, *, say: Any = print, private: Sequence[int] = ()
    ) -> None:
        self.state = state
        self.plan = plan
        self.say = say
        # Open descriptors that no child may keep.
        self.private = list(private)
        self.children = [Child(p, state.log(p.name), plan.start_seconds) for p in plan.processes]
        probe = Process("ready-check", "ready-check", 1, plan.probe, plan.probe_arguments)
        self.probe = Child(probe, state.log(probe.name), plan.start_seconds) if plan.probe else None
        self._unstarted = list(self.children)
        self.usable = False
        self.failure = ""
        self.started_at = time.monotonic()
        self.usable_after: float | None = None
        self._stopping = False
        self._kill_at: float | None = None
        self._waiting: list[control.Conversation] = []
        self._stop_waiting: list[control.Conversation] = []
        self._conversations: list[control.Conversation] = []
        self._selector = selectors.EpollSelector()
        self._wakeup, self._wakeup_writer = socket.socketpair()
        self._listener: socket.socket | None = None

    def run(self) -> int:
        """Returns 0 after an ordinary stop, 1 when the cloud could not be started."""
        self._listener = control.listen(self.state.socket)
        self._watch_signals()
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._start_next_stage()
        while not self._finished():
            for key, _ in self._selector.select(self._patience()):
                key.data(key.fileobj)
            self._reap()
            self._tick()
        for conversation in self._stop_waiting:
            conversation.answer({"stopped": True})
        self.state.socket.unlink(missing_ok=True)
        return 1 if self.failure else 0

    # Signals and time

    def _watch_signals(self) -> None:
        self._wakeup.setblocking(False)
        self._wakeup_writer.setblocking(False)
        signal.set_wakeup_fd(self._wakeup_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        self._selector.register(self._wakeup, selectors.EVENT_READ, self._signalled)

    def _signalled(self, wakeup: socket.socket) -> None:
        numbers = b""
        with suppress(BlockingIOError):
            while piece := wakeup.recv(4096):
                numbers += piece
        if {signal.SIGTERM, signal.SIGINT} & set(numbers):
            self._stop()

    def _all(self) -> list[Child]:
        return [*self.children, self.probe] if self.probe else self.children

    def _patience(self) -> float | None:
        due = [child.due for child in self._all() if child.due is not None]
        if self._kill_at is not None:
            due.append(self._kill_at)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _tick(self) -> None:
        now = time.monotonic()
        for child in self._all():
            if child.due is None or child.due > now:
                continue
            if child.state == "waiting":
                self._start(child)
            else:
                child.overdue()
        if self._stopping:
            self._continue_stop(now)
        elif not self.usable:
            self._continue_start(now)

    # Children

    def _start(self, child: Child) -> None:
        inherited = [key.fd for key in self._selector.get_map().values()]
        inherited += [*self.private, self._wakeup_writer.fileno(), self._selector.fileno()]
        child.start(time.monotonic(), inherited)
        assert child.ready_fd is not None
        self._selector.register(child.ready_fd, selectors.EVENT_READ, lambda _: self._noticed(child))

    def _noticed(self, child: Child) -> None:
        if child.read_notice(time.monotonic()):
            self._forget_notice(child)

    def _forget_notice(self, child: Child) -> None:
        if child.ready_fd is not None:
            self._selector.unregister(child.ready_fd)
            child.close_notice()

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            # What the process itself had started goes with it; its pid is still ours to name the group.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(found.si_pid, signal.SIGKILL)
            pid, status = os.waitpid(found.si_pid, 0)
            child = next((child for child in self._all() if child.pid == pid), None)
            if child is not None:
                self._ended(child, status)

    def _ended(self, child: Child, status: int) -> None:
        if child.ready_fd is not None:
            child.read_notice(time.monotonic())
        self._forget_notice(child)
        child.exited(status, time.monotonic())
        if child is self.probe and status == 0 and not self._stopping:
            child.stop()
            self._became_usable()
        elif child.state == "waiting" and child is not self.probe:
            self.say(f"{child.name} {child.last_exit}; it is started again")

    # The way up

    def _continue_start(self, now: float) -> None:
        hopeless = [child for child in self.children if child.failures >= HOPELESS and not child.ready_at]
        if hopeless:
            child = hopeless[0]
            self._fail(
                f"{child.name} cannot be started: it {child.last_exit}{child.last_words()}; see {child.log}"
            )
        elif now - self.started_at > self.plan.start_seconds:
            late = [child.name for child in self.children if child.state != "ready"]
            missing = ", ".join(late) or "a host that takes servers"
            self._fail(f"not usable after {self.plan.start_seconds:.0f} s: waiting for {missing}")
        elif all(child.state == "ready" for child in self.children if child not in self._unstarted):
            if self._unstarted:
                self._start_next_stage()
            elif self.probe is None:
                self._became_usable()
            elif self.probe.state == "stopped":
                self._start(self.probe)

    def _start_next_stage(self) -> None:
        """Who needs others starts when they serve: a call in vain would make it wait before the next one."""
        stage = min(child.process.start_stage for child in self._unstarted)
        starting = [child for child in self._unstarted if child.process.start_stage == stage]
        self._unstarted = [child for child in self._unstarted if child not in starting]
        for child in starting:
            self._start(child)

    def _became_usable(self) -> None:
        self.usable = True
        self.usable_after = time.monotonic() - self.started_at
        self.say(f"ready after {self.usable_after:.1f} s")
        self._answer_waiting()

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self.say(reason)
        self._answer_waiting()
        self._stop()

    def _answer_waiting(self) -> None:
        for conversation in self._waiting:
            conversation.answer(self._outcome())
        self._waiting.clear()

    def _outcome(self) -> dict[str, Any]:
        return {"ready": self.usable, "error": self.failure, "seconds": self.usable_after}

    # The way down

    def _stop(self) -> None:
        if self._stopping:
            return
        self._stopping = True
        if not self.usable and not self.failure:
            self.failure = "stopped before it was usable"
        self._answer_waiting()
        if self.probe:
            self.probe.stop()
        self._kill_at = time.monotonic() + self.plan.stop_seconds
        self._continue_stop(time.monotonic())

    def _continue_stop(self, now: float) -> None:
        left = [child for child in self.children if child.state != "stopped"]
        stage = min((child.process.stop_stage for child in left), default=0)
        for child in left:
            if child.process.stop_stage == stage and child.state != "stopping":
                child.stop()
        if self._kill_at is not None and now >= self._kill_at:
            self._kill_at = now + 1.0
            for child in self._all():
                child.stop()
                child.signal(signal.SIGKILL)

    def _finished(self) -> bool:
        return self._stopping and all(child.state == "stopped" for child in self._all())

    # The control socket

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError):
            connection, _ = listener.accept()
            conversation = control.Conversation(connection)
            self._conversations.append(conversation)
            self._selector.register(conversation, selectors.EVENT_READ, self._converse)

    def _converse(self, conversation: control.Conversation) -> None:
        commands = conversation.receive()
        if commands is None:
            self._selector.unregister(conversation)
            self._conversations.remove(conversation)
            for waiting in (self._waiting, self._stop_waiting):
                if conversation in waiting:
                    waiting.remove(conversation)
            conversation.close()
            return
        for command in commands:
            self._command(conversation, command)

    def _command(self, conversation: control.Conversation, command: dict[str, Any]) -> None:
        match command.get("command"):
            case "status":
                conversation.answer(self.describe())
            case "wait" if self.usable or self.failure:
                conversation.answer(self._outcome())
            case "wait":
                self._waiting.append(conversation)
            case "stop":
                self._stop_waiting.append(conversation)
                self._stop()
            case "restart":
                conversation.answer(self._signal(command.get("name"), signal.SIGTERM))
            case "kill":
                conversation.answer(self._signal(command.get("name"), command.get("signal", signal.SIGKILL)))
            case "halt":
                conversation.answer(self._halt(command.get("name")))
            case "start":
                conversation.answer(self._resume(command.get("name")))
            case other:
                conversation.answer({"error": f"unknown command {other!r}"})

    def _halt(self, name: Any) -> dict[str, Any]:
        child = self._child(name)
        if child is None:
            return _unknown(name)
        pid = child.pid
        child.stop()
        return {"pid": pid}

    def _resume(self, name: Any) -> dict[str, Any]:
        child = self._child(name)
        if child is None:
            return _unknown(name)
        if child.state != "stopped" or self._stopping:
            return {"error": f"{name} is not stopped: it is {child.state}"}
        child.resume(time.monotonic())
        return {"name": name}

    def _child(self, name: Any) -> Child | None:
        return next((child for child in self.children if child.name == name), None)

    def _signal(self, name: Any, number: Any) -> dict[str, Any]:
        child = self._child(name)
        if child is None:
            return _unknown(name)
        pid = child.pid
        if not isinstance(number, int) or not child.signal(number):
            return {"error": f"{name} is not running"}
        return {"pid": pid}

    def describe(self) -> dict[str, Any]:
        now = time.monotonic()
        return {
            "pid": os.getpid(),
            "state_directory": str(self.state.root),
            "ready": self.usable and not self._stopping,
            "ready_after_seconds": self.usable_after,
            "error": self.failure,
            "facts": self.plan.facts,
            "processes": [child.describe(now) for child in self.children],
        }


def _unknown(name: Any) -> dict[str, Any]:
    return {"error": f"there is no process {name!r}"}


def supervise(state: StateDirectory, say: Any = print, private: Sequence[int] = ()) -> int:
    """Loads what the plan's processes share, then runs the plan."""
    plan = Plan.read(state.plan)
    zygote.preload(plan.preload)
    if zygote.threads() != 1:
        say("a preloaded module has started a thread; a fork would not be safe")
        return 1
    return Supervisor(state, plan, say=say, private=private).run()
