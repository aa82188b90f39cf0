"""Passwords of a cloud, and the files that hand them to clients.

Passwords are made once per state directory and kept, so that tokens, scripts and ``clouds.yaml`` copies go on
working over restarts. All files are readable by their owner alone.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from protonova.cli.layout import Ports, StateDirectory

REGION = "RegionOne"

_CLOUD = """\
  {cloud}:
    auth:
      auth_url: {auth_url}
      username: {username}
      password: {password}
      project_name: {project}
      user_domain_name: Default
      project_domain_name: Default
    region_name: {region}
    identity_api_version: 3
"""

_OPENRC = """\
export OS_AUTH_URL={auth_url}
export OS_USERNAME={username}
export OS_PASSWORD={password}
export OS_PROJECT_NAME={project}
export OS_USER_DOMAIN_NAME=Default
export OS_PROJECT_DOMAIN_NAME=Default
export OS_REGION_NAME={region}
export OS_IDENTITY_API_VERSION=3
export OS_SHARE_API_VERSION=2.82
unset OS_CLOUD
"""


@dataclass(frozen=True)
class Passwords:
    admin: str
    demo: str
    service: str

    @classmethod
    def of(cls, state: StateDirectory) -> Passwords:
        """Those of this cloud; made when there are none."""
        kept = json.loads(state.secrets.read_text()) if state.secrets.exists() else {}
        made = cls(**{field.name: kept.get(field.name) or secrets.token_urlsafe(18) for field in fields(cls)})
        if asdict(made) != kept:
            write_private(state.secrets, json.dumps(asdict(made), indent=1) + "\n")
        return made


@dataclass(frozen=True)
class Account:
    """Who a client is: a user in a project, and where it authenticates."""

    auth_url: str
    username: str
    password: str
    project: str
    region: str = REGION


def accounts(ports: Ports, passwords: Passwords) -> dict[str, Account]:
    """By cloud name: the demo member and the administrator."""
    auth_url = f"http://127.0.0.1:{ports.gateway}/identity/v3"
    return {
        "protonova": Account(auth_url, "demo", passwords.demo, "demo"),
        "protonova-admin": Account(auth_url, "admin", passwords.admin, "admin"),
    }


def of(state: StateDirectory, ports: Ports) -> dict[str, Account]:
    return accounts(ports, Passwords.of(state))


def write_clients(state: StateDirectory, clouds: dict[str, Account]) -> None:
    """``clouds.yaml`` with every account, ``openrc`` with the member's."""
    text = "clouds:\n" + "".join(
        _CLOUD.format(cloud=name, **asdict(account)) for name, account in clouds.items()
    )
    write_private(state.clouds, text)
    write_private(state.openrc, _OPENRC.format(**asdict(clouds["protonova"])))


def write_private(path: Path, text: str) -> None:
    """Replaces a file at once; nobody but its owner ever reads any of it."""
    unfinished = path.with_name(path.name + ".new")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    unfinished.chmod(0o600)
    unfinished.replace(path)
