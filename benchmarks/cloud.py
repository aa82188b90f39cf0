"""A cloud to be measured: started in a directory of its own, on ports of its own, and stopped again."""

from __future__ import annotations

import fcntl
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.client import Account, Client, wait_for
from protonova.cli.layout import StateDirectory
from protonova.cli.supervisor.control import ask

HOSTS = 10
_FIRST_PORT, _LAST_PORT, _BLOCK = 21000, 31000, 100

# Hosts large enough that neither they nor quotas are what is measured.
_CONFIG = """
[quota]
instances = -1
cores = -1
ram = -1
server_group_members = -1
[fake]
vcpus = 4096
memory_mb = 4194304
disk_gb = 65536
"""


@dataclass
class Cloud:
    """A running cloud. `cold_start_seconds` is from the command to its being ready."""

    state: Path
    cold_start_seconds: float

    def client(self, name: str = "protonova-admin") -> Client:
        clouds = yaml.safe_load((self.state / "clouds.yaml").read_text())["clouds"]
        auth = clouds[name]["auth"]
        account = Account(auth["auth_url"], auth["username"], auth["password"], auth["project_name"])
        return Client.login(account)

    def processes(self) -> list[dict[str, Any]]:
        """As `protonova status --json` lists them."""
        found = protonova("status", "--state-dir", str(self.state), "--json", capture=True)
        status = json.loads(found)
        return status["processes"] if isinstance(status, dict) else status

    def supervised(self) -> list[dict[str, Any]]:
        """The processes as the supervisor alone sees them, which costs little to ask."""
        found: list[dict[str, Any]] = ask(StateDirectory.at(self.state).socket, "status")["processes"]
        return found

    def process(self, name: str) -> dict[str, Any]:
        return next(process for process in self.supervised() if process["name"] == name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Sends a signal to a process, and returns which pid it was."""
        pid: int = self._tell("kill", name=name, signal=int(number))["pid"]
        return pid

    def halt(self, name: str) -> None:
        """Ends a process and keeps it from being started again; returns when it has ended."""
        self._tell("halt", name=name)
        wait_for(lambda: self.process(name)["state"] == "stopped", seconds=20, what=f"{name} to end")

    def resume(self, name: str) -> None:
        """Starts what was halted; returns when it serves."""
        self._tell("start", name=name)
        wait_for(lambda: self.process(name)["healthy"], seconds=20, what=f"{name} to serve")

    def wait_restarted(self, name: str, old_pid: int, seconds: float = 20) -> float:
        """Until a process serves again under another pid; for how many seconds it has."""

        def back() -> dict[str, Any] | None:
            now = self.process(name)
            return now if now["healthy"] and now["pid"] != old_pid else None

        found: dict[str, Any] = wait_for(back, seconds=seconds, what=f"{name} to be back")
        return float(found["uptime_seconds"])

    def _tell(self, command: str, **arguments: Any) -> dict[str, Any]:
        answer = ask(StateDirectory.at(self.state).socket, command, **arguments)
        if answer.get("error"):
            raise RuntimeError(answer["error"])
        return answer

    def pss_mib(self) -> dict[str, float]:
        """Proportional memory by process name, children and supervisor included; MiB."""
        import psutil

        usage: dict[str, float] = {}
        roots = {process["pid"]: f"{process['service']}" for process in self.processes() if process["pid"]}
        supervisor = psutil.Process(next(iter(roots))).ppid()
        for pid, name in {**roots, supervisor: "supervisor"}.items():
            members = [psutil.Process(pid)]
            if name != "supervisor":
                members += members[0].children(recursive=True)
            for member in members:
                if member.pid in roots and member.pid != pid:
                    continue
                usage[name] = usage.get(name, 0) + process_pss_mib(member.pid)
        return usage


@contextmanager
def running(
    database: str | Mapping[str, str],
    *,
    computes: int = HOSTS,
    cells: int = 1,
    replicas: int = 1,
    driver: str = "fake",
    config: str = "",
    keep: bool = False,
) -> Iterator[Cloud]:
    """A cloud on databases of its own (see `databases`), or on those given: URLs by section."""
    state = Path(tempfile.mkdtemp(prefix="protonova-bench-"))
    own_databases = databases(database) if isinstance(database, str) else nullcontext(database)
    try:
        with own_databases as urls, ports(60 + 50 * (replicas - 1)) as base_port:
            file = state / "bench.conf"
            sections = "".join(f"[{section}]\nconnection = {url}\n" for section, url in urls.items())
            file.write_text(_CONFIG + sections + config)
            started = time.monotonic()
            try:
                protonova(
                    "up", "--detach", "--driver", driver, "--computes", str(computes), "--cells", str(cells),
                    "--replicas", str(replicas), "--config", str(file), "--state-dir", str(state),
                    "--base-port", str(base_port),
                )  # fmt: skip
                yield Cloud(state, time.monotonic() - started)
            finally:
                protonova("down", "--state-dir", str(state))
    finally:
        if not keep:
            shutil.rmtree(state, ignore_errors=True)


def protonova(*words: str, capture: bool = False) -> str:
    """Runs the operator's command of this Python."""
    command = [sys.executable, "-m", "protonova.cli.main", *words]
    # This repository's own code, installed or not.
    paths = [str(Path(__file__).resolve().parents[1] / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"protonova {' '.join(words)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout if capture else ""


@contextmanager
def ports(count: int = 60) -> Iterator[int]:
    """A base port with as many free ones behind it, which no other caller is given meanwhile.

    They are below those that the system hands out by itself. Who starts or is restarting may not listen yet, so
    that to find them free is not enough: each block of ports has a lock, which ends with its process at the latest.
    """
    blocks = -(-count // _BLOCK)
    bases = list(range(_FIRST_PORT, _LAST_PORT - blocks * _BLOCK, _BLOCK))
    random.shuffle(bases)
    for base in bases:
        with ExitStack() as claim:
            own = all(claim.enter_context(_claimed(base + number * _BLOCK)) for number in range(blocks))
            if own and all(_is_free(base + number) for number in range(count)):
                yield base
                return
    raise RuntimeError("no free range of ports")


@contextmanager
def _claimed(block: int) -> Iterator[bool]:
    """Whether the block of ports that begins here is the caller's alone, for as long as this is entered."""
    directory = Path(tempfile.gettempdir()) / "protonova-ports"
    directory.mkdir(exist_ok=True)
    with (directory / str(block)).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def process_pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextmanager
def databases(kind: str) -> Iterator[dict[str, str]]:
    """The databases of a cloud, as URLs by section: files it makes itself (`sqlite`, none to be named), or new
    ones on the `postgresql` or `mariadb` server of the tests, dropped afterwards."""
    if kind == "sqlite":
        yield {}
        return
    import sqlalchemy as sa

    variable, usual, drop = _SERVERS[kind]
    server = os.environ.get(variable, usual)
    mark = uuid.uuid4().hex[:12]
    names = {section: f"cloud_{mark}_{section}" for section in _SECTIONS}
    admin = sa.create_engine(server, isolation_level="AUTOCOMMIT")
    try:
        with admin.connect() as connection:
            for name in names.values():
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        yield {section: f"{server.rpartition('/')[0]}/{name}" for section, name in names.items()}
    finally:
        with admin.connect() as connection:
            for name in names.values():
                connection.exec_driver_sql(drop.format(name))
        admin.dispose()


_SECTIONS = ("api_database", "database", "placement_database")
_SERVERS = {
    "postgresql": (
        "PROTONOVA_TEST_POSTGRESQL_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/postgres",
        "DROP DATABASE IF EXISTS {} WITH (FORCE)",
    ),
    "mariadb": (
        "PROTONOVA_TEST_MARIADB_URL",
        "mysql+pymysql://root@127.0.0.1:3306/mysql",
        "DROP DATABASE IF EXISTS {}",
    ),
}
