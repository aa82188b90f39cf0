"""``protonova status``: every process of the cloud, as the supervisor sees it and as it answers itself."""

from __future__ import annotations

import json
import socket
import ssl
import sys
from contextlib import ExitStack
from typing import Any

import click

from protonova.cli import cloud, launch
from protonova.cli.columns import aligned
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import StateDirectory

NOT_RUNNING = 3
_COLUMNS = ("name", "service", "replica", "pid", "address", "healthy", "restarts", "memory_mib", "state")


@click.command()
@state_directory
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def status(state: StateDirectory, as_json: bool) -> None:
    """Show every process of the cloud."""
    found = launch.running(state)
    if found is None:
        click.echo(
            json.dumps({"ready": False, "processes": []})
            if as_json
            else f"No cloud is running in {state.root}."
        )
        sys.exit(NOT_RUNNING)
    tls = Tls.of(state)
    for process in found["processes"]:
        process["healthy"] = process["healthy"] and answers(process, tls)
        process["memory_mib"] = memory(process["pid"])
    found["memory_mib"] = round(sum(p["memory_mib"] for p in found["processes"]) + memory(found["pid"]), 1)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for line in aligned([_COLUMNS, *([p[column] for column in _COLUMNS] for p in found["processes"])]):
        click.echo(line)
    ready = "ready" if found["ready"] else "not ready"
    click.echo(f"{ready} at {found['facts'].get('url', '')}, {found['memory_mib']} MiB in all")


def answers(process: dict[str, Any], tls: Tls | None = None) -> bool:
    """Whether the process takes a connection and speaks, by one line of HTTP or one HTTP/2 greeting."""
    host, _, port = process["address"].rpartition(":")
    speaks_grpc = process["protocol"] == "grpc"
    greeting = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
        if speaks_grpc
        else (b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    )
    try:
        with ExitStack() as open_:
            connection = open_.enter_context(socket.create_connection((host, int(port)), timeout=2))
            if tls is not None and speaks_grpc:
                connection = open_.enter_context(tls.over(connection, host))
            connection.sendall(greeting)
            return bool(connection.recv(16))
    except (OSError, ValueError):
        return False


class Tls:
    """What a cloud whose services want certificates is asked with."""

    def __init__(self, options: Any) -> None:
        self._name = options.server_name
        self._context = ssl.create_default_context(cafile=options.ca_file)
        self._context.set_alpn_protocols(["h2"])
        if options.cert_file:
            self._context.load_cert_chain(options.cert_file, options.key_file or None)

    @classmethod
    def of(cls, state: StateDirectory) -> Tls | None:
        """None where services speak plainly, as they do without a configuration of the operator's own."""
        options = cloud.Options.remembered(state)
        if not options.config:
            return None
        from protonova.services.runtime import config

        found = config.load(files=options.files(state)).grpc
        return cls(found) if found.ca_file else None

    def over(self, connection: socket.socket, host: str) -> ssl.SSLSocket:
        return self._context.wrap_socket(connection, server_hostname=self._name or host)


def memory(pid: int | None) -> float:
    """The process's share of memory (PSS) in MiB: shared pages count by the number of their sharers."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            for line in rollup:
                if line.startswith("Pss:"):
                    return round(int(line.split()[1]) / 1024, 1)
    except OSError:
        return 0.0
    return 0.0
