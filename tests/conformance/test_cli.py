"""The stock command line, as a user types it. Each command costs more than all it asks for, so there are few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.client import wait_for
from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest

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


def test_images_of_servers(openstack_cli: Cli, demo: Rest, servers: Servers) -> None:
    made = openstack_cli(
        "server", "create", "--flavor", "c1.small", "--image", "blank", "--network", "shared-net", "--wait",
        "kept-server", "-f", "json",
    )  # fmt: skip
    servers.made.append(made["id"])
    image = openstack_cli(
        "server", "image", "create", "--name", "kept", "--wait", "kept-server", "-f", "json"
    )
    assert (image["name"], image["status"]) == ("kept", "active")
    backup = openstack_cli(
        "server", "backup", "create", "--name", "kept-daily", "--type", "daily", "--rotate", "1", "--wait",
        "kept-server", "-f", "json",
    )  # fmt: skip
    # The command shows the image as it was before it waited.
    assert backup["name"] == "kept-daily"
    assert openstack_cli("image", "show", "kept-daily", "-c", "status", "-f", "value") == "active\n"
    openstack_cli("image", "delete", "kept", "kept-daily")
    openstack_cli("server", "shelve", "--wait", "kept-server")

    def status() -> str:
        shown: str = openstack_cli("server", "show", "kept-server", "-c", "status", "-f", "value")
        return shown.strip()

    # The client is content with SHELVED, which comes before.
    wait_for(
        lambda: status() == "SHELVED_OFFLOADED", seconds=30, every=0.1, what="the server to leave its host"
    )
    openstack_cli("server", "unshelve", "--wait", "kept-server")
    assert status() == "ACTIVE"


def test_server_groups(openstack_cli: Cli, demo: Rest, servers: Servers) -> None:
    made = openstack_cli(
        "--os-compute-api-version", "2.64", "server", "group", "create", "--policy", "anti-affinity",
        "--rule", "max_server_per_host=1", "typed-group", "-f", "json",
    )  # fmt: skip
    assert (made["policy"], made["members"]) == ("anti-affinity", [])
    assert made["rules"] == {"max_server_per_host": 1}
    booted = openstack_cli(
        "server", "create", "--flavor", "c1.small", "--image", "blank", "--network", "shared-net",
        "--hint", f"group={made['id']}", "--min", "2", "--max", "2", "--wait", "apart", "-f", "json",
    )  # fmt: skip
    listed = openstack_cli("server", "list", "--name", "^apart-", "-f", "json")
    ids = sorted(server["ID"] for server in listed)
    servers.made += ids
    assert booted["id"] in ids
    for server_id in ids:
        servers.wait(server_id)
    assert len({servers.admin.get(f"/servers/{id_}")["server"]["OS-EXT-SRV-ATTR:host"] for id_ in ids}) == 2
    shown = openstack_cli("server", "group", "show", "typed-group", "-f", "json")
    assert (sorted(shown["members"]), shown["policy"]) == (ids, "anti-affinity")
    assert "typed-group" in openstack_cli("server", "group", "list")
    # There are three hosts: one more fits, and then none.
    for name, status in (("third", "ACTIVE"), ("fourth", "ERROR")):
        wanted = servers.create(demo, name, hints={"group": made["id"]}, networks="none")
        found = servers.wait(wanted, status)
        assert found["server_groups"] == [made["id"]]
    assert found["fault"]["message"].startswith("No valid host was found.")
    openstack_cli("server", "group", "delete", "typed-group")
    assert servers.admin.get(f"/servers/{wanted}", version="2.71")["server"]["server_groups"] == []


def test_operating(openstack_cli: Cli, site: Site) -> None:
    shown = openstack_cli("hypervisor", "show", "compute-1", "-f", "json", who="protonova-admin")
    assert (shown["state"], shown["aggregates"]) == ("up", [])
    providers = openstack_cli("resource", "provider", "list", "-f", "json", who="protonova-admin")
    assert {"compute-1", "compute-2", "compute-3"} <= {provider["name"] for provider in providers}
