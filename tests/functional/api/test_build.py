"""The operation that builds servers: its way, its failures, deletions and crashes at each step."""

import pytest
from google.protobuf.struct_pb2 import Struct
from sqlalchemy import select

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2 as common
from protonova.services.api import tables
from protonova.services.runtime import context, errors, operations
from tests.functional.api.conftest import OTHER
from tests.support.gates import Gate

UNREACHABLE = errors.Unavailable("No answer.", reason="SERVICE_UNREACHABLE")
NOTHING = {"instances": 0, "cores": 0, "ram": 0}


def used(region):
    return {name: region.used()[name] for name in NOTHING}


def test_a_server_is_handed_to_its_cell(any_region):
    region = any_region
    cell = region.add_cell()
    answer = region.create(metadata={"a": "b"}, user_data="aGk=", admin_password="secret")
    [accepted] = answer.servers
    assert (accepted.vm_state, accepted.task_state) == (
        common.VM_STATE_BUILDING,
        common.TASK_STATE_SCHEDULING,
    )
    assert (accepted.project_id, accepted.user_id, accepted.hostname) == ("project", "user", "web")
    assert answer.admin_password == "secret"
    assert region.built(answer).state == operations.DONE
    build = cell.builds[accepted.id]
    assert (build.destination.host, build.admin_password) == ("cell1-host0", "secret")
    assert [alternate.host for alternate in build.alternates] == ["spare"]
    assert dict(build.server.metadata) == {"a": "b"}
    assert build.server.image.name == "cirros"
    there = region.get(accepted.id)
    assert (there.host, there.task_state) == ("cell1-host0", common.TASK_STATE_SPAWNING)
    assert used(region) == {"instances": 1, "cores": 1, "ram": 512}
    [spec] = region.claims.specs
    assert (spec.flavor.id, spec.project_id, spec.boots_from_volume) == ("small", "project", False)


def test_several_servers_go_to_their_cells(region):
    cells = [region.add_cell("one"), region.add_cell("two")]
    answer = region.create(min_count=4)
    assert [server.name for server in answer.servers] == ["web-1", "web-2", "web-3", "web-4"]
    assert [server.launch_index for server in answer.servers] == [0, 1, 2, 3]
    region.built(answer)
    assert sorted(len(cell.servers) for cell in cells) == [2, 2]
    assert {region.get(server.id).host for server in answer.servers} == {"one-host0", "two-host0"}


def test_who_finds_no_host_stays_in_error(region):
    region.add_cell()
    region.claims.room = 1
    answer = region.create(min_count=1, max_count=3)
    assert region.built(answer).state == operations.DONE
    built, *failed = [region.get(server.id) for server in answer.servers]
    assert built.host == "cell1-host0"
    for server in failed:
        assert (server.vm_state, server.task_state) == (common.VM_STATE_ERROR, common.TASK_STATE_UNSPECIFIED)
        assert server.fault.message == "No valid host was found. There are not enough hosts available."
        assert (server.fault.code, server.fault.details) == (500, "Every host is full.")
        assert server.fault.HasField("created_at")
    assert used(region)["instances"] == 3
    region.delete(failed[0].id)
    assert used(region)["instances"] == 2
    with pytest.raises(errors.NotFound):
        region.get(failed[0].id)


def test_fewer_than_the_fewest_is_none(region):
    region.add_cell()
    region.claims.room = 2
    answer = region.create(min_count=3, max_count=4)
    region.built(answer)
    assert {region.get(server.id).vm_state for server in answer.servers} == {common.VM_STATE_ERROR}
    assert region.claims.held == {}


def test_a_scheduler_that_cannot_ends_in_error(region):
    region.claims.gates.fail("SelectDestinations", errors.InvalidArgument("No such thing."))
    answer = region.create()
    assert region.built(answer).state == operations.FAILED
    server = region.get(answer.servers[0].id)
    assert server.vm_state == common.VM_STATE_ERROR
    assert "No such thing." in server.fault.message
    region.delete(server.id)
    assert used(region) == NOTHING


@pytest.mark.parametrize("method", ["SelectDestinations", "CreateServers"])
@pytest.mark.parametrize("after", [False, True])
def test_calls_without_an_answer_are_repeated(region, method, after):
    cell = region.add_cell()
    gates = region.claims.gates if method == "SelectDestinations" else cell.gates
    gates.fail(method, UNREACHABLE, UNREACHABLE, after=after)
    answer = region.create()
    assert region.built(answer).state == operations.DONE
    assert gates.calls[method] == 3
    assert region.get(answer.servers[0].id).host == "cell1-host0"
    assert list(region.claims.held) == [answer.servers[0].id]


def test_a_cell_that_refuses_for_good_leaves_nothing_behind(region):
    cell = region.add_cell()
    cell.gates.fail("CreateServers", errors.Internal("Broken."))
    answer = region.create()
    assert region.built(answer).state == operations.FAILED
    assert region.claims.held == {}
    assert region.get(answer.servers[0].id).vm_state == common.VM_STATE_ERROR


def test_what_a_cell_has_after_all_is_its_own(region):
    cell = region.add_cell()
    cell.gates.fail("CreateServers", errors.Internal("Broken, but only afterwards."), after=True)
    answer = region.create()
    assert region.built(answer).state == operations.FAILED
    assert region.get(answer.servers[0].id).host == "cell1-host0"
    assert list(region.claims.held) == [answer.servers[0].id]


def test_a_silent_cell_holds_up_nobody_else(region):
    living, silent = region.add_cell("living"), region.add_cell("silent")
    silent.stop()
    answer = region.create(min_count=2)
    region.until(lambda: living.servers and len(region.without_cell()) == 1)
    assert {region.get(server_id).host for server_id in living.servers} == {"living-host0"}
    silent.start()
    assert region.built(answer).state == operations.DONE
    assert len(silent.servers) == 1


# ---- deletions that arrive on the way ----------------------------------------------------------------------


def hold(region, cell, where):
    """Holds the build at a place; returns the gate."""
    gate = Gate()
    place, method = where.split()
    gates = cell.gates if method == "CreateServers" else region.claims.gates
    getattr(gates, place)[method] = gate
    return gate


@pytest.mark.parametrize(
    "where",
    ["before SelectDestinations", "after SelectDestinations", "before CreateServers", "after CreateServers"],
)
def test_a_deletion_on_the_way_is_honoured(any_region, where):
    region = any_region
    cell = region.add_cell()
    gate = hold(region, cell, where)
    answer = region.create(min_count=2)
    gone, stays = (server.id for server in answer.servers)
    gate.wait_reached()
    region.delete(gone)
    try:
        shown = region.get(gone)
    except errors.NotFound:
        assert "SelectDestinations" in where
    else:
        assert shown.task_state == common.TASK_STATE_DELETING
        region.delete(gone)
    gate.open()
    assert region.built(answer).state == operations.DONE
    assert list(cell.servers) == [stays]
    assert region.get(stays).host == "cell1-host0"
    if gone in region.claims.held:  # the cell's deletion ends so
        assert "CreateServers" in where
        region.release(gone)
    assert used(region) == {"instances": 1, "cores": 1, "ram": 512}
    with pytest.raises(errors.NotFound):
        region.get(gone)


def test_a_claim_nobody_heard_of_is_given_back(region):
    """The scheduler claims, its answer is lost, and before the repeat one of the servers is deleted."""
    cell = region.add_cell()
    gate = hold(region, cell, "after SelectDestinations")
    region.claims.gates.fail("SelectDestinations", UNREACHABLE, after=True)
    answer = region.create(min_count=2)
    gone, stays = (server.id for server in answer.servers)
    gate.wait_reached()
    assert set(region.claims.held) == {gone, stays}
    region.delete(gone)
    gate.open()
    assert region.built(answer).state == operations.DONE
    assert list(region.claims.held) == [stays]


def test_a_noted_deletion_is_honoured_when_the_build_fails(region):
    cell = region.add_cell()
    gate = hold(region, cell, "before CreateServers")
    answer = region.create()
    gate.wait_reached()
    region.delete(answer.servers[0].id)
    cell.gates.fail("CreateServers", errors.Internal("Broken."))
    gate.open()
    assert region.built(answer).state == operations.FAILED
    assert region.claims.held == {}
    assert used(region) == NOTHING
    with pytest.raises(errors.NotFound):
        region.get(answer.servers[0].id)


# ---- crashes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where",
    ["before SelectDestinations", "after SelectDestinations", "before CreateServers", "after CreateServers"],
)
def test_another_replica_takes_a_build_over(any_region, where):
    region = any_region
    cell = region.add_cell()
    gate = hold(region, cell, where)
    answer = region.create()
    gate.wait_reached()
    region.api.engine.stop(0)
    # Before there is another replica: it takes the build over as soon as it runs.
    gates = cell.gates if "CreateServers" in where else region.claims.gates
    gates.before.clear()
    gates.after.clear()
    other = region.add_replica()
    assert region.built(answer, other).state == operations.DONE
    gate.open()
    server = other.servers.GetServer(pb.GetServerRequest(id=answer.servers[0].id)).server
    assert server.host == "cell1-host0"
    assert len(cell.builds) == 1
    assert list(region.claims.held) == [server.id]


# ---- as users see it ---------------------------------------------------------------------------------------


def test_a_build_is_the_action_create(region):
    region.claims.gates.fail("SelectDestinations", errors.InvalidArgument("No such thing."))
    answer = region.create()
    region.built(answer)
    server_id = answer.servers[0].id
    [action] = region.api.servers.ListServerActions(pb.ListServerActionsRequest(server_id=server_id)).actions
    assert (action.action, action.request_id, action.message) == ("create", "req-1", "Error")
    shown = region.api.servers.GetServerAction(
        pb.GetServerActionRequest(server_id=server_id, request_id="req-1")
    ).action
    assert [(event.name, event.result) for event in shown.events] == [("schedule", "Error")]
    with pytest.raises(errors.NotFound) as raised:
        region.api.servers.GetServerAction(
            pb.GetServerActionRequest(server_id=server_id, request_id="req-other")
        )
    assert raised.value.reason == "ACTION_NOT_FOUND"
    region.delete(server_id)
    with pytest.raises(errors.NotFound):
        region.api.servers.ListServerActions(pb.ListServerActionsRequest(server_id=server_id))
    kept = region.api.servers.ListServerActions(
        pb.ListServerActionsRequest(server_id=server_id, include_deleted=True)
    )
    assert len(kept.actions) == 1


def test_passwords_are_forgotten_with_the_build(region):
    region.add_cell()
    answer = region.create(admin_password="very secret", idempotency_key="k")
    region.built(answer)
    [payload] = region.rows(select(tables.operation_tables.operations.c.payload))
    assert set(payload[0]) == {"servers", "least"}
    again = region.create(admin_password="very secret", idempotency_key="k")
    assert (again.repeated_call, again.admin_password) == (True, "")


# ---- what can be done to a server that is being built --------------------------------------------------------


def test_only_names_and_the_like_can_be_changed(region):
    answer = region.create()
    server_id = answer.servers[0].id
    region.built(answer)
    wanted = common.Server(id=server_id, name="renamed", description="new")
    request = pb.UpdateServerRequest(server=wanted)
    request.update_mask.paths.extend(["name", "description"])
    changed = region.api.servers.UpdateServer(request).server
    assert (changed.name, changed.description, changed.generation) == ("renamed", "new", 3)
    assert region.get(server_id).name == "renamed"
    request.update_mask.paths.append("host")
    with pytest.raises(errors.InvalidArgument) as raised:
        region.api.servers.UpdateServer(request)
    assert raised.value.reason == "FIELD_INVALID"
    calls = {
        "start": lambda: region.api.servers.StartServer(pb.StartServerRequest(id=server_id)),
        "stop": lambda: region.api.servers.StopServer(pb.StopServerRequest(id=server_id)),
        "reboot": lambda: region.api.servers.RebootServer(pb.RebootServerRequest(id=server_id)),
    }
    for action, call in calls.items():
        with pytest.raises(errors.FailedPrecondition) as raised:
            call()
        assert raised.value.reason == "SERVER_STATE"
        assert raised.value.facts == {
            "server_id": server_id,
            "action": action,
            "attribute": "vm_state",
            "value": "error",
        }
    with pytest.raises(errors.FailedPrecondition) as raised:
        region.api.servers.GetConsoleOutput(pb.GetConsoleOutputRequest(id=server_id))
    assert raised.value.reason == "HOST_NOT_READY"
    with context.use(OTHER), pytest.raises(errors.NotFound):
        region.delete(server_id)


def test_where_servers_that_hints_name_are(region):
    """Of any project; those that are nowhere are left out, and it is asked anew for each try."""
    region.add_cell("one")
    answer = region.create()
    region.built(answer)
    there = answer.servers[0].id
    hints = Struct()
    hints.update({"different_host": there, "same_host": [there, "5b8c2f0e-0000-4000-8000-000000000000"]})
    region.built(region.create(scheduler_hints=hints))
    assert dict(region.claims.specs[-1].hint_hosts) == {there: "one-host0"}
    with context.use(OTHER):
        region.built(region.create(scheduler_hints=hints))
    assert dict(region.claims.specs[-1].hint_hosts) == {there: "one-host0"}
