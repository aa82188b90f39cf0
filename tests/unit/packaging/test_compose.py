"""The composition names only services, options and files that exist, and fits together."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from keystoneauth1 import loading

from protonova.cli.main import COMMANDS
from protonova.cli.sample import list_opts

ROOT = Path(__file__).resolve().parents[3]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "protonova"}


def _known() -> set[tuple[str, str]]:
    known = {(group.lower(), option.dest) for group, options in list_opts() for option in options}
    for option in loading.get_auth_plugin_conf_options("password"):
        known.add(("keystone_authtoken", option.dest))
    known |= {("keystone_authtoken", name) for name in ("auth_type", "www_authenticate_uri")}
    return known


def test_every_service_stands_apart() -> None:
    commands = {name for name, (_, _, text) in COMMANDS.items() if "in the foreground" in text}
    assert set(OURS) == commands
    for name, service in OURS.items():
        words = [*service.get("entrypoint", []), service.get("command", "")]
        assert re.search(rf"(^| )(protonova )?{name}\b", " ".join(words)), name


def test_every_variable_is_an_option() -> None:
    known = _known()
    for service in OURS.values():
        for variable in service["environment"]:
            if variable.startswith("OS_"):
                group, _, option = variable.removeprefix("OS_").lower().partition("__")
                assert (group, option) in known, variable


def _mounted(service: str, inside: str) -> Path:
    """The file of this repository that the service finds at that path."""
    for volume in COMPOSE["services"][service]["volumes"]:
        source, target, *_ = volume.split(":")
        if target == inside:
            return ROOT / source
    raise AssertionError(f"{service} has nothing at {inside}")


def test_the_image_is_built_by_the_containerfile() -> None:
    """Engines look for a `Dockerfile` unless they are told."""
    for service in OURS.values():
        assert (ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_every_file_the_containerfile_copies_is_there() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    named = [name for words in copies for name in words.split()]
    assert named
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not [name for name in named if not (ROOT / name).exists() or name in ignored]


def test_every_database_is_made() -> None:
    made = _mounted("postgresql", "/docker-entrypoint-initdb.d/databases.sql").read_text()
    environment = OURS["api"]["environment"]
    used = {url.rpartition("/")[2] for name, url in environment.items() if name.endswith("__CONNECTION")}
    assert set(re.findall(r"CREATE DATABASE (\w+);", made)) == used


def test_postgresql_is_healthy_only_once_it_listens() -> None:
    """While it makes the databases it answers on its Unix socket alone, and then it restarts."""
    probe = COMPOSE["services"]["postgresql"]["healthcheck"]["test"]
    assert probe[probe.index("-h") + 1] == "127.0.0.1"


def test_the_front_reaches_every_door_of_the_gateway_with_any_engine() -> None:
    front = _mounted("front", "/usr/local/etc/haproxy/haproxy.cfg").read_text()
    environment = OURS["gateway"]["environment"]
    doors = {environment[f"OS_GATEWAY__{name}"].rpartition(":")[2] for name in ("LISTEN", "PLACEMENT_LISTEN")}
    assert set(re.findall(r"server-template gateway \d+ gateway:(\d+)", front)) == doors
    assert set(re.findall(r"bind :(\d+)", front)) == doors
    published = COMPOSE["services"]["front"]["ports"]
    assert {port.rpartition(":")[2] for port in published} == doors
    # Each engine has a name server of its own, at an address of its own.
    assert "parse-resolv-conf" in front
    assert "nameserver" not in front


def test_the_sample_has_every_group() -> None:
    groups = {group for group, _ in list_opts()}
    assert groups >= {"DEFAULT", "gateway", "api", "conductor", "compute", "libvirt", "fake", "quota", "grpc"}
