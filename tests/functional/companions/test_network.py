"""Network: networks, subnets, ports and what is decided about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openstack.connection import Connection
from openstack.exceptions import (
    BadRequestException,
    ConflictException,
    ForbiddenException,
    HttpException,
    NotFoundException,
)

from .conftest import Companions


def kind_of(error: pytest.ExceptionInfo[HttpException]) -> str:
    return str(error.value.response.json()["NeutronError"]["type"])


@pytest.fixture
def mine(new_project: Callable[..., Connection]) -> Connection:
    return new_project()


@pytest.fixture
def network(mine: Connection) -> Any:
    return mine.network.create_network(name="net")


@pytest.fixture
def subnet(mine: Connection, network: Any) -> Any:
    return mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.20.0.0/24", name="sub")


def addresses(port: Any) -> list[str]:
    return [entry["ip_address"] for entry in port.fixed_ips]


def test_networks_and_their_subnets(mine: Connection, network: Any, subnet: Any) -> None:
    assert (network.mtu, network.status, network.is_admin_state_up) == (1500, "ACTIVE", True)
    assert network.provider_network_type is None  # for administrators only
    assert mine.network.get_network(network.id).subnet_ids == [subnet.id]
    assert (subnet.gateway_ip, subnet.allocation_pools) == (
        "10.20.0.1",
        [{"start": "10.20.0.2", "end": "10.20.0.254"}],
    )
    changed = mine.network.update_subnet(subnet, dns_nameservers=["1.1.1.1"], gateway_ip=None)
    assert (changed.dns_nameservers, changed.gateway_ip) == (["1.1.1.1"], None)
    assert changed.revision_number == 2
    with pytest.raises(BadRequestException) as overlap:
        mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.20.0.128/25")
    assert kind_of(overlap) == "InvalidInput"
    port = mine.network.create_port(network_id=network.id)
    for delete, thing, kind in (
        (mine.network.delete_subnet, subnet, "SubnetInUse"),
        (mine.network.delete_network, network, "NetworkInUse"),
    ):
        with pytest.raises(ConflictException) as in_use:
            delete(thing, ignore_missing=False)
        assert kind_of(in_use) == kind
    mine.network.delete_port(port)
    mine.network.delete_network(network, ignore_missing=False)
    with pytest.raises(NotFoundException):
        mine.network.get_subnet(subnet.id)


def test_a_port_gets_an_address_a_mac_and_the_default_group(
    mine: Connection, network: Any, subnet: Any
) -> None:
    port = mine.network.create_port(network_id=network.id)
    assert addresses(port) == ["10.20.0.2"]
    assert port.mac_address.startswith("fa:16:3e:")
    (group,) = mine.network.security_groups(name="default")
    assert port.security_group_ids == [group.id]
    assert port.status == "DOWN"
    exact = mine.network.create_port(network_id=network.id, fixed_ips=[{"ip_address": "10.20.0.77"}])
    assert addresses(exact) == ["10.20.0.77"]
    chosen = mine.network.create_port(network_id=network.id, fixed_ips=[{"subnet_id": subnet.id}] * 2)
    assert len(set(addresses(chosen))) == 2
    assert addresses(mine.network.create_port(network_id=network.id, fixed_ips=[])) == []


@pytest.mark.parametrize(
    ("port", "code", "kind"),
    [
        ({"fixed_ips": [{"ip_address": "10.20.0.50"}]}, 409, "IpAddressAlreadyAllocated"),
        ({"fixed_ips": [{"ip_address": "10.99.0.50"}]}, 400, "InvalidIpForNetwork"),
        ({"fixed_ips": [{"ip_address": "10.20.0.255"}]}, 400, "InvalidIpForSubnet"),
        ({"mac_address": "fa:16:3e:11:11:11"}, 409, "MacAddressInUse"),
        ({"mac_address": "01:00:5e:00:00:01"}, 400, "InvalidInput"),
        (
            {"security_groups": ["5d8a0c3a-3f3b-4d52-9d2c-6ed0f28e6a10"]},
            404,
            "SecurityGroupNotFound",
        ),
        ({"nonsense": 1}, 400, "HTTPBadRequest"),
    ],
)
def test_ports_that_are_refused(
    companions: Companions,
    mine: Connection,
    network: Any,
    subnet: Any,
    port: dict[str, Any],
    code: int,
    kind: str,
) -> None:
    taken = {"fixed_ips": [{"ip_address": "10.20.0.50"}], "mac_address": "fa:16:3e:11:11:11"}
    mine.network.create_port(network_id=network.id, **taken)
    answer = mine.session.post(
        f"{companions.url}/network/v2.0/ports",
        json={"port": {"network_id": network.id, **port}},
        raise_exc=False,
    )
    assert (answer.status_code, answer.json()["NeutronError"]["type"]) == (code, kind)
    assert len(list(mine.network.ports(network_id=network.id))) == 1


def test_addresses_run_out(mine: Connection, network: Any) -> None:
    mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.21.0.0/29")
    ports = [mine.network.create_port(network_id=network.id) for _ in range(5)]
    with pytest.raises(ConflictException) as none_left:
        mine.network.create_port(network_id=network.id)
    assert kind_of(none_left) == "IpAddressGenerationFailure"
    mine.network.delete_port(ports[2])
    assert addresses(mine.network.create_port(network_id=network.id)) == addresses(ports[2])


def test_ipv6_by_pool_and_by_mac(mine: Connection, network: Any) -> None:
    mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.22.0.0/24")
    mine.network.create_subnet(network_id=network.id, ip_version=6, cidr="2001:db8:1::/64")
    mine.network.create_subnet(
        network_id=network.id,
        ip_version=6,
        cidr="2001:db8:2::/64",
        ipv6_address_mode="slaac",
        ipv6_ra_mode="slaac",
    )
    port = mine.network.create_port(network_id=network.id, mac_address="fa:16:3e:12:34:56")
    assert addresses(port) == ["10.22.0.2", "2001:db8:1::2", "2001:db8:2:0:f816:3eff:fe12:3456"]


def test_many_ports_in_one_request_are_made_all_or_none(
    companions: Companions, mine: Connection, network: Any
) -> None:
    mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.23.0.0/29")
    body = {"ports": [{"network_id": network.id, "name": f"p{number}"} for number in range(3)]}
    made = mine.session.post(f"{companions.url}/network/v2.0/ports", json=body)
    assert [port["name"] for port in made.json()["ports"]] == ["p0", "p1", "p2"]
    refused = mine.session.post(f"{companions.url}/network/v2.0/ports", json=body, raise_exc=False)
    assert refused.status_code == 409
    assert len(list(mine.network.ports(network_id=network.id))) == 3


def test_a_port_is_bound_to_a_host(admin: Connection, mine: Connection, network: Any, subnet: Any) -> None:
    port = mine.network.create_port(network_id=network.id)
    with pytest.raises(ForbiddenException):
        mine.network.update_port(port, binding_host_id="host1")
    bound = admin.network.update_port(
        port,
        binding_host_id="host1",
        device_id="server",
        device_owner="compute:nova",
        binding_profile={"a": 1},
    )
    assert (bound.status, bound.binding_vif_type) == ("ACTIVE", "bridge")
    assert bound.binding_vif_details["bridge_name"] == f"pnbr{network.id[:10]}"
    assert bound.binding_profile == {"a": 1}
    seen = mine.network.get_port(port.id)
    assert (seen.device_id, seen.binding_host_id, seen.binding_vnic_type) == ("server", None, "normal")
    with pytest.raises(ConflictException) as error:
        admin.network.update_port(port, mac_address="fa:16:3e:00:00:01")
    assert kind_of(error) == "PortBound"
    free = admin.network.update_port(port, binding_host_id="", device_id="", device_owner="")
    assert (free.status, free.binding_vif_type) == ("DOWN", "unbound")


def test_a_second_binding_takes_over(
    companions: Companions, admin: Connection, mine: Connection, network: Any
) -> None:
    port = mine.network.create_port(network_id=network.id)
    admin.network.update_port(port, binding_host_id="one", device_id="server")
    path = f"/network/v2.0/ports/{port.id}/bindings"
    made = companions.call("POST", path, {"binding": {"host": "two", "profile": {"b": 2}}})
    assert (made.status_code, made.json()["binding"]["status"]) == (201, "INACTIVE")
    assert made.json()["binding"]["vif_type"] == "bridge"
    assert companions.call("POST", path, {"binding": {"host": "two"}}).status_code == 409
    assert admin.network.get_port(port.id).binding_host_id == "one"
    assert companions.call("PUT", f"{path}/two/activate").json()["binding"]["status"] == "ACTIVE"
    moved = admin.network.get_port(port.id)
    assert (moved.binding_host_id, moved.binding_profile) == ("two", {"b": 2})
    shown = {entry["host"]: entry["status"] for entry in companions.call("GET", path).json()["bindings"]}
    assert shown == {"two": "ACTIVE", "one": "INACTIVE"}
    assert companions.call("DELETE", f"{path}/one").status_code == 204
    assert companions.call("PUT", f"{path}/one/activate").status_code == 404


def test_addresses_of_a_port_change(mine: Connection, network: Any, subnet: Any) -> None:
    port = mine.network.create_port(network_id=network.id)
    (before,) = addresses(port)
    both = mine.network.update_port(
        port, fixed_ips=[{"ip_address": before}, {"subnet_id": subnet.id, "ip_address": "10.20.0.99"}]
    )
    assert addresses(both) == [before, "10.20.0.99"]
    assert addresses(mine.network.update_port(port, fixed_ips=[{"ip_address": "10.20.0.99"}])) == [
        "10.20.0.99"
    ]
    again = mine.network.create_port(network_id=network.id, fixed_ips=[{"ip_address": before}])
    assert addresses(again) == [before]


def test_lists_are_filtered(admin: Connection, mine: Connection, network: Any, subnet: Any) -> None:
    one = mine.network.create_port(network_id=network.id, name="one", device_id="device-a")
    two = mine.network.create_port(network_id=network.id, name="two", device_owner="compute:x")

    def found(**query: Any) -> set[str]:
        return {port.id for port in mine.network.ports(**query)}

    assert found() == {one.id, two.id}
    assert found(device_id="device-a") == {one.id}
    assert found(device_owner="compute:x") == {two.id}
    assert found(mac_address=two.mac_address.upper()) == {two.id}
    assert found(fixed_ips=f"ip_address={addresses(one)[0]}") == {one.id}
    assert found(fixed_ips=f"subnet_id={subnet.id}") == {one.id, two.id}
    assert found(fixed_ips="ip_address=10.20.0.250") == set()
    assert found(network_id=network.id, name="two") == {two.id}
    assert found(status="ACTIVE") == set()
    assert found(is_admin_state_up=True) == {one.id, two.id}
    assert found(security_group_ids=one.security_group_ids[0]) == {one.id, two.id}
    names = [port.name for port in mine.network.ports(sort_key="name", sort_dir="desc")]
    assert names == ["two", "one"]
    assert [port.id for port in admin.network.ports(project_id=mine.current_project_id, limit=1)] == sorted(
        (one.id, two.id)
    )
    partial = mine.session.get(
        f"{mine.session.get_endpoint(service_type='network', version='2').rstrip('/')}/ports?fields=id&fields=name"
    ).json()
    assert set(partial["ports"][0]) == {"id", "name"}


def test_what_belongs_to_others(
    admin: Connection, mine: Connection, network: Any, subnet: Any, new_project: Callable[..., Connection]
) -> None:
    other = new_project()
    port = mine.network.create_port(network_id=network.id)
    for refused in (
        lambda: other.network.get_network(network.id),
        lambda: other.network.get_port(port.id),
        lambda: other.network.get_subnet(subnet.id),
        lambda: other.network.create_port(network_id=network.id),
        lambda: other.network.delete_port(port.id, ignore_missing=False),
    ):
        with pytest.raises(NotFoundException):
            refused()
    with pytest.raises(ForbiddenException):
        mine.network.update_network(network, shared=True)
    admin.network.update_network(network, shared=True)
    guest = other.network.create_port(network_id=network.id)
    assert addresses(guest)
    with pytest.raises(ForbiddenException):
        other.network.create_port(network_id=network.id, fixed_ips=[{"ip_address": "10.20.0.80"}])
    with pytest.raises(ForbiddenException):
        other.network.delete_network(network.id, ignore_missing=False)
    assert mine.network.get_port(guest.id).id == guest.id  # the owner of the network sees who is on it
    reader = new_project("reader")
    with pytest.raises(ForbiddenException):
        reader.network.create_network(name="x")


def test_security_groups_and_rules(mine: Connection, network: Any) -> None:
    group = mine.network.create_security_group(name="web")
    assert {rule["direction"] for rule in group.security_group_rules} == {"egress"}
    rule = {"security_group_id": group.id, "direction": "ingress", "protocol": "tcp", "ethertype": "IPv4"}
    made = mine.network.create_security_group_rule(**rule, port_range_min=80, port_range_max=80)
    assert made.port_range_max == 80
    within = mine.network.create_security_group_rule(**rule, remote_ip_prefix="10.2.3.124/24")
    assert within.remote_ip_prefix == "10.2.3.124/24"
    with pytest.raises(ConflictException):
        mine.network.create_security_group_rule(**rule, remote_ip_prefix="10.2.3.0/24")
    with pytest.raises(ConflictException) as twice:
        mine.network.create_security_group_rule(**rule, port_range_min=80, port_range_max=80)
    assert kind_of(twice) == "SecurityGroupRuleExists"
    for wrong in (
        {"port_range_min": 9, "port_range_max": 3},
        {"remote_ip_prefix": "2001:db8::/32"},
        {"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group.id},
        {"protocol": "nonsense"},
        {"protocol": None, "port_range_min": 1, "port_range_max": 2},
    ):
        with pytest.raises(BadRequestException):
            mine.network.create_security_group_rule(**{**rule, **wrong})
    port = mine.network.create_port(network_id=network.id, security_group_ids=[group.id])
    with pytest.raises(ConflictException) as in_use:
        mine.network.delete_security_group(group, ignore_missing=False)
    assert kind_of(in_use) == "SecurityGroupInUse"
    mine.network.update_port(port, security_group_ids=[])
    mine.network.delete_security_group(group, ignore_missing=False)
    (default,) = mine.network.security_groups(name="default")
    with pytest.raises(ConflictException):
        mine.network.delete_security_group(default, ignore_missing=False)
    with pytest.raises(ConflictException):
        mine.network.create_security_group(name="default")


def test_routers_and_floating_ips(admin: Connection, mine: Connection, network: Any, subnet: Any) -> None:
    external = admin.network.create_network(name="external", is_router_external=True)
    admin.network.create_subnet(network_id=external.id, ip_version=4, cidr="172.30.0.0/24")
    assert mine.network.get_network(external.id).is_router_external
    router = mine.network.create_router(name="router", external_gateway_info={"network_id": external.id})
    assert router.external_gateway_info["external_fixed_ips"][0]["ip_address"].startswith("172.30.0.")
    port = mine.network.create_port(network_id=network.id)
    floating = mine.network.create_ip(floating_network_id=external.id)
    assert (floating.status, floating.port_id) == ("DOWN", None)
    with pytest.raises(NotFoundException) as no_way:
        mine.network.update_ip(floating, port_id=port.id)
    assert kind_of(no_way) == "ExternalGatewayForFloatingIPNotFound"
    interface = mine.network.add_interface_to_router(router, subnet_id=subnet.id)
    assert mine.network.get_port(interface["port_id"]).device_owner == "network:router_interface"
    led = mine.network.update_ip(floating, port_id=port.id)
    assert (led.status, led.fixed_ip_address, led.router_id) == ("ACTIVE", addresses(port)[0], router.id)
    assert mine.network.get_ip(floating.id).port_details["mac_address"] == port.mac_address
    with pytest.raises(ConflictException):
        mine.network.remove_interface_from_router(router, subnet_id=subnet.id)
    with pytest.raises(ConflictException):
        mine.network.delete_router(router, ignore_missing=False)
    with pytest.raises(ConflictException):
        mine.network.delete_port(interface["port_id"], ignore_missing=False)
    mine.network.delete_port(port)
    assert (mine.network.get_ip(floating.id).status, mine.network.get_ip(floating.id).port_id) == (
        "DOWN",
        None,
    )
    mine.network.remove_interface_from_router(router, subnet_id=subnet.id)
    mine.network.delete_ip(floating, ignore_missing=False)
    mine.network.delete_router(router, ignore_missing=False)
    assert list(admin.network.ports(network_id=external.id)) == []


def test_quotas(admin: Connection, mine: Connection, network: Any) -> None:
    project = mine.current_project_id
    admin.network.update_quota(project, ports=1)
    assert mine.network.get_quota(project).ports == 1
    mine.network.create_port(network_id=network.id)
    with pytest.raises(ConflictException) as over:
        mine.network.create_port(network_id=network.id)
    assert kind_of(over) == "OverQuota"
    assert admin.network.get_quota(project, details=True).ports["used"] == 1
    admin.network.delete_quota(project)
    assert mine.network.get_quota(project).ports == -1


def test_tags(mine: Connection, network: Any) -> None:
    other = mine.network.create_network(name="other")
    mine.network.set_tags(network, ["a", "b"])
    mine.network.set_tags(other, ["b"])

    def found(**query: str) -> set[str]:
        return {found.id for found in mine.network.networks(project_id=mine.current_project_id, **query)}

    assert found(tags="a,b") == {network.id}
    assert found(any_tags="a,b") == {network.id, other.id}
    assert found(not_tags="a") == {other.id}


def test_what_is_served_is_listed(admin: Connection, companions: Companions) -> None:
    aliases = {extension.alias for extension in admin.network.extensions()}
    assert {"binding", "binding-extended", "security-group", "router", "external-net", "quotas"} <= aliases
    assert {zone.name for zone in admin.network.availability_zones()} == {"nova"}
    assert list(admin.network.agents()) == []
    fault = companions.call("GET", "/network/v2.0/ports/none").json()["NeutronError"]
    assert (fault["type"], set(fault)) == ("PortNotFound", {"type", "message", "detail"})


def test_free_addresses_of_a_network(admin: Connection, mine: Connection, network: Any, subnet: Any) -> None:
    mine.network.create_port(network_id=network.id)
    free = admin.network.get_network_ip_availability(network.id)
    assert (free.total_ips, free.used_ips) == (253, 1)
