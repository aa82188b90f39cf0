"""``protonova operations``: what runs, what is stuck, and what an operator does about it.

Every service that runs operations is asked: api for builds, each cell's conductor for what is done to servers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from protonova.cli.commands import reaching
from protonova.cli.commands.options import state_directory
from protonova.cli.layout import StateDirectory

if TYPE_CHECKING:
    from protonova.common.v1.operation_pb2 import Operation
    from protonova.common.v1.operation_pb2_grpc import OperationServiceStub

_STATES = ("pending", "running", "undoing", "done", "failed", "preempted", "stuck")
_OWNERS = ("api", "conductor")


@click.group()
def operations() -> None:
    """Look at operations, retry or give up stuck ones."""


@operations.command("list")
@state_directory
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only these; default: all that are not over.",
)
@click.option("--subject", default="", metavar="ID", help="Only those that act on this server.")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="At most so many of each service.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def list_(state: StateDirectory, states: tuple[str, ...], subject: str, limit: int, as_json: bool) -> None:
    """List operations, newest first."""
    from protonova.common.v1 import operation_pb2

    chosen = states or (() if subject else ("pending", "running", "undoing", "stuck"))
    request = operation_pb2.ListOperationsRequest(
        states=[operation_pb2.OperationState.Value(f"OPERATION_STATE_{name.upper()}") for name in chosen],
        subject=subject,
        page_size=limit,
    )
    found = []
    for owner, stub in _stubs(state):
        with reaching.calling(owner):
            found += [
                described(owner, operation)
                for operation in stub.ListOperations(request, timeout=10).operations
            ]
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    for row in found:
        click.echo(
            "  ".join(
                str(row[name])
                for name in ("id", "service", "kind", "state", "step", "attempt", "subject", "error")
            )
        )
    if not found:
        click.echo("There are none.")


@operations.command()
@state_directory
@click.argument("operation_id")
def show(state: StateDirectory, operation_id: str) -> None:
    """Show one operation."""
    from protonova.common.v1 import operation_pb2

    owner, stub = _owner(state, operation_id)
    with reaching.calling(owner):
        answer = stub.GetOperation(operation_pb2.GetOperationRequest(id=operation_id), timeout=10)
    click.echo(json.dumps(described(owner, answer.operation), indent=1))


@operations.command()
@state_directory
@click.argument("operation_id")
def retry(state: StateDirectory, operation_id: str) -> None:
    """Try a stuck operation again from where it stands."""
    from protonova.common.v1 import operation_pb2

    owner, stub = _owner(state, operation_id)
    with reaching.calling(owner):
        answer = stub.RetryOperation(operation_pb2.RetryOperationRequest(id=operation_id), timeout=30)
    click.echo(json.dumps(described(owner, answer.operation), indent=1))


@operations.command("give-up")
@state_directory
@click.argument("operation_id")
@click.confirmation_option(prompt="What it has not undone stays undone. Give it up?")
def give_up(state: StateDirectory, operation_id: str) -> None:
    """End a stuck operation as failed, without further undoing."""
    from protonova.common.v1 import operation_pb2

    owner, stub = _owner(state, operation_id)
    with reaching.calling(owner):
        answer = stub.GiveUpOperation(operation_pb2.GiveUpOperationRequest(id=operation_id), timeout=30)
    click.echo(json.dumps(described(owner, answer.operation), indent=1))


def described(owner: str, operation: Operation) -> dict[str, Any]:
    """One operation as plain values."""
    from protonova.common.v1 import operation_pb2

    name = operation_pb2.OperationState.Name(operation.state)
    return {
        "id": operation.id,
        "service": owner,
        "kind": operation.kind,
        "subject": operation.subject,
        "state": name.removeprefix("OPERATION_STATE_").lower(),
        "step": operation.step,
        "attempt": operation.attempt,
        "generation": operation.generation,
        "owner": operation.owner,
        "error": operation.error,
        "request_id": operation.request_id,
        "project_id": operation.project_id,
        **{
            moment: getattr(operation, moment).ToJsonString() if operation.HasField(moment) else None
            for moment in ("created_at", "updated_at", "finished_at")
        },
    }


def _stubs(state: StateDirectory) -> Iterator[tuple[str, OperationServiceStub]]:
    """Those of the running cloud's services that run operations. Replicas have one database: any tells of all."""
    from protonova.common.v1 import operation_pb2_grpc

    for name, channel in reaching.channels(state, _OWNERS):
        yield name, operation_pb2_grpc.OperationServiceStub(channel)


def _owner(state: StateDirectory, operation_id: str) -> tuple[str, OperationServiceStub]:
    from protonova.common.v1 import operation_pb2
    from protonova.services.runtime import errors

    for owner, stub in _stubs(state):
        with reaching.calling(owner):
            try:
                stub.GetOperation(operation_pb2.GetOperationRequest(id=operation_id), timeout=10)
            except errors.NotFound:
                continue
        return owner, stub
    raise click.ClickException(f"There is no operation {operation_id}.")
