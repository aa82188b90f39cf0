"""``protonova scheduler explain``: a dry run over the live view."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from protonova.cli import cloud, launch
from protonova.cli.commands.options import config_files, state_directory
from protonova.cli.layout import StateDirectory

if TYPE_CHECKING:
    from protonova.api.v1.server_pb2 import CreateServersRequest, ExplainServersResponse
    from protonova.services.runtime.config import Conf

_NO_HOST = 1
_SECONDS = 60


@click.command()
@state_directory
@config_files
@click.argument("server", required=False)
@click.option("--flavor", metavar="ID|NAME", help="Of servers that are not there yet.")
@click.option("--image", default="", metavar="ID", help="Their image.")
@click.option(
    "--hint", "hints", multiple=True, metavar="KEY=VALUE", help="A scheduler hint; may be repeated."
)
@click.option("--zone", default="", help="Their availability zone.")
@click.option("--host", default="", help="The host they must be on.")
@click.option("--project", default="", metavar="ID", help="Whose they would be.")
@click.option(
    "--count", default=1, show_default=True, type=click.IntRange(1, 10_000), help="How many at once."
)
@click.option(
    "--hosts",
    "most",
    default=10,
    show_default=True,
    type=click.IntRange(0, 10_000),
    help="On how many hosts to say why they are taken or not: best first, then the nearest misses.",
)
@click.option("--json", "as_json", is_flag=True, help="As one JSON document.")
def explain(
    state: StateDirectory,
    files: tuple[str, ...],
    server: str | None,
    flavor: str | None,
    as_json: bool,
    most: int,
    **words: Any,
) -> None:
    """Say where a server would go now, and why not elsewhere. Nothing is booked.

    SERVER is the id of a server, asked about as if it were to be built now; or the servers are described by
    --flavor and what else is given. The cloud is the one of the state directory, or that of --config-file.

    Exit status: 0 = there are hosts for all; 1 = there are not; 2 = it could not be asked.
    """
    if (server is None) == (flavor is None):
        raise click.UsageError("Name either a SERVER or a --flavor.")
    from protonova.api.v1 import flavor_pb2_grpc, server_pb2, server_pb2_grpc
    from protonova.services.runtime import channel, context, errors

    conf = _configuration(state, files)
    context.enter(replace(context.internal("cli"), project_id=words["project"]))
    api = channel.connect(conf, conf.api.target)
    request = server_pb2.ExplainServersRequest(max_hosts=most)
    try:
        if flavor is None:
            request.server_id = server or ""
        else:
            flavor_id = _flavor(flavor_pb2_grpc.FlavorServiceStub(api), flavor)
            request.create.CopyFrom(_wanted(flavor_id, words))
        answer = server_pb2_grpc.ServerServiceStub(api).ExplainServers(request, timeout=_SECONDS)
    except errors.Error as error:
        click.echo(f"{error.message} ({error.reason})", err=True)
        sys.exit(2)
    finally:
        api.close()
    if as_json:
        click.echo(json.dumps(_document(answer), indent=1))
    else:
        _print(answer)
    sys.exit(0 if len(answer.destinations) >= (1 if flavor is None else words["count"]) else _NO_HOST)


def _configuration(state: StateDirectory, files: tuple[str, ...]) -> Conf:
    # Imported for its options, which the configuration would not know else.
    from protonova.services.api import options  # noqa: F401
    from protonova.services.runtime import config

    if files:
        return config.load(files=list(files))
    if launch.running(state) is None:
        click.echo(f"No cloud is running in {state.root}; --config-file names another.", err=True)
        sys.exit(2)
    return config.load(files=cloud.Options.remembered(state).files(state))


def _flavor(flavors: Any, named: str) -> str:
    """The id of a flavor named by id or name. Raises FLAVOR_NOT_FOUND."""
    from protonova.api.v1 import flavor_pb2
    from protonova.services.runtime import errors

    try:
        found = flavors.GetFlavor(flavor_pb2.GetFlavorRequest(id=named), timeout=_SECONDS).flavor
    except errors.NotFound:
        request = flavor_pb2.ListFlavorsRequest(
            visibility=flavor_pb2.FLAVOR_VISIBILITY_ALL, include_disabled=True, name=named, page_size=1
        )
        listed = flavors.ListFlavors(request, timeout=_SECONDS).flavors
        if not listed:
            raise
        found = listed[0]
    return str(found.id)


def _wanted(flavor_id: str, words: dict[str, Any]) -> CreateServersRequest:
    from protonova.api.v1 import server_pb2

    request = server_pb2.CreateServersRequest(
        name="explain",
        flavor_id=flavor_id,
        image_id=words["image"],
        network_mode=server_pb2.NETWORK_MODE_NONE,
        availability_zone=words["zone"],
        host=words["host"],
        min_count=words["count"],
        max_count=words["count"],
        allow_zero_disk=True,
    )
    for hint in words["hints"]:
        key, sign, value = hint.partition("=")
        if not sign or not key:
            raise click.UsageError(f"A hint is KEY=VALUE, not {hint}.")
        request.scheduler_hints[key] = _value(value)
    return request


def _value(text: str) -> Any:
    """Lists and objects may be written as JSON."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise click.UsageError(f"{text} is no JSON: {error}.") from error
    return text


def _document(answer: ExplainServersResponse) -> dict[str, Any]:
    from google.protobuf.json_format import MessageToDict

    return MessageToDict(answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _print(answer: ExplainServersResponse) -> None:
    explanation = answer.explanation
    for destination in answer.destinations:
        click.echo(f"→ {destination.host}")
    click.echo(explanation.words)
    width = max((len(stage.name) for stage in explanation.stages), default=0)
    for stage in explanation.stages:
        click.echo(f"  {stage.name:{width}}  {stage.hosts_before:>7,} → {stage.hosts_after:,}")
    for verdict in explanation.verdicts:
        if verdict.stage:
            click.echo(f"{verdict.host}: {verdict.stage}: {verdict.reason}")
        else:
            parts = ", ".join(f"{name} {part:.3g}" for name, part in sorted(verdict.weights.items()) if part)
            click.echo(
                f"{verdict.host}: passes, weight {verdict.weight:.4g}" + (f" ({parts})" if parts else "")
            )
