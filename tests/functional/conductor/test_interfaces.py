"""Interfaces, groups and addresses of servers, and what other services tell of them."""

from __future__ import annotations

import pytest

from protonova.common.v1 import server_device_pb2 as common
from protonova.common.v1.server_device_pb2 import ServerEvent
from protonova.common.v1.server_pb2 import LockHolder, Server, TaskState, VmState
from protonova.conductor.v1 import host_pb2
from protonova.conductor.v1 import server_device_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.conductor.test_power import STOPPED, change, events
from tests.functional.conductor.test_volumes import attach as attach_volume
from tests.support.conductor import Conductor, Edges, as_user, by_somebody

ACCEPTED = common.SERVER_EVENT_RESULT_ACCEPTED
NOBODY = "11111111-1111-1111-1111-111111111111"


@pytest.fixture
def server(cell: Conductor) -> Server:
    return cell.boot()


def attach(cell: Conductor, server: Server, **fields) -> common.ServerInterface:
    with by_somebody():
        request = pb.AttachInterfaceRequest(server_id=server.id, **fields)
        return cell.devices.AttachInterface(request).interface


def detach(cell: Conductor, server: Server, port_id: str) -> None:
    with by_somebody():
        cell.devices.DetachInterface(pb.DetachInterfaceRequest(server_id=server.id, port_id=port_id))


def listed(cell: Conductor, server: Server) -> dict[str, str]:
    request = pb.ListServerInterfacesRequest(server_id=server.id)
    return {
        one.interface.port_id: one.port_state for one in cell.devices.ListServerInterfaces(request).interfaces
    }


def test_a_port_of_a_network_comes_and_goes(cell: Conductor, edges: Edges, server: Server):
    network = edges.networks.add_network("private")
    with as_user(request_id="req-plug"):
        told = attach(cell, server, network_id=network.id, fixed_address="10.0.0.77", tag="front")
    (interface,) = cell.get(server.id).interfaces
    assert told.interface.port_id == interface.port_id
    assert (told.interface.tag, told.interface.addresses[0].address) == ("front", "10.0.0.77")
    assert (interface.network_name, interface.created_for_server) == ("private", True)
    assert edges.networks.ports[interface.port_id].host == "host1"
    assert edges.devices.ports[server.id] == {interface.port_id: ["10.0.0.77"]}
    assert listed(cell, server) == {interface.port_id: "DOWN"}
    done = ("attach_interface", "", [("compute_attach_interface", "Success")])
    assert events(cell, server.id, "req-plug") == done

    with as_user(request_id="req-unplug"):
        detach(cell, server, interface.port_id)
    cell.wait(server.id, lambda s: not s.interfaces)
    assert edges.networks.ports == {}
    assert edges.devices.ports[server.id] == {}
    done = ("detach_interface", "", [("compute_detach_interface", "Success")])
    assert events(cell, server.id, "req-unplug") == done


def test_a_call_that_is_sent_again_plugs_nothing_twice(cell: Conductor, edges: Edges, server: Server):
    network = edges.networks.add_network("private")
    told = []
    for _ in range(2):
        with as_user(request_id="req-plug"):
            told.append(attach(cell, server, network_id=network.id).interface.port_id)
    assert told[0] == told[1]
    assert [interface.port_id for interface in cell.get(server.id).interfaces] == told[:1]
    with as_user(request_id="req-other"):
        attach(cell, server, network_id=network.id)
    assert len(cell.get(server.id).interfaces) == 2


def test_a_port_of_the_user_stays(cell: Conductor, edges: Edges, server: Server):
    port = edges.networks.add_port(edges.networks.add_network("private"))
    attach(cell, server, port_id=port.id)
    with pytest.raises(errors.FailedPrecondition) as caught:
        attach(cell, server, port_id=port.id)
    assert caught.value.reason == "PORT_IN_USE"
    detach(cell, server, port.id)
    cell.wait(server.id, lambda s: not s.interfaces)
    assert edges.networks.ports[port.id].device_id == ""


def test_the_only_network_is_chosen(cell: Conductor, edges: Edges, server: Server):
    with pytest.raises(errors.InvalidArgument) as caught:
        attach(cell, server)
    assert caught.value.reason == "NETWORK_UNUSABLE"
    network = edges.networks.add_network("private")
    assert attach(cell, server).interface.network_id == network.id
    edges.networks.add_network("second")
    with pytest.raises(errors.InvalidArgument) as caught:
        attach(cell, server)
    assert caught.value.reason == "NETWORK_UNUSABLE"


def test_what_is_refused(cell: Conductor, edges: Edges, server: Server):
    network = edges.networks.add_network("private")
    for fields, reason in (
        ({"network_id": NOBODY}, "NETWORK_NOT_FOUND"),
        ({"port_id": NOBODY}, "PORT_NOT_FOUND"),
    ):
        with pytest.raises(errors.NotFound) as caught:
            attach(cell, server, **fields)
        assert caught.value.reason == reason
    with pytest.raises(errors.NotFound) as caught:
        detach(cell, server, NOBODY)
    assert caught.value.reason == "INTERFACE_NOT_FOUND"
    change(cell, server.id, vm_state=VmState.VM_STATE_SUSPENDED)
    with pytest.raises(errors.FailedPrecondition) as refused:
        attach(cell, server, network_id=network.id)
    assert refused.value.facts["action"] == "attach_interface"
    assert edges.networks.ports == {}


@pytest.mark.parametrize("method", ["AttachGuestInterface", "after AttachGuestInterface"])
@pytest.mark.parametrize("given", [True, False])
def test_a_guest_that_takes_no_card(cell: Conductor, edges: Edges, server: Server, method, given):
    network = edges.networks.add_network("private")
    port = edges.networks.add_port(network) if given else None
    edges.guests.fail(method, errors.FailedPrecondition("No slot is free.", reason="HOST_REFUSES"))
    with pytest.raises(errors.Internal) as caught:
        attach(cell, server, **({"port_id": port.id} if port else {"network_id": network.id}))
    assert caught.value.reason == "INTERFACE_ATTACH_FAILED"
    assert not cell.get(server.id).interfaces
    assert edges.devices.ports[server.id] == {}
    assert [port.device_id for port in edges.networks.ports.values()] == ([""] if given else [])


def test_an_address_that_is_taken(cell: Conductor, edges: Edges, server: Server):
    network = edges.networks.add_network("private")
    taken = errors.FailedPrecondition("Address in use.", reason="EXTERNAL_CONFLICT")
    edges.networks.errors["create_port"] = [taken]
    with pytest.raises(errors.FailedPrecondition) as caught:
        attach(cell, server, network_id=network.id, fixed_address="10.0.0.5")
    assert caught.value.reason == "ADDRESS_IN_USE"


def test_a_host_that_is_down(cell: Conductor, edges: Edges, server: Server):
    network = edges.networks.add_network("private")
    cell.hosts.UpdateComputeService(host_pb2.UpdateComputeServiceRequest(host="host1", forced_down=True))
    with pytest.raises(errors.FailedPrecondition) as caught:
        attach(cell, server, network_id=network.id)
    assert caught.value.reason == "HOST_NOT_READY"
    assert edges.networks.ports == {}


# ---- groups and addresses


@pytest.fixture
def plugged(cell: Conductor, edges: Edges, server: Server) -> Server:
    attach(cell, server, network_id=edges.networks.add_network("private").id)
    return cell.get(server.id)


def test_security_groups(cell: Conductor, edges: Edges, plugged: Server):
    edges.networks.groups["web"] = NOBODY
    add = pb.AddServerSecurityGroupRequest(server_id=plugged.id, security_group="web")
    remove = pb.RemoveServerSecurityGroupRequest(server_id=plugged.id, security_group=NOBODY)
    with by_somebody():
        cell.devices.AddServerSecurityGroup(add)
        cell.devices.AddServerSecurityGroup(add)
    assert list(cell.get(plugged.id).security_groups) == ["web"]
    (group,) = cell.devices.ListServerSecurityGroups(
        pb.ListServerSecurityGroupsRequest(server_id=plugged.id)
    ).groups
    assert (group.name, group.rules[0].from_port, group.rules[0].cidr) == ("web", 22, "10.0.0.0/8")
    cell.devices.RemoveServerSecurityGroup(remove)
    assert list(cell.get(plugged.id).security_groups) == []
    with pytest.raises(errors.NotFound) as caught:
        cell.devices.RemoveServerSecurityGroup(remove)
    assert caught.value.reason == "SECURITY_GROUP_NOT_FOUND"
    add.security_group = "nothing"
    with pytest.raises(errors.NotFound):
        cell.devices.AddServerSecurityGroup(add)
    refusal = errors.FailedPrecondition("No port security.", reason="EXTERNAL_CONFLICT")
    edges.networks.errors["change_port"] = [refusal]
    add.security_group = "web"
    with pytest.raises(errors.InvalidArgument) as refused:
        cell.devices.AddServerSecurityGroup(add)
    assert refused.value.reason == "SECURITY_GROUP_UNUSABLE"


def test_fixed_addresses(cell: Conductor, edges: Edges, plugged: Server):
    (interface,) = plugged.interfaces
    first = interface.addresses[0].address
    add = pb.AddFixedAddressRequest(server_id=plugged.id, network_id=interface.network_id)
    cell.devices.AddFixedAddress(add)
    addresses = [fixed.address for fixed in cell.get(plugged.id).interfaces[0].addresses]
    assert len(addresses) == 2
    assert edges.devices.ports[plugged.id] == {interface.port_id: addresses}
    remove = pb.RemoveFixedAddressRequest(server_id=plugged.id, address=first)
    cell.devices.RemoveFixedAddress(remove)
    assert [f.address for f in cell.get(plugged.id).interfaces[0].addresses] == addresses[1:]
    for call, request in (
        (cell.devices.RemoveFixedAddress, remove),
        (
            cell.devices.AddFixedAddress,
            pb.AddFixedAddressRequest(server_id=plugged.id, network_id=NOBODY),
        ),
    ):
        with pytest.raises(errors.InvalidArgument) as caught:
            call(request)
        assert caught.value.reason == "ADDRESS_UNUSABLE"
    change(cell, plugged.id, locked_by=LockHolder.LOCK_HOLDER_OWNER)
    with as_user(), pytest.raises(errors.FailedPrecondition) as refused:
        cell.devices.AddFixedAddress(add)
    assert refused.value.reason == "SERVER_LOCKED"


def test_floating_addresses(cell: Conductor, edges: Edges, plugged: Server):
    edges.networks.add_floating("192.0.2.7")
    fixed = plugged.interfaces[0].addresses[0].address
    # A task state of somebody else's is none of its business.
    change(cell, plugged.id, task_state=TaskState.TASK_STATE_REBOOTING)
    with as_user():
        cell.devices.AddFloatingAddress(
            pb.AddFloatingAddressRequest(server_id=plugged.id, address="192.0.2.7")
        )
    shown = cell.get(plugged.id)
    assert shown.task_state == TaskState.TASK_STATE_REBOOTING
    assert list(shown.interfaces[0].addresses[0].floating_addresses) == ["192.0.2.7"]
    assert edges.networks.floating_ip("192.0.2.7").fixed_address == fixed
    remove = pb.RemoveFloatingAddressRequest(server_id=plugged.id, address="192.0.2.7")
    with as_user():
        cell.devices.RemoveFloatingAddress(remove)
        assert not cell.get(plugged.id).interfaces[0].addresses[0].floating_addresses
        with pytest.raises(errors.FailedPrecondition) as caught:
            cell.devices.RemoveFloatingAddress(remove)
        assert caught.value.reason == "ADDRESS_NOT_ASSOCIATED"
    with as_user(project_id="other"), pytest.raises(errors.NotFound):
        cell.devices.RemoveFloatingAddress(remove)


# ---- events


def tell(cell: Conductor, *told: ServerEvent) -> list[int]:
    return list(cell.devices.ReportServerEvents(pb.ReportServerEventsRequest(events=told)).results)


def event(server: Server | str, name: str, tag: str = "", status: str = "completed") -> ServerEvent:
    server_id = server if isinstance(server, str) else server.id
    return ServerEvent(name=name, server_id=server_id, status=status, tag=tag)


def test_each_event_has_a_result_of_its_own(cell: Conductor, server: Server):
    homeless = cell.boot()
    change(cell, homeless.id, host="")
    told = [
        event(server, "network-changed"),
        event(NOBODY, "network-changed"),
        event(homeless, "network-changed"),
        event(server, "volume-extended"),
        event(server, "power-update", "POWER_MAYBE"),
        event(server, "accelerator-request-bound", "request"),
        event(server, "volume-reimaged", "volume"),
    ]
    results = tell(cell, *told)
    assert [
        common.ServerEventResult.Name(result).removeprefix("SERVER_EVENT_RESULT_") for result in results
    ] == [
        "ACCEPTED",
        "SERVER_NOT_FOUND",
        "NO_HOST",
        "TAG_INVALID",
        "TAG_INVALID",
        "ACCEPTED",
        "ACCEPTED",
    ]


def test_a_network_that_changed(cell: Conductor, edges: Edges, plugged: Server):
    (interface,) = plugged.interfaces
    edges.networks.add_floating("192.0.2.9")
    floating = edges.networks.floating_ip("192.0.2.9")
    edges.networks.lead_floating_ip(floating.id, interface.port_id, interface.addresses[0].address)
    assert tell(cell, event(plugged, "network-changed", interface.port_id)) == [ACCEPTED]
    cell.settled(plugged.id)
    shown = cell.get(plugged.id).interfaces[0].addresses[0]
    assert list(shown.floating_addresses) == ["192.0.2.9"]


def test_a_port_that_was_deleted(cell: Conductor, edges: Edges, plugged: Server):
    (interface,) = plugged.interfaces
    edges.networks.delete_port(interface.port_id)
    change(cell, plugged.id, vm_state=VmState.VM_STATE_SUSPENDED)
    assert tell(cell, event(plugged, "network-vif-deleted", interface.port_id)) == [ACCEPTED]
    cell.wait(plugged.id, lambda s: not s.interfaces)
    assert edges.devices.ports[plugged.id] == {}
    # It may be told again.
    assert tell(cell, event(plugged, "network-vif-deleted", interface.port_id)) == [ACCEPTED]


def test_a_volume_that_grew(cell: Conductor, edges: Edges, server: Server):
    volume = edges.volumes.add(1)
    attach_volume(cell, server, volume)
    cell.settled(server.id)
    edges.volumes.volumes[volume.id] = edges.volumes.add(5, id=volume.id, status="in-use")
    with as_user(request_id="req-grow"):
        assert tell(cell, event(server, "volume-extended", volume.id)) == [ACCEPTED]
    cell.settled(server.id)
    assert edges.devices.sizes == {volume.id: 5}
    assert cell.get(server.id).block_devices[0].size_gb == 5
    done = ("extend_volume", "", [("compute_extend_volume", "Success")])
    assert events(cell, server.id, "req-grow") == done


def test_power(cell: Conductor, server: Server):
    assert tell(cell, event(server, "power-update", "POWER_OFF")) == [ACCEPTED]
    cell.wait(server.id, lambda s: s.vm_state == STOPPED)
    assert tell(cell, event(server, "power-update", "POWER_OFF")) == [ACCEPTED]
    assert tell(cell, event(server, "power-update", "POWER_ON")) == [ACCEPTED]
    cell.wait(server.id, lambda s: s.vm_state == VmState.VM_STATE_ACTIVE)
