"""Identity, images and networks, as the client session needs them, through openstacksdk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import openstack
import pytest

from tests.conformance.conftest import Site
from tests.support.rest import Rest


@pytest.fixture(scope="module")
def mine(sdk: Callable[[str], Any]) -> Iterator[Any]:
    connection = sdk("protonova")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def operator(sdk: Callable[[str], Any]) -> Iterator[Any]:
    connection = sdk("protonova-admin")
    yield connection
    connection.close()


def test_the_catalog_names_one_port(mine: Any, root: str) -> None:
    types = ("compute", "identity", "image", "network", "block-storage", "shared-file-system", "placement")
    endpoints = {kind: mine.session.get_endpoint(service_type=kind) for kind in types}
    assert all(endpoint and endpoint.startswith(root) for endpoint in endpoints.values()), endpoints


def test_identity(operator: Any, root: str) -> None:
    identity = operator.identity
    project = identity.create_project(name="crew", description="of a ship", domain_id="default")
    user = identity.create_user(name="sailor", password="ahoy", default_project_id=project.id)
    role = identity.find_role("member")
    identity.assign_project_role_to_user(project, user, role)
    sailor = Rest(root, "sailor", "ahoy", "crew")
    assert sailor.get("/servers") == {"servers": []}
    identity.unassign_project_role_from_user(project, user, role)
    with pytest.raises(AssertionError, match="401"):
        Rest(root, "sailor", "ahoy", "crew")
    identity.update_user(user, email="sailor@example.org")
    assert identity.get_user(user.id).email == "sailor@example.org"
    identity.delete_user(user)
    identity.delete_project(project)
    assert identity.find_project("crew") is None
    sailor.call("GET", "/servers").status = 401


def test_images(mine: Any) -> None:
    data = bytes(range(256)) * 4096
    image = mine.image.create_image(
        name="picture", disk_format="raw", container_format="bare", data=data, wait=True, kind="test"
    )
    image = mine.image.get_image(image.id)
    assert (image.status, image.size) == ("active", len(data))
    assert image.checksum == hashlib.md5(data).hexdigest()
    assert image.properties.get("kind", getattr(image, "kind", None)) == "test"
    got = mine.image.download_image(image, stream=True)
    assert b"".join(got.iter_content(65536)) == data
    assert image.id in [found.id for found in mine.image.images(name="picture")]
    mine.image.delete_image(image)
    assert mine.image.find_image("picture") is None


def test_networks(mine: Any, site: Site) -> None:
    network = mine.network.create_network(name="alley")
    subnet = mine.network.create_subnet(
        network_id=network.id,
        name="alley-sub",
        ip_version=4,
        cidr="10.88.0.0/29",
        dns_nameservers=["192.0.2.1"],
    )
    assert subnet.gateway_ip == "10.88.0.1"
    ports = [mine.network.create_port(network_id=network.id) for _ in range(5)]
    addresses = {port.fixed_ips[0]["ip_address"] for port in ports}
    assert addresses == {f"10.88.0.{last}" for last in range(2, 7)}
    with pytest.raises(openstack.exceptions.ConflictException):
        mine.network.create_port(network_id=network.id)
    assert len(list(mine.network.ports(network_id=network.id))) == 5
    with pytest.raises(openstack.exceptions.ConflictException):
        mine.network.delete_network(network)
    for port in ports:
        mine.network.delete_port(port)
    mine.network.delete_subnet(subnet)
    mine.network.delete_network(network)
    assert mine.network.find_network("alley") is None
    assert mine.network.find_network("shared-net").id == site.network


def test_a_full_network_fails_the_boot_cleanly(mine: Any, demo: Rest, servers: Any) -> None:
    network = mine.network.create_network(name="narrow")
    subnet = mine.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.89.0.0/30")
    first = servers.boot(demo, "first", networks=[{"uuid": network.id}])
    second = servers.wait(servers.create(demo, "second", networks=[{"uuid": network.id}]), "ERROR")
    assert second["addresses"] == {}
    assert second["fault"]["message"]
    assert len(list(mine.network.ports(network_id=network.id))) == 1
    for server in (first, second):
        demo.call("DELETE", f"/servers/{server['id']}")
        servers.gone(server["id"])
    mine.network.delete_subnet(subnet)
    mine.network.delete_network(network)


def test_volumes_answer(mine: Any) -> None:
    volume = mine.block_storage.create_volume(name="bucket", size=1)
    mine.block_storage.wait_for_status(volume, "available", interval=0.05, wait=30)
    mine.block_storage.delete_volume(volume)
    mine.block_storage.wait_for_delete(volume, interval=0.05, wait=30)
