"""Shares of servers: what happens, what is refused, what a failure leaves, who else has the share."""

from __future__ import annotations

import pytest

from protonova.common.v1.server_pb2 import LockHolder, PowerState, Server, ServerShare, ShareStatus, VmState
from protonova.compute.v1 import guest_pb2
from protonova.conductor.v1 import host_pb2, migration_pb2, server_image_pb2, server_pb2
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.share import Access, Rule, Share
from tests.functional.conductor.test_delete import assert_nothing_left, delete
from tests.functional.conductor.test_power import change, events, reboot, start, stop
from tests.support.conductor import Conductor, Edges, as_user, by_somebody, new_server

REFUSED = errors.FailedPrecondition("Not today.", reason="HOST_REFUSES")
UNMOUNTABLE = "It does not answer."
HOST = "127.0.0.1"
STOPPED, ERROR = VmState.VM_STATE_STOPPED, VmState.VM_STATE_ERROR


def attach(cell: Conductor, server: Server, share: Share, tag: str = "") -> ServerShare:
    request = pb.AttachShareRequest(server_id=server.id, share_id=share.id, tag=tag)
    with by_somebody():
        return cell.devices.AttachShare(request).share


def detach(cell: Conductor, server: Server, share: Share) -> None:
    with by_somebody():
        cell.devices.DetachShare(pb.DetachShareRequest(server_id=server.id, share_id=share.id))


def off(cell: Conductor, host: str = "host1") -> Server:
    server = new_server(host=host, node=host, vm_state=STOPPED, power_state=PowerState.POWER_STATE_SHUTDOWN)
    server.launched_at.seconds = 1
    cell.store(server)
    guest = guest_pb2.Guest(server_id=server.id, power_state=server.power_state)
    cell.edges.guests.guests[host, server.id] = guest
    return server


def given(cell: Conductor, share: Share, host: str = "host1") -> Server:
    """A server that is off and has a share."""
    server = off(cell, host)
    attach(cell, server, share)
    cell.settled(server.id)
    return cell.get(server.id)


def statuses(cell: Conductor, server: Server) -> dict[str, str]:
    return {
        share.share_id: ShareStatus.Name(share.status).removeprefix("SHARE_STATUS_").lower()
        for share in cell.get(server.id).shares
    }


def test_attach_use_and_detach(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add()
    with as_user(request_id="req-attach"):
        told = attach(cell, server, share, tag="data")
    assert (told.share_id, told.tag, told.status) == (share.id, "data", ShareStatus.SHARE_STATUS_ATTACHING)
    assert (told.export_location, told.protocol) == (share.export_location, "NFS")
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "inactive"}
    assert edges.shares.reached_by(share.id) == {HOST}
    assert edges.shares.locked_for(share.id) == {server.id}
    assert edges.devices.shares[server.id] == {share.id: "data"}
    done = ("attach_share", "", [("compute_attach_share", "Success")])
    assert events(cell, server.id, "req-attach") == done

    start(cell, server.id)
    cell.wait(server.id, lambda s: s.shares[0].status == ShareStatus.SHARE_STATUS_ACTIVE)
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.shares[0].status == ShareStatus.SHARE_STATUS_INACTIVE)

    with as_user(request_id="req-detach"):
        detach(cell, server, share)
    cell.wait(server.id, lambda s: not s.shares)
    assert not edges.shares.rules
    assert not edges.shares.locks
    assert edges.devices.shares[server.id] == {}
    done = ("detach_share", "", [("compute_detach_share", "Success")])
    assert events(cell, server.id, "req-detach") == done


def test_what_is_refused(cell: Conductor, edges: Edges):
    server, shares = off(cell), edges.shares
    mine = given(cell, shares.add())

    def refused(
        share: Share, kind: type[errors.Error], reason: str, at: Server = server, tag: str = "", **who: object
    ) -> errors.Error:
        before = cell.get(at.id)
        with as_user(**who), pytest.raises(kind) as caught:
            attach(cell, at, share, tag)
        assert caught.value.reason == reason
        assert cell.get(at.id) == before
        return caught.value

    refused(Share("none", "", "", ""), errors.NotFound, "SHARE_NOT_FOUND")
    refused(shares.add(project_id="others"), errors.NotFound, "SHARE_NOT_FOUND")
    for fields, cause in (
        ({"status": "creating"}, "status"),
        ({"protocol": "CIFS"}, "protocol"),
        ({"protocol": "LOCAL"}, "protocol"),  # of this kind, its host mounts none
        ({"export_location": ""}, "export"),
    ):
        error = refused(shares.add(**fields), errors.FailedPrecondition, "SHARE_UNUSABLE")
        assert error.facts["cause"] == cause
    (known,) = mine.shares
    refused(shares.shares[known.share_id], errors.FailedPrecondition, "SHARE_ATTACHED", at=mine)
    refused(shares.add(), errors.FailedPrecondition, "SHARE_ATTACHED", at=mine, tag=known.tag)
    refused(shares.add(), errors.InvalidArgument, "SHARE_TAG_INVALID", tag="x" * 37)
    refused(shares.add(), errors.FailedPrecondition, "SERVER_STATE", at=cell.boot())
    cell.report("host1", share_protocols=[])
    refused(shares.add(), errors.PermissionDenied, "SHARES_UNSUPPORTED")
    with pytest.raises(errors.NotFound) as caught:
        detach(cell, server, shares.add())
    assert caught.value.reason == "SHARE_NOT_ATTACHED"
    assert not any(share_id != known.share_id for share_id, _ in shares.rules)


def test_an_administrator_attaches_what_is_others(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add(project_id="others")
    with as_user(is_admin=True):
        attach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "inactive"}


def test_a_lock_does_not_stand_against_it(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add()
    change(cell, server.id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    attach(cell, server, share)
    cell.settled(server.id)
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {}


def test_the_address_that_is_let_in(cell: Conductor, edges: Edges):
    cell.report("host1", share_ip="192.0.2.77")
    share = edges.shares.add()
    given(cell, share)
    assert edges.shares.reached_by(share.id) == {"192.0.2.77"}


def test_a_failure_is_told_by_the_share(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add()
    edges.guests.fail("AttachGuestShare", REFUSED)
    with as_user(request_id="req-attach"):
        attach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "error"}
    assert not edges.shares.rules
    assert not edges.shares.locks
    assert events(cell, server.id, "req-attach")[1] == "Error"
    # It is in nobody's way: the guest starts without it, and it can be detached and attached.
    start(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_ACTIVE)
    assert statuses(cell, server) == {share.id: "error"}
    stop(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    detach(cell, server, share)
    cell.settled(server.id)
    attach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "inactive"}


def test_a_share_service_that_lets_nobody_in(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add()
    edges.shares.becomes = "error"
    attach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "error"}
    assert not edges.shares.rules
    assert edges.devices.shares[server.id] == {}


def test_a_detach_that_fails_is_asked_for_again(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    server = given(cell, share)
    edges.shares.errors["deny"].append(errors.PermissionDenied("No.", reason="EXTERNAL_FORBIDDEN"))
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "error"}
    assert edges.devices.shares[server.id] == {}
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {}
    assert not edges.shares.rules


def test_a_share_that_is_gone_is_detached(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    server = given(cell, share)
    del edges.shares.shares[share.id]
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {}


def test_a_rule_of_its_owner_stays(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    edges.shares.rules[share.id, Access("ip", HOST)] = Rule("theirs", "active", ours=False)
    server = given(cell, share)
    detach(cell, server, share)
    cell.settled(server.id)
    assert [rule.id for rule in edges.shares.rules.values()] == ["theirs"]


def test_servers_of_a_host_share_its_access(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    first, second = given(cell, share), given(cell, share)
    assert len(edges.shares.rules) == 1
    assert edges.shares.locked_for(share.id) == {first.id, second.id}
    detach(cell, first, share)
    cell.settled(first.id)
    assert edges.shares.reached_by(share.id) == {HOST}
    assert edges.shares.locked_for(share.id) == {second.id}
    detach(cell, second, share)
    cell.settled(second.id)
    assert not edges.shares.rules


def test_a_server_that_comes_while_access_is_ended_has_it(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    first, second = given(cell, share), off(cell)

    def meanwhile() -> None:
        with as_user():
            attach(cell, second, share)

    edges.shares.after["deny"] = meanwhile
    detach(cell, first, share)
    cell.settled(first.id)
    cell.settled(second.id)
    assert statuses(cell, second) == {share.id: "inactive"}
    assert edges.shares.reached_by(share.id) == {HOST}


def test_a_share_that_cannot_be_mounted(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    server = given(cell, share)
    error = errors.FailedPrecondition(UNMOUNTABLE, reason="SHARE_UNAVAILABLE", share_id=share.id)
    edges.guests.fail("StartGuest", error)
    start(cell, server.id)
    found = cell.wait(server.id, lambda s: s.vm_state == ERROR)
    assert UNMOUNTABLE in found.fault.message
    assert statuses(cell, server) == {share.id: "error"}
    # A hard reboot mounts it again.
    reboot(cell, server.id, hard=True)
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_ACTIVE)
    assert statuses(cell, server) == {share.id: "active"}


def test_a_server_in_error_lets_go_of_a_share_that_cannot_be_mounted(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    server = given(cell, share)
    error = errors.FailedPrecondition(UNMOUNTABLE, reason="SHARE_UNAVAILABLE", share_id=share.id)
    edges.guests.fail("StartGuest", error)
    start(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == ERROR)
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {}
    assert not edges.shares.rules


def test_a_deletion_gives_all_back(cell: Conductor, edges: Edges):
    share, other = edges.shares.add(), edges.shares.add()
    server = given(cell, share)
    attach(cell, server, other)
    cell.settled(server.id)
    delete(cell, server.id)
    gone = cell.wait_gone(server.id)
    assert not gone.shares
    assert_nothing_left(edges, server.id)
    assert not edges.shares.rules
    assert not edges.shares.locks


def test_a_reset_of_the_state_ends_what_is_under_way(cell: Conductor, edges: Edges):
    server, share = off(cell), edges.shares.add()
    gate = edges.guests.gate("AttachGuestShare")
    attach(cell, server, share)
    assert gate.reached.wait(20)
    with as_user(is_admin=True):
        cell.servers.ResetServerState(server_pb2.ResetServerStateRequest(id=server.id, vm_state=ERROR))
    gate.open.set()
    cell.settled(server.id)
    assert statuses(cell, server) == {share.id: "error"}
    detach(cell, server, share)
    cell.settled(server.id)
    assert statuses(cell, server) == {}
    assert not edges.shares.rules


REFUSES_SHARES = {
    "suspend": lambda cell, id_: cell.servers.SuspendServer(server_pb2.SuspendServerRequest(id=id_)),
    "shelve": lambda cell, id_: cell.images.ShelveServer(server_image_pb2.ShelveServerRequest(id=id_)),
    "resize": lambda cell, id_: cell.migrations.MoveServer(
        migration_pb2.MoveServerRequest(server_id=id_, migration_id=id_, type="MIGRATION_TYPE_RESIZE")
    ),
    "migrate": lambda cell, id_: cell.migrations.MoveServer(
        migration_pb2.MoveServerRequest(server_id=id_, migration_id=id_, type="MIGRATION_TYPE_MIGRATION")
    ),
    "os-migrateLive": lambda cell, id_: cell.migrations.LiveMigrateServer(
        migration_pb2.LiveMigrateServerRequest(server_id=id_, migration_id=id_)
    ),
    "evacuate": lambda cell, id_: cell.migrations.EvacuateServer(
        migration_pb2.EvacuateServerRequest(server_id=id_, migration_id=id_)
    ),
    "rebuild": lambda cell, id_: cell.servers.RebuildServer(server_pb2.RebuildServerRequest(id=id_)),
}


def test_what_a_server_with_shares_is_not_asked_for(cell: Conductor, edges: Edges):
    share = edges.shares.add()
    server = given(cell, share)
    start(cell, server.id)
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_ACTIVE and not s.task_state)
    before = cell.get(server.id)
    for action, call in REFUSES_SHARES.items():
        kind = errors.InvalidArgument if action == "rebuild" else errors.FailedPrecondition
        if action == "evacuate":
            cell.hosts.UpdateComputeService(
                host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True)
            )
        with as_user(is_admin=True), pytest.raises(kind) as caught:
            call(cell, server.id)
        assert (caught.value.reason, caught.value.facts["action"]) == ("SERVER_HAS_SHARES", action)
    assert cell.get(server.id).vm_state == before.vm_state
