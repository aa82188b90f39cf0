"""Ways from the operator's command to the services of the running cloud, by gRPC."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from protonova.cli import cloud, launch

if TYPE_CHECKING:
    import grpc

    from protonova.cli.layout import StateDirectory


def channels(state: StateDirectory, services: Collection[str]) -> Iterator[tuple[str, grpc.Channel]]:
    """One to all replicas together of each process of these services, by the name of the process without the
    replica's number."""
    found = launch.running(state)
    if found is None:
        raise click.ClickException(f"No cloud is running in {state.root}.")

    from protonova.services.runtime import channel, config, context

    context.enter(context.internal("cli"))
    options = cloud.Options.remembered(state)
    conf = config.load(files=options.files(state))
    addresses: dict[str, list[str]] = {}
    for process in found["processes"]:
        if process["service"] in services:
            single = options.replicas == 1 or process["service"] == "compute"
            name = process["name"] if single else process["name"].rpartition("-")[0]
            addresses.setdefault(name, []).append(process["address"])
    for name, replicas in addresses.items():
        yield name, channel.connect(conf, ",".join(replicas))


@contextmanager
def calling(name: str) -> Iterator[None]:
    """What a service answers that is an error is said, and ends the command."""
    from protonova.services.runtime import errors

    try:
        yield
    except errors.Error as error:
        click.echo(f"{name}: {error}", err=True)
        sys.exit(1)
