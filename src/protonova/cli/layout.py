"""Where a cloud on one machine keeps its files, and which ports it takes.

Everything is derived from two facts: the state directory and the base port. Both are fixed for a cloud, so a
process that is started again finds its files and is found at its address.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DEFAULT_BASE_PORT = 8774
STATE_DIRECTORY_VARIABLE = "PROTONOVA_STATE_DIR"


def default_state_directory() -> Path:
    """``$PROTONOVA_STATE_DIR``, else the user's state directory."""
    named = os.environ.get(STATE_DIRECTORY_VARIABLE)
    if named:
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "protonova"


@dataclass(frozen=True)
class StateDirectory:
    """The files of one cloud."""

    root: Path

    @classmethod
    def at(cls, path: str | Path | None) -> StateDirectory:
        return cls(Path(path or default_state_directory()).expanduser().absolute())

    @property
    def config(self) -> Path:
        """Generated configuration of all services; rewritten by each start."""
        return self.root / "protonova.conf"

    def cell_config(self, cell: str) -> Path:
        """What differs for the processes of one cell."""
        return self.root / "cells" / f"{cell}.conf"

    @property
    def databases(self) -> Path:
        return self.root / "db"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def socket(self) -> Path:
        """Control socket of the supervisor."""
        return self.run / "supervisor.sock"

    @property
    def lock(self) -> Path:
        """Held locked by the supervisor as long as it lives."""
        return self.run / "supervisor.lock"

    @property
    def plan(self) -> Path:
        """What the supervisor is to run."""
        return self.run / "plan.json"

    @property
    def options(self) -> Path:
        """Options of the last start, taken again where a later one names none."""
        return self.root / "options.json"

    @property
    def secrets(self) -> Path:
        """Passwords made for this cloud."""
        return self.root / "secrets.json"

    @property
    def clouds(self) -> Path:
        return self.root / "clouds.yaml"

    @property
    def openrc(self) -> Path:
        return self.root / "openrc"

    @property
    def key(self) -> Path:
        """Private half of the key pair that `seed` makes."""
        return self.root / "first-key.pem"

    def create(self) -> None:
        """Makes the directories; secrets and sockets are the owner's alone."""
        self.root.mkdir(parents=True, exist_ok=True)
        for directory in (self.databases, self.logs, self.run, self.root / "cells"):
            directory.mkdir(exist_ok=True)
        self.run.chmod(0o700)


@dataclass(frozen=True)
class Ports:
    """Ports of a cloud, counted from its base port; fixed, so that a restarted process keeps its address."""

    base: int = DEFAULT_BASE_PORT

    @property
    def gateway(self) -> int:
        return self.base

    @property
    def metadata(self) -> int:
        return self.base + 1

    @property
    def placement_rest(self) -> int:
        return self.base + 4

    @property
    def api(self) -> int:
        return self.base + 10

    @property
    def scheduler(self) -> int:
        return self.base + 11

    @property
    def placement(self) -> int:
        return self.base + 12

    @property
    def companions(self) -> int:
        return self.base + 13

    def replica(self, port: int, number: int) -> int:
        """Port of the replica with this number, counted from 1, of the service whose first one has that port."""
        return port + _REPLICA_STRIDE * (number - 1)

    def conductor(self, cell: int) -> int:
        """Port of the conductor of the cell with this number, counted from 1."""
        return self.base + 19 + cell

    def compute(self, cell: int) -> int:
        """Port of the agent process of the cell with this number, counted from 1."""
        return self.base + 39 + cell


MAX_CELLS = 20
MAX_REPLICAS = 9
# From the first port of services (base + 10) to beyond the last one (base + 39 + MAX_CELLS).
_REPLICA_STRIDE = 50
