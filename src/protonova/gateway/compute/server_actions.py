"""What can be done to a server: POST /servers/{id}/action with the action as the body's only key."""

from __future__ import annotations

import unicodedata
from typing import Any

from protonova.api.v1 import server_pb2 as api
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, MOST, NULL, STRING, Field, Obj, Plain, one_of

PATH = "/servers/{server_id}/action"

actions = Resource("servers")

_LENGTH = Plain(type=["integer", "string", "null"], pattern=r"^-?[0-9]+$", minimum=-1).but(**{"x-least": -1})


def _body(action: str, *fields: Field, free: bool = False) -> Obj:
    return Obj(Field(action, ANY if free else Obj(*fields), required=True))


@actions.action(
    PATH,
    "os-start",
    policy="os_compute_api:servers:start",
    body=_body("os-start", free=True),
    status=202,
)
def start(request: Request) -> None:
    """Start a stopped server."""
    request.services.servers.StartServer(api.StartServerRequest(id=request.args["server_id"]))


@actions.action(
    PATH, "os-stop", policy="os_compute_api:servers:stop", body=_body("os-stop", free=True), status=202
)
def stop(request: Request) -> None:
    """Stop a running server."""
    request.services.servers.StopServer(api.StopServerRequest(id=request.args["server_id"]))


@actions.action(
    PATH,
    "reboot",
    policy="os_compute_api:servers:reboot",
    body=_body(
        "reboot",
        Field("type", one_of("HARD", "Hard", "hard", "SOFT", "Soft", "soft"), required=True),
    ),
    status=202,
)
def reboot(request: Request) -> None:
    """Reboot a server."""
    hard = request.body["reboot"]["type"].upper() == "HARD"
    request.services.servers.RebootServer(api.RebootServerRequest(id=request.args["server_id"], hard=hard))


@actions.action(
    PATH,
    "trigger_crash_dump",
    since="2.17",
    policy="os_compute_api:servers:trigger_crash_dump",
    body=Obj(Field("trigger_crash_dump", NULL, required=True)),
    status=202,
)
def trigger_crash_dump(request: Request) -> None:
    """Have a server's kernel write a crash dump."""
    wanted = api.TriggerCrashDumpRequest(id=request.args["server_id"])
    request.services.servers.TriggerCrashDump(wanted)


@actions.action(
    PATH,
    "os-getConsoleOutput",
    policy="os_compute_api:os-console-output",
    body=_body("os-getConsoleOutput", Field("length", _LENGTH)),
    answer=Obj(Field("output", STRING, required=True)),
)
def console_output(request: Request) -> dict[str, Any]:
    """Read the last lines of a server's console."""
    wanted = api.GetConsoleOutputRequest(id=request.args["server_id"])
    length = request.body["os-getConsoleOutput"].get("length")
    # -1 asks for everything, as no length does.
    if length is not None and int(length) >= 0:
        wanted.length = min(int(length), MOST)
    output = request.services.servers.GetConsoleOutput(wanted).output
    return {"output": _printable(output.decode("utf-8", "replace"))}


def _printable(text: str) -> str:
    """Text that can be shown: control characters other than line breaks and tabs are left out."""
    return "".join(
        letter for letter in text if letter in "\n\r\t" or not unicodedata.category(letter).startswith("C")
    )
