"""The supervisor keeps its promises to real processes: they come back, they stop, they leave nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from protonova.cli import launch
from protonova.cli.supervisor.control import NotRunning
from tests.functional.cli.clouds import Cloud, alive, answer, eventually, standin


def test_every_process_runs_apart_and_says_where(cloud: Cloud) -> None:
    cloud.plan(standin("one"), standin("two"))
    assert cloud.start()["ready"]
    one, two = cloud.status("one"), cloud.status("two")
    assert one["healthy"]
    assert two["healthy"]
    assert answer(one["address"]) == one["pid"] != two["pid"]
    assert os.getpgid(one["pid"]) == one["pid"]
    assert "serving at" in cloud.state.log("one").read_text()
    assert Path(f"/proc/{one['pid']}/comm").read_text().strip() == "one"


def test_a_killed_process_comes_back(cloud: Cloud) -> None:
    cloud.plan(standin("one"), standin("two"))
    cloud.start()
    before, other = cloud.status("one"), cloud.status("two")
    cloud.ask("kill", name="one")
    after = eventually(lambda: (s := cloud.status("one"))["healthy"] and s["pid"] != before["pid"] and s)
    assert isinstance(after, dict)
    assert after["restarts"] == 1
    assert after["last_exit"] == "killed by SIGKILL"
    assert answer(after["address"]) == after["pid"]
    assert cloud.status("two")["pid"] == other["pid"]


def test_repeated_deaths_are_answered_more_slowly(cloud: Cloud) -> None:
    cloud.plan(standin("one"))
    cloud.start()
    pauses = []
    for _ in range(4):
        pid = cloud.status("one")["pid"]
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        eventually(lambda: (s := cloud.status("one"))["healthy"] and s["pid"] != pid)  # noqa: B023
        pauses.append(time.monotonic() - began)
    assert pauses[0] < 0.7
    assert pauses[-1] >= 0.8
    assert cloud.status("one")["restarts"] == 4


def test_restart_is_graceful(cloud: Cloud, tmp_path: Path) -> None:
    cloud.plan(standin("one", "main", "0", str(tmp_path)))
    cloud.start()
    pid = cloud.status("one")["pid"]
    assert cloud.ask("restart", name="one") == {"pid": pid}
    eventually(lambda: (s := cloud.status("one"))["healthy"] and s["pid"] != pid)
    assert (tmp_path / f"ended-{pid}").exists()
    assert "no process" in cloud.ask("restart", name="three")["error"]


def test_a_halted_process_stays_away_until_it_is_started(cloud: Cloud, tmp_path: Path) -> None:
    cloud.plan(standin("one", "main", "0", str(tmp_path)), standin("two"))
    cloud.start()
    pid = cloud.status("one")["pid"]
    assert "is not stopped" in cloud.ask("start", name="one")["error"]
    assert cloud.ask("halt", name="one") == {"pid": pid}
    eventually(lambda: cloud.status("one")["state"] == "stopped")
    assert (tmp_path / f"ended-{pid}").exists()
    cloud.ask("kill", name="two")
    eventually(lambda: (s := cloud.status("two"))["healthy"] and s["restarts"] == 1)
    assert cloud.status("one")["pid"] is None
    assert cloud.ask("start", name="one") == {"name": "one"}
    eventually(lambda: cloud.status("one")["healthy"])
    assert cloud.status("one")["restarts"] == 0
    assert "no process" in cloud.ask("halt", name="three")["error"]


def test_down_ends_everything_gracefully(cloud: Cloud, tmp_path: Path) -> None:
    cloud.plan(standin("one", "main", "0", str(tmp_path)), standin("two", "main", "0", str(tmp_path)))
    cloud.start()
    pids = [cloud.status(name)["pid"] for name in ("one", "two")]
    assert launch.stop(cloud.state)
    assert not any(alive(pid) for pid in pids)
    assert all((tmp_path / f"ended-{pid}").exists() for pid in pids)
    assert launch.running(cloud.state) is None
    assert not launch.stop(cloud.state)
    with pytest.raises(NotRunning):
        cloud.ask("status")


def test_stages_start_one_after_another(cloud: Cloud) -> None:
    cloud.plan(standin("late", start_stage=1), standin("early", "slow", start_stage=0))
    cloud.start()
    late, early = cloud.status("late"), cloud.status("early")
    assert early["uptime_seconds"] - late["uptime_seconds"] >= 0.3


def test_stages_end_one_after_another(cloud: Cloud, tmp_path: Path) -> None:
    cloud.plan(
        standin("late", "main", "0", str(tmp_path), stop_stage=1),
        standin("early", "main", "0", str(tmp_path), stop_stage=0),
    )
    cloud.start()
    late, early = cloud.status("late")["pid"], cloud.status("early")["pid"]
    launch.stop(cloud.state)
    ended = [(tmp_path / f"ended-{pid}").stat().st_mtime_ns for pid in (early, late)]
    assert ended == sorted(ended)


def test_a_deaf_process_is_cut_off(cloud: Cloud) -> None:
    cloud.plan(standin("deaf", "deaf"), stop_seconds=0.5)
    cloud.start()
    pid = cloud.status("deaf")["pid"]
    assert launch.stop(cloud.state)
    assert not alive(pid)


def test_children_of_a_killed_process_go_with_it(cloud: Cloud, tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    cloud.plan(standin("parent", "parent", str(note)))
    cloud.start()
    grandchild = int(note.read_text())
    assert alive(grandchild)
    cloud.ask("kill", name="parent")
    eventually(lambda: not alive(grandchild))


def test_nothing_outlives_a_killed_supervisor_and_the_next_start_recovers(cloud: Cloud) -> None:
    cloud.plan(standin("one"), standin("deaf", "deaf"))
    cloud.start()
    pids = [cloud.status(name)["pid"] for name in ("one", "deaf")]
    os.kill(cloud.supervisor(), signal.SIGKILL)
    eventually(lambda: not any(alive(pid) for pid in pids))
    eventually(lambda: not launch.locked(cloud.state))
    assert launch.running(cloud.state) is None
    assert cloud.start()["ready"]
    assert cloud.status("one")["pid"] not in pids


def test_only_one_supervisor_runs_in_a_directory(cloud: Cloud) -> None:
    cloud.plan(standin("one"))
    cloud.start()
    pid = cloud.supervisor()
    assert cloud.start()["ready"]
    assert cloud.supervisor() == pid
    eventually(lambda: "already running" in cloud.state.log("supervisor").read_text())


def test_a_start_without_hope_ends_with_its_reason(cloud: Cloud) -> None:
    cloud.plan(standin("one"), standin("broken", "broken"))
    reason = "broken cannot be started: it exited with status 7: no such database"
    with pytest.raises(launch.StartFailed, match=reason):
        cloud.start()
    eventually(lambda: not launch.locked(cloud.state))
    assert "no such database" in cloud.state.log("broken").read_text()


def test_ready_waits_for_the_probe(cloud: Cloud, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    cloud.plan(standin("one"), probe="standin:probe", probe_arguments=[str(gate)], start_seconds=1.5)
    with pytest.raises(launch.StartFailed, match="not usable after"):
        cloud.start()
    eventually(lambda: not launch.locked(cloud.state))
    gate.touch()
    assert cloud.start()["ready"]


def test_children_inherit_nothing_of_the_supervisor(cloud: Cloud, tmp_path: Path) -> None:
    note = tmp_path / "note"
    cloud.plan(standin("one"), standin("two", "descriptors", str(note), environment={"PIECE": "of two"}))
    cloud.start()
    found = json.loads(note.read_text())
    assert found["environment"]["PIECE"] == "of two"
    others = {n: t for n, t in found["descriptors"].items() if int(n) > 2 and not t.startswith("/proc")}
    assert list(others) == [found["environment"]["PROTONOVA_READY_FD"]]


def test_a_state_directory_may_have_a_long_name(cloud: Cloud, tmp_path: Path) -> None:
    deep = Cloud(tmp_path / ("a" * 60) / ("b" * 60))
    deep.plan(standin("one"))
    assert deep.start()["ready"]
    assert launch.stop(deep.state)
