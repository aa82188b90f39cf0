"""Passwords: set inside a guest, or left by it for its owner."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from protonova.common.v1.server_pb2 import Server, TaskState
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor.tables import builds, operation_tables
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import ACTIVE, STOPPED, change, events
from tests.support.conductor import Conductor, Edges, as_user

PASSWORD = "s3cret-word"


def set_password(cell: Conductor, server_id: str, password: str = PASSWORD) -> None:
    cell.servers.ChangeServerPassword(
        server_pb2.ChangeServerPasswordRequest(id=server_id, admin_password=password)
    )


def kept(cell: Conductor) -> str:
    """All that the database says of operations and builds."""

    def read(connection):
        rows = connection.execute(sa.select(operation_tables.operations)).all()
        return f"{rows} {connection.execute(sa.select(builds)).all()}"

    return cell.cell.db.read(read)


def test_it_is_set_and_kept_nowhere(cell: Conductor, edges: Edges):
    server = cell.boot()
    cell.cell.db.write(
        lambda c: cell.cell.servers.change(
            c, server.id, lambda s: s.image.properties.update(os_admin_user="admin")
        )
    )
    with as_user(request_id="req-password"):
        set_password(cell, server.id)
    assert edges.guests.passwords[server.id] == ("admin", PASSWORD)
    after = cell.get(server.id)
    assert (after.vm_state, after.task_state) == (ACTIVE, TaskState.TASK_STATE_UNSPECIFIED)
    assert events(cell, server.id, "req-password") == (
        "changePassword",
        "",
        [("compute_set_admin_password", "Success")],
    )
    assert PASSWORD not in kept(cell)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (errors.FailedPrecondition("Nobody answers.", reason="GUEST_AGENT_REFUSES"), "GUEST_AGENT_REFUSES"),
        (errors.Unimplemented("Not here.", reason="UNSUPPORTED"), "UNSUPPORTED"),
    ],
)
def test_the_caller_hears_why_it_is_not_set(cell: Conductor, edges: Edges, error, reason):
    server = cell.boot()
    edges.guests.fail("SetGuestPassword", error)
    with pytest.raises(type(error)) as caught:
        set_password(cell, server.id)
    assert caught.value.reason == reason
    after = cell.get(server.id)
    assert (after.vm_state, after.task_state) == (ACTIVE, TaskState.TASK_STATE_UNSPECIFIED)
    assert PASSWORD not in kept(cell)
    set_password(cell, server.id)


def test_the_wrong_state(cell: Conductor):
    server = cell.boot()
    change(cell, server.id, vm_state=STOPPED)
    with pytest.raises(errors.FailedPrecondition) as caught:
        set_password(cell, server.id)
    assert caught.value.facts["action"] == "changePassword"


def test_what_a_guest_leaves_for_its_owner(cell: Conductor):
    server = cell.boot()

    def leave(text: str) -> Server:
        request = server_pb2.UpdateServerRequest(server=Server(id=server.id, encrypted_password=text))
        request.update_mask.paths.append("encrypted_password")
        return cell.servers.UpdateServer(request).server

    assert leave("cGFzc3dvcmQ=").encrypted_password == "cGFzc3dvcmQ="
    assert cell.get(server.id).encrypted_password == "cGFzc3dvcmQ="
    with pytest.raises(errors.InvalidArgument) as caught:
        leave("x" * 1021)
    assert caught.value.facts["field"] == "encrypted_password"
    assert leave("").encrypted_password == ""
