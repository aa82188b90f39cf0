"""The life of a server through openstacksdk, as a member of a project has it."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import openstack
import pytest

from tests.conformance.conftest import Servers, Site
from tests.support.rest import Rest


@pytest.fixture(scope="module")
def mine(sdk: Callable[[str], openstack.connection.Connection]) -> Iterator[openstack.connection.Connection]:
    connection = sdk("protonova")
    connection.compute.default_microversion = "2.100"
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def operator(sdk: Callable[[str], openstack.connection.Connection]) -> Iterator[Any]:
    connection = sdk("protonova-admin")
    yield connection
    connection.close()


@pytest.fixture
def port(mine: Any, site: Site) -> Iterator[Any]:
    made = mine.network.create_port(network_id=site.network, name="kept-port")
    yield made
    mine.network.delete_port(made)


def _wait(mine: Any, server: Any, status: str = "ACTIVE") -> Any:
    return mine.compute.wait_for_server(server, status=status, interval=0.05, wait=30)


def test_a_server_with_everything(mine: Any, site: Site, admin: Rest, port: Any) -> None:
    key = mine.compute.create_keypair(name="session-key", public_key=_public_key())
    group = mine.network.create_security_group(name="session-group")
    user_data = base64.b64encode(b"#!/bin/sh\necho hello\n").decode()
    asked = mine.compute.create_server(
        name="Everything & more",
        description="All a user can ask for",
        flavor_id=site.flavor,
        image_id=site.image,
        networks=[{"uuid": site.network, "tag": "nic1"}, {"port": port.id}],
        key_name=key.name,
        security_groups=[{"name": "session-group"}],
        user_data=user_data,
        metadata={"role": "web", "rack": "7"},
        tags=["blue", "green"],
        scheduler_hints={"colour": "blue"},
        availability_zone="nova",
        has_config_drive=True,
        access_ipv4="192.0.2.7",
        admin_password="S3cret-word",
    )
    assert asked.admin_password == "S3cret-word"
    server = _wait(mine, asked)
    shown = admin.get(f"/servers/{server.id}")["server"]

    addresses = {address["addr"] for address in shown["addresses"]["shared-net"]}
    ports = list(mine.network.ports(device_id=server.id))
    assert addresses == {ip["ip_address"] for each in ports for ip in each.fixed_ips}
    macs = {address["OS-EXT-IPS-MAC:mac_addr"] for address in shown["addresses"]["shared-net"]}
    assert macs == {each.mac_address for each in ports}
    assert {each.status for each in ports} == {"ACTIVE"}
    assert sorted(name["name"] for name in shown["security_groups"]) == ["default", "session-group"]

    host = shown["OS-EXT-SRV-ATTR:host"]
    project = mine.current_project_id
    expected = {
        "name": "Everything & more",
        "description": "All a user can ask for",
        "status": "ACTIVE",
        "tenant_id": project,
        "user_id": mine.current_user_id,
        "metadata": {"role": "web", "rack": "7"},
        "tags": ["blue", "green"],
        "key_name": "session-key",
        "config_drive": "True",
        "accessIPv4": "192.0.2.7",
        "accessIPv6": "",
        "progress": 0,
        "locked": False,
        "locked_reason": None,
        "hostId": hashlib.sha224((project + host).encode()).hexdigest(),
        "host_status": "UP",
        "pinned_availability_zone": "nova",
        "scheduler_hints": {"colour": "blue"},
        "server_groups": [],
        "trusted_image_certificates": None,
        "os-extended-volumes:volumes_attached": [],
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": "nova",
        "OS-EXT-SRV-ATTR:hostname": "everything--more",
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host,
        "OS-EXT-SRV-ATTR:kernel_id": "",
        "OS-EXT-SRV-ATTR:ramdisk_id": "",
        "OS-EXT-SRV-ATTR:launch_index": 0,
        "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
        "OS-EXT-SRV-ATTR:user_data": user_data,
        "OS-EXT-STS:power_state": 1,
        "OS-EXT-STS:task_state": None,
        "OS-EXT-STS:vm_state": "active",
        "OS-SRV-USG:terminated_at": None,
    }
    assert {name: shown[name] for name in expected} == expected
    assert host.startswith("compute-")
    assert shown["image"]["id"] == site.image
    assert shown["image"]["properties"] == {"os_type": "linux"}
    assert shown["flavor"] == {
        "original_name": "c1.small", "vcpus": 1, "ram": 64, "disk": 1, "ephemeral": 0, "swap": 0,
        "extra_specs": {},
    }  # fmt: skip
    assert shown["created"][:19] <= shown["OS-SRV-USG:launched_at"][:19]
    assert shown["OS-EXT-SRV-ATTR:instance_name"].startswith("instance-")
    assert shown["OS-EXT-SRV-ATTR:reservation_id"].startswith("r-")

    mine.compute.delete_server(server)
    mine.compute.wait_for_delete(server, interval=0.05, wait=30)
    (left,) = mine.network.ports(id=port.id)
    assert (left.device_id, left.status) == ("", "DOWN")
    assert list(mine.network.ports(device_id=server.id)) == []
    mine.network.delete_security_group(group)
    mine.compute.delete_keypair(key)


def _public_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    public = ed25519.Ed25519PrivateKey.generate().public_key()
    form = serialization.PublicFormat.OpenSSH
    return public.public_bytes(serialization.Encoding.OpenSSH, form).decode()


def test_power_console_and_history(mine: Any, servers: Servers, demo: Rest) -> None:
    server = mine.compute.get_server(servers.boot(demo, "powered")["id"])
    assert "powered" in mine.compute.get_server_console_output(server)["output"]
    two = mine.compute.get_server_console_output(server, length=2)["output"]
    assert len(two.splitlines()) == 2

    mine.compute.stop_server(server)
    stopped = _wait(mine, server, "SHUTOFF")
    assert (stopped.power_state, stopped.vm_state, stopped.launched_at) == (4, "stopped", server.launched_at)
    mine.compute.start_server(server)
    _wait(mine, server)
    for kind in ("HARD", "SOFT"):
        mine.compute.reboot_server(server, kind)
        _wait(mine, server)

    history = list(mine.compute.server_actions(server))
    assert [entry.action for entry in history] == ["reboot", "reboot", "start", "stop", "create"]
    assert {entry.user_id for entry in history} == {mine.current_user_id}
    created = mine.compute.get_server_action(history[-1].request_id, server)
    (event,) = created.events
    assert (event.event, event.result) == ("compute__do_build_and_run_instance", "Success")
    assert event.host_id == server.host_id


def test_changes(mine: Any, servers: Servers, demo: Rest) -> None:
    server = mine.compute.get_server(servers.boot(demo, "changed")["id"])
    changed = mine.compute.update_server(
        server, name="other", description="new", access_ipv4="192.0.2.9", hostname="other-host"
    )
    assert (changed.name, changed.description, changed.access_ipv4) == ("other", "new", "192.0.2.9")
    assert changed.hostname == "other-host"

    mine.compute.set_server_metadata(server, a="1", b="2")
    mine.compute.set_server_metadata(server, b="3")
    mine.compute.delete_server_metadata(mine.compute.get_server(server.id), ["a"])
    assert mine.compute.get_server_metadata(server).metadata == {"b": "3"}

    path = f"/servers/{server.id}/tags"
    assert demo.call("PUT", path, {"tags": ["x", "y"]}).json == {"tags": ["x", "y"]}
    assert demo.call("PUT", f"{path}/z").status == 201
    assert demo.call("PUT", f"{path}/z").status == 204
    assert demo.call("GET", f"{path}/z").status == 204
    assert demo.call("DELETE", f"{path}/x").status == 204
    demo.call("GET", f"{path}/x").fault(404)
    assert demo.get(path) == {"tags": ["y", "z"]}
    assert demo.call("DELETE", path).status == 204
    assert demo.get(path) == {"tags": []}

    ips = demo.get(f"/servers/{server.id}/ips")
    assert ips == {"addresses": {}}


def test_lock(mine: Any, operator: Any, servers: Servers, demo: Rest, admin: Rest) -> None:
    server = mine.compute.get_server(servers.boot(demo, "locked")["id"])
    mine.compute.lock_server(server, locked_reason="audit")
    shown = mine.compute.get_server(server)
    assert (shown.is_locked, shown.locked_reason) == (True, "audit")
    for act in (mine.compute.stop_server, mine.compute.delete_server):
        with pytest.raises(openstack.exceptions.ConflictException, match="is locked"):
            act(server)
    assert [s.id for s in mine.compute.servers(locked=True)] == [server.id]
    mine.compute.unlock_server(server)
    operator.compute.lock_server(server)
    with pytest.raises(openstack.exceptions.ForbiddenException):
        mine.compute.unlock_server(server)
    operator.compute.stop_server(server)  # an administrator is not held up by locks
    servers.wait(server.id, "SHUTOFF")
    operator.compute.unlock_server(server)


def test_several_at_once(mine: Any, servers: Servers, demo: Rest, site: Site) -> None:
    body = site.server("many", min_count=2, max_count=4, return_reservation_id=True)
    reservation = demo.post("/servers", body)["reservation_id"]
    path = f"/servers/detail?reservation_id={reservation}"
    found = demo.get(path)["servers"]
    servers.made += [server["id"] for server in found]
    assert sorted(server["name"] for server in found) == ["many-1", "many-2", "many-3", "many-4"]
    for server in found:
        assert servers.wait(server["id"])["OS-EXT-SRV-ATTR:launch_index"] == int(server["name"][-1]) - 1


def test_an_address_of_ones_own(servers: Servers, demo: Rest, site: Site) -> None:
    wanted = [{"uuid": site.network, "fixed_ip": "10.77.9.9"}]
    server = servers.boot(demo, "addressed", networks=wanted)
    (address,) = server["addresses"]["shared-net"]
    assert address["addr"] == "10.77.9.9"
    again = demo.call("POST", "/servers", site.server("again", networks=wanted))
    assert again.status in (202, 400)
    if again.status == 202:  # who came first is known only when the port is made
        servers.made.append(again.json["server"]["id"])
        failed = servers.wait(again.json["server"]["id"], "ERROR")
        assert "10.77.9.9" in failed["fault"]["message"]
