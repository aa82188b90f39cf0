"""The `openstack` command, unchanged, against the companions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openstackclient import shell

from .conftest import PASSWORDS, Companions

Run = Callable[..., Any]


@pytest.fixture
def environment(companions: Companions) -> dict[str, str]:
    return {
        "HOME": str(companions.state),
        "OS_AUTH_URL": f"{companions.url}/identity",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": PASSWORDS["admin"],
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
    }


@pytest.fixture
def run(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command in this process: its start alone takes longer than all that it does."""
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    def call(*words: str, shown: bool = True) -> Any:
        capsys.readouterr()
        code = shell.main([*words, *(("-f", "json") if shown else ())])
        written = capsys.readouterr()
        assert code == 0, written.err
        return json.loads(written.out) if shown else written.out

    return call


def test_as_a_command(environment: dict[str, str]) -> None:
    program = str(Path(sys.executable).with_name("openstack"))
    done = subprocess.run(
        [program, "token", "issue", "-f", "json"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout)["id"]


def test_identity(run: Run, name: str) -> None:
    assert run("token", "issue")["id"]
    project = run("project", "create", name)
    user = run("user", "create", "--project", name, "--password", "x", name)
    assert user["default_project_id"] == project["id"]
    run("role", "create", name)
    run("role", "add", "--project", name, "--user", name, name, shown=False)
    (held,) = run("role", "assignment", "list", "--names", "--project", name)
    assert (held["Role"], held["User"]) == (name, f"{name}@Default")
    assert {entry["Type"] for entry in run("catalog", "list")} >= {"identity", "compute", "network"}


def test_image(run: Run, name: str, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "in").write_bytes(data)
    made = run("image", "create", "--file", str(tmp_path / "in"), "--disk-format", "raw", "--tag", "t", name)
    assert (made["status"], made["checksum"]) == ("active", hashlib.md5(data).hexdigest())
    run("image", "save", "--file", str(tmp_path / "out"), name, shown=False)
    assert (tmp_path / "out").read_bytes() == data
    run("image", "set", "--property", "hw_disk_bus=scsi", name, shown=False)
    assert run("image", "show", name)["properties"]["hw_disk_bus"] == "scsi"
    run("image", "delete", name, shown=False)
    assert run("image", "list", "--name", name) == []


def test_network(run: Run, name: str) -> None:
    network = run("network", "create", name)
    subnet = run("subnet", "create", "--network", name, "--subnet-range", "10.77.0.0/24", name)
    port = run("port", "create", "--network", name, "--fixed-ip", "ip-address=10.77.0.7", name)
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.77.0.7"}]
    assert [entry["ID"] for entry in run("port", "list", "--network", network["id"])] == [port["id"]]
    assert run("network", "show", name)["subnets"] == [subnet["id"]]
    assert run("subnet", "show", name)["gateway_ip"] == "10.77.0.1"
    for kind in ("port", "subnet", "network"):
        run(kind, "delete", name, shown=False)
    assert run("network", "list", "--name", name) == []


def test_volume(run: Run, name: str) -> None:
    run("volume", "create", "--size", "1", name)
    assert run("volume", "show", name)["status"] == "available"
    run("volume", "set", "--size", "2", name, shown=False)
    assert [entry["Size"] for entry in run("volume", "list", "--name", name)] == [2]
    run("volume", "delete", name, shown=False)
    assert run("volume", "list", "--name", name) == []
