"""Consoles: who gets a token, where it leads, and for how long."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
import sqlalchemy as sa

from protonova.common.v1.server_pb2 import Server, TaskState
from protonova.conductor.v1 import console_pb2 as pb
from protonova.services.conductor.tables import console_tokens
from protonova.services.runtime import errors
from tests.functional.conductor.test_delete import delete
from tests.functional.conductor.test_power import change
from tests.support.conductor import Conductor, Edges, by_somebody


def ask(cell: Conductor, server: Server, protocol: str = "vnc", type_: str = "novnc") -> str:
    with by_somebody():
        request = pb.CreateConsoleRequest(server_id=server.id, protocol=protocol, type=type_)
        return cell.consoles.CreateConsole(request).url


def token_of(url: str) -> str:
    (path,) = parse_qs(urlsplit(url).query)["path"]
    return path.removeprefix("?token=")


def look_up(cell: Conductor, token: str) -> pb.GetConsoleTokenResponse:
    return cell.consoles.GetConsoleToken(pb.GetConsoleTokenRequest(token=token))


def refused(cell: Conductor, token: str) -> None:
    with pytest.raises(errors.NotFound) as caught:
        look_up(cell, token)
    assert caught.value.reason == "CONSOLE_TOKEN_NOT_FOUND"


def test_a_token_leads_to_the_guest(cell: Conductor):
    server = cell.boot()
    url = ask(cell, server)
    assert url.startswith("http://127.0.0.1:6080/vnc_auto.html?path=%3Ftoken%3D")
    found = look_up(cell, token_of(url))
    assert (found.server_id, found.type) == (server.id, "novnc")
    assert (found.host, found.port) == ("192.0.2.1", 5901)
    # What is kept opens nothing.
    kept = cell.cell.db.read(lambda c: c.execute(sa.select(console_tokens.c.token_hash)).scalar_one())
    refused(cell, kept)
    refused(cell, "nothing")


def test_a_token_is_for_the_guest_it_was_made_for(cell: Conductor):
    server = cell.boot()
    token = token_of(ask(cell, server))
    change(cell, server.id, host="host2")
    refused(cell, token)
    change(cell, server.id, host="host1")
    assert look_up(cell, token).server_id == server.id
    delete(cell, server.id)
    cell.wait_gone(server.id)
    refused(cell, token)
    left = cell.cell.db.read(lambda c: c.execute(sa.select(console_tokens.c.server_id)).all())
    assert left == []


def test_a_token_expires(cell: Conductor):
    server = cell.boot()
    cell.conf.set_override("token_ttl", 0, "consoleauth")
    refused(cell, token_of(ask(cell, server)))


@pytest.mark.parametrize(
    ("protocol", "type_"),
    [
        ("vnc", "xvpvnc"),
        ("vnc", "serial"),
        ("serial", "serial"),
        ("spice", "spice-html5"),
        ("rdp", "rdp-html5"),
        ("mks", "webmks"),
    ],
)
def test_types_that_are_not_offered(cell: Conductor, protocol, type_):
    server = cell.boot()
    with pytest.raises(errors.InvalidArgument) as caught:
        ask(cell, server, protocol, type_)
    assert caught.value.reason == "CONSOLE_TYPE_UNAVAILABLE"
    cell.conf.set_override("enabled", True, "serial_console")
    with pytest.raises(errors.InvalidArgument):
        # The guest has none, although there might be some.
        ask(cell, server, "serial", "serial")
    cell.conf.set_override("enabled", False, "vnc")
    with pytest.raises(errors.InvalidArgument):
        ask(cell, server)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"task_state": TaskState.TASK_STATE_DELETING}, "SERVER_STATE"),
        ({"task_state": TaskState.TASK_STATE_MIGRATING}, "SERVER_STATE"),
        ({"host": ""}, "HOST_NOT_READY"),
        ({"host": "host2"}, "HOST_NOT_READY"),
    ],
)
def test_servers_that_show_nothing(cell: Conductor, edges: Edges, fields, reason):
    server = cell.boot()
    change(cell, server.id, **fields)
    with pytest.raises(errors.FailedPrecondition) as caught:
        ask(cell, server)
    assert caught.value.reason == reason
