"""``protonova first-server``: boots a server before the operator's eyes and says what to type next."""

from __future__ import annotations

import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import click

from protonova.cli import launch
from protonova.cli.commands.options import state_directory
from protonova.cli.commands.seed import clients
from protonova.cli.first_server import NAME, BootFailed, FirstServer, addresses
from protonova.cli.layout import StateDirectory
from protonova.cli.rest import Refused, Unreachable
from protonova.cli.seed import IMAGE, KEY, NETWORK, Seeder, Seeds

_MESSAGES = 25


@click.command("first-server")
@state_directory
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Bootable qcow2 image for the seed; an empty disk otherwise.",
)
def first_server(state: StateDirectory, image: Path | None) -> None:
    """Boot a server, show how it comes up, and what to type next. Seeds the cloud first."""
    admin, member = clients(state)
    try:
        seeds = Seeder(state, admin, member, lambda text: click.echo(f"  {text}")).seed(image)
        _boot(FirstServer(member, seeds), seeds, state)
    except (Refused, Unreachable) as error:
        raise click.ClickException(str(error)) from error
    except BootFailed as error:
        raise click.ClickException(f"{NAME} did not come up: {error}") from error


def _boot(first: FirstServer, seeds: Seeds, state: StateDirectory) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    began = time.monotonic()
    found = first.ensure()["id"]
    with console.status(f"booting {NAME}") as shown:
        for server in first.follow(found):
            progress = f" {server['progress']} %" if server.get("progress") else ""
            shown.update(f"{NAME}: {server['OS-EXT-STS:task_state'] or server['status']}{progress}")
        took = time.monotonic() - began
        shown.update(f"{NAME}: waiting for its boot messages")
        real = driver(state) == "libvirt"
        messages = first.boot_messages(found, real=real)
    done = f"ACTIVE after {took:.1f} s" if first.created else "ACTIVE (it was there before)"
    console.print(f"[bold]{NAME}[/bold] {done}")
    table = Table(show_header=False)
    for name, value in rows(server, seeds):
        table.add_row(name, value)
    console.print(table)
    for line in messages.splitlines()[-_MESSAGES:]:
        console.print(f"  {line}", markup=False, soft_wrap=True, style="dim")
    console.print("\nNow type:\n")
    for line in next_lines(state):
        console.print(f"  {line}", markup=False, soft_wrap=True)


def driver(state: StateDirectory) -> str:
    found = launch.running(state)
    return str(found["facts"]["options"]["driver"]) if found else ""


def rows(server: dict[str, Any], seeds: Seeds) -> list[tuple[str, str]]:
    return [
        ("name", server["name"]),
        ("id", server["id"]),
        ("status", server["status"]),
        ("addresses", addresses(server)),
        ("flavor", server["flavor"].get("original_name", seeds.flavor)),
        ("image", IMAGE),
        ("host", server.get("OS-EXT-SRV-ATTR:host") or server["hostId"][:12]),
        ("created", server["created"]),
    ]


def next_lines(state: StateDirectory) -> list[str]:
    """Three lines that go on from here."""
    root = Path(sys.prefix)
    enter = f". {_short(state.openrc)}"
    if shutil.which("openstack") is None and (root / "bin" / "openstack").exists():
        enter = f". {_short(root / 'bin' / 'activate')} && {enter}"
    made_of = f"--flavor m1.nano --image {IMAGE} --network {NETWORK} --key-name {KEY}"
    return [
        enter,
        "openstack server list --long",
        f"openstack server create {made_of} --wait second-server",
    ]


def _short(path: Path) -> str:
    """As a shell takes it; from the current directory, where it lies below."""
    try:
        return shlex.quote(f"./{path.relative_to(Path.cwd())}")
    except ValueError:
        return shlex.quote(str(path))
