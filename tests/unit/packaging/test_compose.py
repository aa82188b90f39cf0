"""The composition names only services and options that exist."""

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


def test_the_sample_has_every_group() -> None:
    groups = {group for group, _ in list_opts()}
    assert groups >= {"DEFAULT", "gateway", "api", "conductor", "compute", "libvirt", "fake", "quota", "grpc"}
