"""What a supervisor is to run: a plain list of processes, written by ``up`` and read by the supervisor.

A plan can be looked at (``DIR/run/plan.json``) and knows nothing of how processes are started; the supervisor
knows nothing of what they are.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Process:
    """One process: a Python function that is called with arguments, in a process of its own."""

    name: str
    service: str
    replica: int
    # "package.module:function", called with the list of arguments.
    target: str
    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    # Where it will be reached.
    address: str = ""
    protocol: str = "grpc"
    # At the start of the cloud, one of a higher stage waits until those of the lower ones serve.
    start_stage: int = 0
    # Processes of a lower stage are stopped before those of a higher one.
    stop_stage: int = 0


@dataclass(frozen=True)
class Plan:
    """All processes of a cloud, what to load before the first fork, and how to tell that it is usable."""

    processes: list[Process]
    preload: list[str] = field(default_factory=list)
    # A function like a process's target, run once all are up; it returns when the cloud can be used.
    probe: str = ""
    probe_arguments: list[str] = field(default_factory=list)
    start_seconds: float = 60.0
    stop_seconds: float = 10.0
    facts: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def read(cls, path: Path) -> Plan:
        raw = json.loads(path.read_text())
        raw["processes"] = [Process(**process) for process in raw["processes"]]
        return cls(**raw)
