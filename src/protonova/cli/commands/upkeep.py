"""``protonova upkeep``: what services do again and again by themselves, and having it done now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from protonova.cli.commands import reaching
from protonova.cli.commands.options import state_directory

if TYPE_CHECKING:
    from protonova.cli.layout import StateDirectory
    from protonova.common.v1.upkeep_pb2 import Upkeep

_SERVICES = ("api", "compute", "conductor")


@click.group()
def upkeep() -> None:
    """Look at periodic work, or have it done now."""


@upkeep.command("list")
@state_directory
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def list_(state: StateDirectory, as_json: bool) -> None:
    """List the periodic work of all services. Of several replicas one is asked."""
    from protonova.common.v1 import upkeep_pb2, upkeep_pb2_grpc

    found = []
    for service, channel in reaching.channels(state, _SERVICES):
        with reaching.calling(service):
            answer = upkeep_pb2_grpc.UpkeepServiceStub(channel).ListUpkeep(
                upkeep_pb2.ListUpkeepRequest(), timeout=10
            )
        found += [described(service, one) for one in answer.upkeep]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for row in found:
        every = f"every {row['interval_seconds']:g} s" if row["interval_seconds"] else "when told to"
        click.echo(f"{row['service']:12} {row['name']:24} {every:16} {row['description']}")
        if row["last_error"]:
            click.echo(f"{'':12} {row['last_error']}")


@upkeep.command()
@state_directory
@click.argument("name")
def run(state: StateDirectory, name: str) -> None:
    """Have one kind of work done now, once, by each service that has it."""
    from protonova.common.v1 import upkeep_pb2, upkeep_pb2_grpc
    from protonova.services.runtime import errors

    done = []
    for service, channel in reaching.channels(state, _SERVICES):
        stub = upkeep_pb2_grpc.UpkeepServiceStub(channel)
        with reaching.calling(service):
            try:
                answer = stub.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name=name), timeout=600)
            except errors.NotFound as error:
                if error.reason != "UPKEEP_NOT_FOUND":
                    raise
                continue
        done.append(described(service, answer.upkeep))
    if not done:
        raise click.ClickException(f"No service has an upkeep called {name}; see `protonova upkeep list`.")
    for row in done:
        click.echo(f"{row['service']}: {row['last_count']} acted on in {row['last_seconds']:.2f} s")


def described(service: str, one: Upkeep) -> dict[str, Any]:
    """One kind of work as plain values."""
    return {
        "service": service,
        "name": one.name,
        "description": one.description,
        "interval_seconds": one.interval_seconds,
        "passes": one.passes,
        "last_started_at": one.last_started_at.ToJsonString() if one.HasField("last_started_at") else None,
        "last_seconds": one.last_seconds,
        "last_count": one.last_count,
        "last_error": one.last_error,
    }
