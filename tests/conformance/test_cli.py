"""The stock command line, as a user types it. Each command costs more than all it asks for, so there are few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.conformance.conftest import Servers, Site

Cli = Callable[..., Any]


def test_a_session(openstack_cli: Cli, site: Site, servers: Servers, tmp_path: Path) -> None:
    script = tmp_path / "hello.sh"
    script.write_text("#!/bin/sh\necho hello\n")
    key = openstack_cli("keypair", "create", "typed-key")
    assert "PRIVATE KEY" in key
    made = openstack_cli(
        "server", "create", "--flavor", "c1.small", "--image", "blank", "--network", "shared-net",
        "--key-name", "typed-key", "--user-data", str(script), "--property", "role=web", "--tag", "typed",
        "--hint", "colour=blue", "--availability-zone", "nova", "--config-drive", "true", "--min", "1",
        "typed-server", "-f", "json",
    )  # fmt: skip
    servers.made.append(made["id"])
    servers.wait(made["id"])
    (listed,) = openstack_cli("server", "list", "--long", "--tags", "typed", "-f", "json")
    assert (listed["Name"], listed["Status"], listed["Power State"]) == ("typed-server", "ACTIVE", 1)
    assert listed["Flavor"] == "c1.small"
    assert listed["Properties"] == {"role": "web"}
    openstack_cli("server", "set", "--property", "role=db", "--description", "typed", "typed-server")
    shown = openstack_cli("server", "show", "typed-server", "-f", "json")
    assert shown["properties"] == {"role": "db"}
    assert shown["description"] == "typed"
    assert shown["addresses"]["shared-net"][0].startswith("10.77.")
    assert "login:" in openstack_cli("console", "log", "show", "typed-server")
    openstack_cli("server", "reboot", "--hard", "--wait", "typed-server")
    openstack_cli("server", "delete", "--wait", "typed-server")
    refused = openstack_cli("server", "show", "typed-server", code=1)
    assert "No Server found for typed-server" in refused
    openstack_cli("keypair", "delete", "typed-key")


def test_old_and_new(openstack_cli: Cli, site: Site, servers: Servers) -> None:
    made = openstack_cli(
        "--os-compute-api-version", "2.1", "server", "create", "--flavor", "c1.small", "--image", "blank",
        "--network", "shared-net", "--wait", "aged-server", "-f", "json",
    )  # fmt: skip
    servers.made.append(made["id"])
    assert made["status"] == "ACTIVE"
    newest = openstack_cli("--os-compute-api-version", "2.104", "server", "show", made["id"], "-f", "json")
    assert newest["pinned_availability_zone"] is None
    assert newest["flavor"]["original_name"] == "c1.small"


def test_operating(openstack_cli: Cli, site: Site) -> None:
    shown = openstack_cli("hypervisor", "show", "compute-1", "-f", "json", who="protonova-admin")
    assert (shown["state"], shown["aggregates"]) == ("up", [])
    providers = openstack_cli("resource", "provider", "list", "-f", "json", who="protonova-admin")
    assert {"compute-1", "compute-2", "compute-3"} <= {provider["name"] for provider in providers}
