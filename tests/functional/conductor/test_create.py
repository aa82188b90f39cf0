"""The build of servers: the good way, and every bad one."""

from __future__ import annotations

import base64
import uuid

import pytest

from protonova.common.v1.server_pb2 import (
    BlockDevice,
    NetworkRequest,
    PowerState,
    TaskState,
    VmState,
)
from protonova.conductor.v1 import server_pb2
from protonova.services.conductor.operations import build as building
from protonova.services.numa import usage
from protonova.services.runtime import errors
from tests.support.conductor import Conductor, Edges, as_user, new_build, new_server, node_id, unblocked
from tests.support.numa import guest

SPAWN = "SpawnGuest"


def is_active(server):
    return server.vm_state == VmState.VM_STATE_ACTIVE


def is_error(server):
    return server.vm_state == VmState.VM_STATE_ERROR and not server.task_state


def refusal() -> errors.Error:
    return errors.FailedPrecondition("No room for the guest.", reason="HOST_REFUSES", why="memory")


def test_a_server_becomes_active(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    with as_user(request_id="req-1") as _:
        build = new_build("host1", networks=[NetworkRequest(network_id=network.id)], admin_password="secret")
        cell.create(build)
    server = cell.wait(build.server.id, is_active)

    assert server.task_state == TaskState.TASK_STATE_UNSPECIFIED
    assert server.power_state == PowerState.POWER_STATE_RUNNING
    assert server.host == server.node == "host1"
    assert server.launched_at.seconds >= server.created_at.seconds > 0
    assert server.instance_name == "instance-00000001"
    assert server.root_device_name == "/dev/vda"
    assert not server.HasField("fault")
    assert edges.guests.where(server.id) == ["host1"]
    assert edges.guests.spawned[0].admin_password == "secret"

    (interface,) = server.interfaces
    assert interface.network_name == "private"
    assert interface.created_for_server
    assert interface.mtu == 1450
    assert interface.bridge == "br-test"
    assert interface.vif_details["port_filter"] == "true"
    (address,) = interface.addresses
    assert address.cidr == "10.0.0.0/24"
    assert address.dns_servers == ["10.0.0.2"]
    assert address.host_routes[0].next_hop == "10.0.0.9"
    assert list(edges.guests.spawned[0].server.interfaces) == list(server.interfaces)

    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-1")
    ).action
    assert (action.action, action.user_id, action.message) == ("create", "user", "")
    (event,) = action.events
    assert (event.name, event.result, event.host) == (
        "compute__do_build_and_run_instance",
        "Success",
        "host1",
    )


def test_nothing_of_the_request_is_kept_when_the_build_is_over(cell: Conductor):
    build = new_build("host1", admin_password="correct-horse", files=[{"path": "/x", "contents": b"battery"}])
    cell.create(build)
    cell.wait(build.server.id, is_active)
    kept = b"".join(
        base64.b64encode(repr(row).encode()) + repr(row).encode()
        for table in ("builds", "operations", "servers")
        for row in cell.cell.db.read(lambda c, name=table: c.exec_driver_sql(f"SELECT * FROM {name}").all())
    )
    assert b"correct-horse" not in kept
    assert b"battery" not in kept


def test_a_boot_commits_four_times_at_most(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    commits = 0
    write = cell.cell.db.write

    def counted(fn, **options):
        nonlocal commits
        if "renew" not in fn.__qualname__ and "held" not in fn.__qualname__:
            commits += 1
        return write(fn, **options)

    # Only this object's door is watched: the transactions themselves are real.
    object.__setattr__(cell.cell.db, "write", counted)
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    cell.wait(build.server.id, is_active)
    assert commits <= 4


def test_creating_again_creates_nothing(cell: Conductor, edges: Edges):
    build = new_build("host1")
    cell.create(build)
    cell.wait(build.server.id, is_active)
    cell.create(build, new_build("host2"))
    cell.create(build)
    assert [call[2] for call in edges.guests.calls].count(build.server.id) == 1
    listed = cell.servers.ListServers(server_pb2.ListServersRequest(page_size=10))
    assert len(listed.servers) == 2


@pytest.mark.parametrize("build", [server_pb2.ServerBuild(), new_build("")])
def test_a_build_without_server_or_host_is_refused(cell: Conductor, build):
    with pytest.raises(errors.InvalidArgument) as caught:
        cell.servers.CreateServers(server_pb2.CreateServersRequest(builds=[build]))
    assert caught.value.reason == "BUILD_INVALID"


def test_a_host_that_refuses_gives_way_to_the_next(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    edges.guests.fail(SPAWN, refusal(), host="host1")
    build = new_build("host1", "host2", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert server.host == server.node == "host2"
    assert edges.guests.where(server.id) == ["host2"]
    assert edges.allocations.providers(server.id) == [node_id("host2")]
    (port,) = edges.networks.ports.values()
    assert port.host == "host2"
    assert port.id == server.interfaces[0].port_id


def test_a_host_that_is_down_gives_way_to_the_next(cell: Conductor, edges: Edges):
    build = new_build("nowhere", "host2")
    cell.create(build)
    assert cell.wait(build.server.id, is_active).host == "host2"


def test_a_full_alternate_is_passed_over(cell: Conductor, edges: Edges):
    edges.guests.fail(SPAWN, refusal(), host="host1")
    edges.allocations.full.add(node_id("host2"))
    build = new_build("host1", "host2", "host3")
    cell.create(build)
    assert cell.wait(build.server.id, is_active).host == "host3"
    assert edges.allocations.providers(build.server.id) == [node_id("host3")]


def test_with_no_host_left_the_server_is_in_error_and_holds_nothing(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    own = edges.networks.add_port(network)
    edges.guests.always_fail(SPAWN, refusal())
    with as_user(request_id="req-2"):
        build = new_build(
            "host1",
            "host2",
            networks=[NetworkRequest(network_id=network.id), NetworkRequest(port_id=own.id)],
        )
        cell.create(build)
    server = cell.wait(build.server.id, is_error)
    assert server.host == ""
    assert server.fault.code == 500
    assert server.fault.message.startswith("No valid host was found.")
    assert "HOST_REFUSES" in server.fault.details
    assert not server.interfaces
    assert edges.allocations.providers(server.id) == []
    assert [port.device_id for port in edges.networks.ports.values()] == [""]
    assert edges.guests.where(server.id) == []
    action = cell.servers.GetServerAction(
        server_pb2.GetServerActionRequest(server_id=server.id, request_id="req-2")
    ).action
    assert action.message == "Error"
    assert {event.result for event in action.events} == {"Error"}


def test_an_image_no_host_can_take_is_not_tried_elsewhere(cell: Conductor, edges: Edges):
    bad = errors.InvalidArgument("The image is broken.", reason="IMAGE_UNACCEPTABLE")
    edges.guests.fail(SPAWN, bad)
    build = new_build("host1", "host2")
    cell.create(build)
    server = cell.wait(build.server.id, is_error)
    assert server.fault.message == "The image is broken."
    assert [call for call in edges.guests.calls if call[0] == SPAWN] == [(SPAWN, "host1", server.id)]
    assert edges.allocations.providers(server.id) == []


def test_what_passes_is_waited_for(cell: Conductor, edges: Edges):
    away = errors.Unavailable("The image service is away.", reason="IMAGE_UNAVAILABLE")
    edges.guests.fail(SPAWN, away, times=2)
    edges.networks.errors["create_port"] = [errors.Unavailable("Away.")]
    network = edges.networks.add_network("private")
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    assert cell.wait(build.server.id, is_active).host == "host1"
    assert len(edges.networks.ports) == 1


def test_a_port_made_by_a_try_nobody_knows_the_end_of_is_taken_up(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    failures = [errors.Unavailable("The answer was lost.")]

    def lose_the_answer():
        if failures:
            raise failures.pop()

    edges.networks.after["create_port"] = lose_the_answer
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert [port.id for port in edges.networks.ports.values()] == [server.interfaces[0].port_id]


def test_ports_a_host_cannot_bind_send_the_server_elsewhere(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    edges.networks.unbindable_hosts.add("host1")
    build = new_build("host1", "host2", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert server.host == "host2"
    assert len(edges.networks.ports) == 1


def test_two_ports_on_one_network(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    wish = NetworkRequest(network_id=network.id, fixed_address="10.0.0.77")
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id), wish])
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert server.interfaces[1].addresses[0].address == "10.0.0.77"
    assert len({interface.port_id for interface in server.interfaces}) == 2


@pytest.mark.parametrize(("others", "chosen"), [([], True), (["second"], False)])
def test_an_automatic_network_is_the_only_one(cell: Conductor, edges: Edges, others, chosen):
    edges.networks.add_network("private")
    for name in others:
        edges.networks.add_network(name)
    build = new_build("host1", automatic_network=True)
    cell.create(build)
    server = cell.wait(build.server.id, lambda s: is_active(s) or is_error(s))
    assert is_active(server) is chosen
    assert [interface.network_name for interface in server.interfaces] == ["private"] * chosen


@pytest.mark.parametrize(
    ("request_fields", "groups", "reason"),
    [
        ({"port_id": "00000000-0000-0000-0000-000000000000"}, [], "PORT_NOT_FOUND"),
        ({}, ["no-such-group"], "SECURITY_GROUP_NOT_FOUND"),
    ],
)
def test_networking_that_cannot_be_had(cell: Conductor, edges: Edges, request_fields, groups, reason):
    network = edges.networks.add_network("private")
    fields = request_fields or {"network_id": network.id}
    build = new_build(
        "host1", "host2", networks=[NetworkRequest(**fields)], server=new_server(security_groups=groups)
    )
    cell.create(build)
    server = cell.wait(build.server.id, is_error)
    assert reason in server.fault.details
    assert server.fault.code == 404
    assert edges.networks.ports == {}
    assert edges.allocations.providers(server.id) == []
    assert edges.guests.calls == []


def test_groups_are_shown_as_its_ports_have_them(cell: Conductor, edges: Edges):
    networks = edges.networks
    network = networks.add_network("private")
    networks.groups |= {"web": str(uuid.uuid4()), "db": str(uuid.uuid4())}
    port = networks.add_port(network, security_groups=(networks.groups["db"],))
    edges.guests.fail(SPAWN, refusal(), "host1")
    build = new_build(
        "host1",
        "host2",
        networks=[NetworkRequest(network_id=network.id), NetworkRequest(port_id=port.id)],
        server=new_server(security_groups=[networks.groups["web"]]),
    )
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert server.host == "host2"
    assert list(server.security_groups) == ["web", "db"]
    assert [networks.ports[i.port_id].security_groups for i in server.interfaces] == [
        (networks.groups["web"],),
        (networks.groups["db"],),
    ]


def volume_device(**fields) -> BlockDevice:
    return BlockDevice(
        destination=BlockDevice.DESCRIPTOR.fields_by_name["destination"]
        .enum_type.values_by_name["BLOCK_DEVICE_DESTINATION_VOLUME"]
        .number,
        **fields,
    )


def test_volumes_are_attached_and_made(cell: Conductor, edges: Edges):
    mine = edges.volumes.add()
    devices = [
        volume_device(source=2, volume_id=mine.id, boot_index=0),
        volume_device(source=4, size_gb=3, delete_on_termination=True),
    ]
    build = new_build("host1", server=new_server(block_devices=devices))
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert server.block_devices[0].volume_id == mine.id
    assert server.block_devices[1].volume_id in edges.volumes.volumes
    spawned = edges.guests.spawned[0].server
    for device in spawned.block_devices:
        assert device.attachment_id in edges.volumes.completed
        assert device.connection["driver_volume_type"] == "file"
        assert edges.volumes.connected[device.attachment_id]["host"] == "host1"
    assert len(edges.volumes.attachments) == 2


@pytest.mark.parametrize(("token", "rights"), [("", ("", "")), ("a-token", ("a-token", "project"))])
def test_volumes_belong_to_whoever_asks(cell: Conductor, edges: Edges, token, rights):
    devices = [volume_device(source=4, size_gb=3)]
    build = new_build("host1", server=new_server(block_devices=devices, project_id="project"))
    build.user_token = token
    cell.create(build)
    cell.wait(build.server.id, is_active)
    assert list(edges.volumes.made_with.values()) == [rights]
    assert cell.cell.db.read(lambda connection: building.find(connection, build.server.id)) is None


def test_volumes_are_not_made_with_rights_that_are_over(cell: Conductor, edges: Edges):
    refusal = errors.PermissionDenied("The token has expired.", reason="EXTERNAL_FORBIDDEN")
    edges.volumes.errors["create"] = [refusal]
    build = new_build("host1", server=new_server(block_devices=[volume_device(source=4, size_gb=3)]))
    build.user_token = "a-token"
    cell.create(build)
    failed = cell.wait(build.server.id, is_error)
    assert "The token has expired." in failed.fault.message
    assert edges.volumes.volumes == {}


@pytest.mark.parametrize("method", ["create", "create_attachment", "connect_attachment"])
def test_volumes_that_cannot_be_had(cell: Conductor, edges: Edges, method):
    mine = edges.volumes.add()
    edges.volumes.errors[method] = [errors.NotFound("No.", reason="VOLUME_NOT_FOUND")]
    devices = [
        volume_device(source=2, volume_id=mine.id, boot_index=0),
        volume_device(source=4, size_gb=3),
    ]
    build = new_build("host1", "host2", server=new_server(block_devices=devices))
    cell.create(build)
    server = cell.wait(build.server.id, is_error)
    assert "VOLUME_NOT_FOUND" in server.fault.details
    assert list(edges.volumes.volumes) == [mine.id]
    assert edges.volumes.attachments == {}
    assert server.block_devices[0].volume_id == mine.id
    assert server.block_devices[1].volume_id == ""


def test_a_volume_that_breaks_while_it_is_made(cell: Conductor, edges: Edges):
    edges.volumes.becomes = "error"
    build = new_build("host1", server=new_server(block_devices=[volume_device(source=4, size_gb=3)]))
    cell.create(build)
    server = cell.wait(build.server.id, is_error)
    assert "VOLUME_NOT_MADE" in server.fault.details
    assert edges.volumes.volumes == {}


def test_users_see_what_is_being_done(cell: Conductor, edges: Edges):
    network = edges.networks.add_network("private")
    gate = edges.guests.gate(SPAWN)
    build = new_build("host1", networks=[NetworkRequest(network_id=network.id)])
    cell.create(build)
    unblocked(gate.reached)
    server = cell.get(build.server.id)
    assert server.vm_state == VmState.VM_STATE_BUILDING
    assert server.task_state == TaskState.TASK_STATE_SPAWNING
    assert server.interfaces[0].addresses[0].address
    gate.open.set()
    cell.wait(build.server.id, is_active)


def test_where_a_guest_lies_is_kept_with_its_server(cell: Conductor, edges: Edges):
    build = new_build("host1")
    build.server.numa_topology.CopyFrom(guest((range(2), 512)))
    cell.create(build)
    server = cell.wait(build.server.id, is_active)
    assert not edges.guests.spawned[0].server.numa_topology.fitted
    assert server.numa_topology.fitted
    assert usage.requested(server.numa_topology) == build.server.numa_topology
