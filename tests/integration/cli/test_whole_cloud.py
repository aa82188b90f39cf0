"""`protonova up` as an operator has it: a whole cloud of real processes, used, broken, stopped and started."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.client import wait_for
from benchmarks.cloud import Cloud, ports
from protonova.cli import launch
from protonova.cli.layout import StateDirectory

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.timeout(180)


class Command:
    """The operator's command, for one state directory."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = StateDirectory.at(state)
        self.port = port

    def __call__(self, *words: str, expect: int = 0) -> str:
        command = [sys.executable, "-m", "protonova.cli.main", *words, "--state-dir", str(self.state.root)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "160"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == expect, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def up(self, *words: str) -> str:
        return self("up", "--detach", "--driver", "fake", "--base-port", str(self.port), *words)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self("status", "--json"))
        return found

    def process(self, name: str) -> dict[str, Any]:
        return next(p for p in self.status()["processes"] if p["name"] == name)


@pytest.fixture(scope="module")
def protonova(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A running cloud of two cells, in a directory with a space in its name; all tests of this module use it."""
    with ports() as port:
        command = Command(tmp_path_factory.mktemp("a cloud") / "state", port)
        command.up("--computes", "3", "--cells", "2")
        yield command
        launch.stop(command.state)


def test_every_service_is_a_process_of_its_own_and_healthy(protonova: Command) -> None:
    found = protonova.status()
    assert found["ready"]
    processes = found["processes"]
    assert {p["service"] for p in processes} == {
        "api", "companions", "compute", "conductor", "gateway", "placement", "scheduler",
    }  # fmt: skip
    assert all(p["healthy"] for p in processes)
    assert len({p["pid"] for p in processes}) == len(processes) == 9
    assert found["memory_mib"] < 600


def test_a_second_up_says_that_it_runs(protonova: Command) -> None:
    pids = [p["pid"] for p in protonova.status()["processes"]]
    assert "already running" in protonova.up()
    assert [p["pid"] for p in protonova.status()["processes"]] == pids


def test_the_first_server_boots_and_is_found_again(protonova: Command) -> None:
    first = protonova("first-server")
    assert "ACTIVE after" in first
    assert "private=10.87.0." in first
    assert "host name first-server" in first
    assert "openstack server create" in first
    enter = first.partition("Now type:")[2].split("\n")[2]
    assert shlex.split(enter)[-1] == str(protonova.state.openrc)
    again = protonova("first-server")
    assert "it was there before" in again
    assert "flavor m1.tiny" not in again


def test_logs_carry_request_ids(protonova: Command) -> None:
    protonova("first-server")
    assert "[req-" in protonova("logs", "gateway", "-n", "200")
    assert "There is no log of nobody" in protonova("logs", "nobody", expect=1)


def test_periodic_work_can_be_done_now(protonova: Command) -> None:
    listed = json.loads(protonova("upkeep", "list", "--json"))
    works = {(one["service"], one["name"]) for one in listed}
    assert works >= {("api", "aggregate-mend"), ("conductor-1", "down-hosts"), ("conductor-2", "down-hosts")}
    assert works >= {("compute-1", "power-states"), ("conductor-1", "reclaim-servers")}
    assert "down-hosts" in protonova("upkeep", "list")
    done = protonova("upkeep", "run", "down-hosts")
    assert "conductor-1: 0 acted on" in done
    assert "conductor-2: 0 acted on" in done
    assert "no-such" in protonova("upkeep", "run", "no-such", expect=1)


def test_operations_can_be_looked_at(protonova: Command) -> None:
    protonova("first-server")
    done = json.loads(protonova("operations", "list", "--state", "done", "--json"))
    assert {operation["kind"] for operation in done} >= {"build", "create"}
    shown = json.loads(protonova("operations", "show", done[0]["id"]))
    assert shown["id"] == done[0]["id"]
    assert protonova("operations", "list", "--state", "stuck").strip() == "There are none."
    assert "NOT_STUCK" in protonova("operations", "retry", done[0]["id"], expect=1).upper().replace(" ", "_")
    assert "no operation" in protonova("operations", "show", "nothing", expect=1)


def test_the_scheduler_says_where_and_why(protonova: Command) -> None:
    protonova("first-server")
    client = Cloud(protonova.state.root, 0).client("protonova")
    image = client.call("GET", "/image/v2/images")["images"][0]["id"]
    server = client.call("GET", "/v2.1/servers")["servers"][0]["id"]
    told = protonova("scheduler", "explain", server, "--hosts", "1")
    assert "all pass" in told
    assert "passes, weight" in told
    crowd = ("--flavor", "m1.tiny", "--image", image, "--count", "10000", "--json")
    answer = json.loads(protonova("scheduler", "explain", *crowd, expect=1))
    assert 0 < len(answer["destinations"]) < 10_000
    assert "short of" in answer["explanation"]["words"]
    assert {stage["name"] for stage in answer["explanation"]["stages"]} >= {"placement", "ComputeFilter"}
    assert "FLAVOR_NOT_FOUND" in protonova("scheduler", "explain", "--flavor", "none", expect=2)
    assert "SERVER_NOT_FOUND" in protonova("scheduler", "explain", "none", expect=2)
    assert "either" in protonova("scheduler", "explain", expect=2)


@pytest.mark.parametrize(
    "name", ["api", "conductor-1", "placement", "scheduler", "compute-1", "gateway", "companions"]
)
def test_a_killed_process_comes_back_and_the_cloud_goes_on(protonova: Command, name: str) -> None:
    before = protonova.process(name)
    os.kill(before["pid"], signal.SIGKILL)

    def back() -> bool:
        now = protonova.process(name)
        return bool(now["pid"] not in (None, before["pid"]) and now["healthy"])

    wait_for(back, seconds=20, what=f"{name} to be back")
    assert "ACTIVE" in protonova("first-server")


def test_databases_are_at_the_revision_of_this_release(protonova: Command) -> None:
    files = [
        "--config-file",
        str(protonova.state.config),
        "--config-file",
        str(protonova.state.cell_config("cell1")),
    ]
    command = [sys.executable, "-m", "protonova.cli.main", "db"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    for verb in ("version", "sync"):
        done = subprocess.run(
            [*command, verb, *files], capture_output=True, text=True, check=False, env=environment
        )
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 3
        assert "empty" not in done.stdout


def test_what_was_there_is_there_after_down_and_up(protonova: Command) -> None:
    protonova("first-server")
    clouds = protonova.state.clouds.read_text()
    assert "stopped" in protonova("down")
    assert "No cloud is running" in protonova("status", expect=3)
    seconds = float(protonova("up", "--detach").partition("ready after ")[2].split()[0])
    assert seconds < 15
    assert protonova.state.clouds.read_text() == clouds
    assert "it was there before" in protonova("first-server")


def test_a_killed_supervisor_leaves_nothing_and_the_next_up_recovers(protonova: Command) -> None:
    found = protonova.status()
    pids = [p["pid"] for p in found["processes"]]
    os.kill(found["pid"], signal.SIGKILL)
    wait_for(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds=10, what="children to end"
    )
    wait_for(lambda: not launch.locked(protonova.state), seconds=10, what="the lock to be free")
    protonova("up", "--detach")
    assert "it was there before" in protonova("first-server")


def test_a_taken_port_is_named(protonova: Command, tmp_path: Path) -> None:
    other = Command(tmp_path, protonova.port)
    words = ["up", "--detach", "--driver", "fake", "--base-port", str(protonova.port)]
    assert f"{protonova.port}" in other(*words, expect=1)
    assert launch.running(other.state) is None
