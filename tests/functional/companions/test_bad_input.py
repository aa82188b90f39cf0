"""Whatever a request holds, it is answered with what is wrong with it, never with an error of the server."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from protonova.companions.cloud import EXTENSION
from protonova.companions.main import create_app
from protonova.companions.settings import Settings

ODD = (
    None,
    [],
    {},
    "",
    "x" * 300,
    "\0",
    -1,
    2**70,
    1.5,
    True,
    [None],
    {"a": None},
    [{}],
    "2001:db8::/0",
    "::1%eth0",
)
QUERIES = (
    "limit=-1", "limit=x", "limit=99999999999999999999", "marker=nope", "sort=nope:up", "sort_key=nope",
    "sort_dir=sideways&sort_key=id", "fields=nope", "shared=perhaps", "tags=%00", "created_at=never",
    "size_min=x", "fixed_ips=x%3Dy", "metadata=x", "visibility=odd", "member_status=odd", "name=in:%22x",
    "id=&name=&status=", "offset=-3", "enabled=maybe", "mtu=99999999999999999999999",
)  # fmt: skip


# Of those APIs that would otherwise answer as their first version did.
NEWEST = {"X-OpenStack-Manila-API-Version": "2.82"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    state = tmp_path_factory.mktemp("state")
    app = create_app(Settings(state, "http://127.0.0.1:8774", "secret", "secret", "secret"))
    app.testing = False
    app.config["PROPAGATE_EXCEPTIONS"] = False
    yield app
    app.extensions[EXTENSION].close()


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def token(client: FlaskClient) -> str:
    who = {"name": "admin", "domain": {"id": "default"}, "password": "secret"}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
    return client.post("/identity/v3/auth/tokens", json=body).headers["X-Subject-Token"]


def places(app: Flask) -> list[tuple[str, str]]:
    """Every method and address that is served, with ids that name nothing."""
    found = []
    for rule in app.url_map.iter_rules():
        values = {name: str(uuid.uuid4()) for name in rule.arguments}
        for name, choices in (
            ("targets", "projects"),
            ("actors", "users"),
            ("plural", "ports"),
            ("table", "volumes"),
            ("action", "deactivate"),
        ):
            if name in values:
                values[name] = choices
        if "project_id" in values and "length=32" in rule.rule:
            values["project_id"] = uuid.uuid4().hex
        path = app.url_map.bind("x").build(rule.endpoint, values)
        found += [
            (method, path) for method in sorted(rule.methods or ()) if method not in ("HEAD", "OPTIONS")
        ]
    return sorted(set(found))


def documents(path: str) -> Iterator[bytes]:
    yield from (b"", b"{", b'{"a": "\xff"}')
    for odd in ODD:
        yield json.dumps(odd).encode()
        for key in keys(path) if len(str(odd)) < 9 else ():
            yield json.dumps({key: odd}).encode()


def keys(path: str) -> list[str]:
    parts = [part.replace("-", "_") for part in path.split("/") if part]
    guesses = {part.removesuffix("s") for part in parts[2:]} | {parts[-1], "auth", "meta", "metadata", "tags"}
    return sorted(guess for guess in guesses if len(guess) < 30)


def test_no_document_and_no_query_is_an_error_of_the_server(app: Flask, client: FlaskClient) -> None:
    headers = {"X-Auth-Token": token(client), "Content-Type": "application/json", **NEWEST}
    served = places(app)
    assert len(served) > 250
    broken = []
    for method, path in served:
        if method in ("GET", "DELETE"):
            for query in QUERIES if method == "GET" else ("",):
                answer = client.open(f"{path}?{query}", method=method, headers=headers)
                if answer.status_code >= 500:
                    broken.append((method, path, query))
            continue
        for text in documents(path):
            answer = client.open(path, method=method, headers=headers, data=text)
            if answer.status_code >= 500:
                broken.append((method, path, text))
                break
    assert broken == []


ODD_VALUES = (
    *ODD,
    "fe80::1",
    "10.0.0.0/33",
    ["10.9.9.9"],
    0,
    "0",
    {"host": 1},
    [{"subnet_id": 1}],
    [[1]],
    "x" * 70000,
)


def well_formed(client: FlaskClient, headers: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Requests that succeed, one of each kind, on things that are there."""

    def made(path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = client.post(path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        (value,) = (value for value in answer.json.values() if isinstance(value, dict))
        return value

    v2, v3 = "/network/v2.0", "/volume/v3"
    network = made(f"{v2}/networks", {"network": {"name": "n"}})["id"]
    external = made(f"{v2}/networks", {"network": {"name": "e", "router:external": True}})["id"]
    subnet = made(
        f"{v2}/subnets", {"subnet": {"network_id": network, "cidr": "10.9.0.0/24", "ip_version": 4}}
    )["id"]
    made(f"{v2}/subnets", {"subnet": {"network_id": external, "cidr": "10.8.0.0/24", "ip_version": 4}})
    port = made(f"{v2}/ports", {"port": {"network_id": network}})["id"]
    group = made(f"{v2}/security-groups", {"security_group": {"name": "g"}})["id"]
    router = made(f"{v2}/routers", {"router": {"name": "r"}})["id"]
    floating = made(f"{v2}/floatingips", {"floatingip": {"floating_network_id": external}})["id"]
    volume = made(f"{v3}/volumes", {"volume": {"size": 1}})["id"]
    project = made("/identity/v3/projects", {"project": {"name": uuid.uuid4().hex}})["id"]
    user = made("/identity/v3/users", {"user": {"name": uuid.uuid4().hex, "password": "p"}})["id"]
    image = client.post("/image/v2/images", json={"name": "i"}, headers=headers).json["id"]
    binding = {"host": "h", "profile": {}, "vnic_type": "normal"}
    port_body = {
        "name": "p", "admin_state_up": True, "mac_address": "fa:16:3e:00:00:09", "device_id": "d",
        "device_owner": "c",
        "fixed_ips": [{"subnet_id": subnet}], "security_groups": [], "allowed_address_pairs": [],
        "extra_dhcp_opts": [], "binding:host_id": "h", "binding:profile": {}, "binding:vnic_type": "normal",
        "port_security_enabled": True, "project_id": "p", "tenant_id": "p", "description": "",
    }  # fmt: skip
    subnet_body = {
        "network_id": network, "cidr": "10.7.0.0/24", "ip_version": 4, "gateway_ip": "10.7.0.1", "host_routes": [],
        "allocation_pools": [{"start": "10.7.0.2", "end": "10.7.0.9"}], "dns_nameservers": [], "enable_dhcp": True,
        "ipv6_ra_mode": None, "ipv6_address_mode": None, "subnetpool_id": None, "prefixlen": None, "name": "s",
    }  # fmt: skip
    rule = {
        "security_group_id": group, "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp",
        "port_range_min": 1, "port_range_max": 2, "remote_ip_prefix": "10.0.0.0/8", "remote_group_id": None,
    }  # fmt: skip
    volume_body = {
        "size": 1, "name": "v", "description": "", "metadata": {}, "imageRef": None, "snapshot_id": None,
        "source_volid": None, "volume_type": None, "availability_zone": "nova", "multiattach": False,
    }  # fmt: skip
    image_body = {
        "name": "i", "visibility": "private", "protected": False, "min_disk": 0, "min_ram": 0, "tags": [],
        "container_format": "bare", "disk_format": "raw", "owner": "o", "os_hidden": False, "some_property": "x",
    }  # fmt: skip
    gateway = {"network_id": external, "enable_snat": True, "external_fixed_ips": []}
    action = f"{v3}/volumes/{volume}/action"
    secret = {"user": {"id": user, "password": "p"}}
    return [
        (
            "POST",
            f"{v2}/networks",
            {"network": {"name": "n", "mtu": 1500, "shared": False, "provider:segmentation_id": 1}},
        ),
        ("POST", f"{v2}/subnets", {"subnet": subnet_body}),
        (
            "PUT",
            f"{v2}/subnets/{subnet}",
            {"subnet": {"gateway_ip": None, "allocation_pools": [], "host_routes": []}},
        ),
        ("POST", f"{v2}/ports", {"port": {**port_body, "network_id": network}}),
        ("PUT", f"{v2}/ports/{port}", {"port": {**port_body}}),
        ("POST", f"{v2}/ports/{port}/bindings", {"binding": binding}),
        ("POST", f"{v2}/security-group-rules", {"security_group_rule": rule}),
        ("PUT", f"{v2}/security-groups/{group}", {"security_group": {"name": "g", "stateful": True}}),
        ("PUT", f"{v2}/routers/{router}", {"router": {"external_gateway_info": gateway, "routes": []}}),
        ("PUT", f"{v2}/routers/{router}/add_router_interface", {"subnet_id": subnet}),
        (
            "PUT",
            f"{v2}/floatingips/{floating}",
            {"floatingip": {"port_id": port, "fixed_ip_address": "10.9.0.2"}},
        ),
        ("PUT", f"{v2}/quotas/{project}", {"quota": {"port": 1}}),
        ("POST", f"{v3}/volumes", {"volume": volume_body}),
        ("PUT", f"{v3}/volumes/{volume}", {"volume": {"name": "v", "description": "", "metadata": {}}}),
        (
            "POST",
            f"{v3}/snapshots",
            {"snapshot": {"volume_id": volume, "name": "s", "metadata": {}, "force": False}},
        ),
        (
            "POST",
            f"{v3}/attachments",
            {"attachment": {"volume_uuid": volume, "instance_uuid": "s", "connector": {}}},
        ),
        (
            "POST",
            f"{v3}/types",
            {"volume_type": {"name": "t", "extra_specs": {}, "description": "", "is_public": True}},
        ),
        ("POST", action, {"os-extend": {"new_size": 2}}),
        (
            "POST",
            action,
            {"os-attach": {"instance_uuid": "s", "mountpoint": "/dev/vdb", "mode": "rw", "host_name": "h"}},
        ),
        ("POST", action, {"os-reset_status": {"status": "available", "attach_status": "detached"}}),
        (
            "POST",
            action,
            {"os-volume_upload_image": {"image_name": "i", "force": False, "disk_format": "raw"}},
        ),
        ("PUT", f"{v3}/os-quota-sets/{project}", {"quota_set": {"volumes": 1}}),
        ("POST", "/image/v2/images", image_body),
        ("PUT", f"/image/v2/images/{image}/members/{project}", {"status": "accepted"}),
        ("POST", f"/image/v2/images/{image}/members", {"member": project}),
        (
            "POST",
            "/identity/v3/projects",
            {"project": {"name": "p", "parent_id": None, "domain_id": None, "tags": []}},
        ),
        (
            "PATCH",
            f"/identity/v3/users/{user}",
            {"user": {"name": "u", "password": "x", "enabled": True, "email": "e"}},
        ),
        (
            "POST",
            f"/identity/v3/users/{user}/password",
            {"user": {"password": "a", "original_password": "p"}},
        ),
        (
            "POST",
            "/identity/v3/endpoints",
            {"endpoint": {"url": "u", "interface": "public", "service_id": "s"}},
        ),
        (
            "POST",
            "/identity/v3/auth/tokens",
            {"auth": {"identity": {"methods": ["password"], "password": secret}}},
        ),
        (
            "POST",
            "/identity/v3/auth/tokens",
            {"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}}},
        ),
    ]


def mutations(body: Any) -> Iterator[Any]:
    """The document with each of its parts replaced by each odd value."""
    if isinstance(body, dict):
        for name, value in body.items():
            for odd in ODD_VALUES:
                yield {**body, name: odd}
            for changed in mutations(value):
                yield {**body, name: changed}
    elif isinstance(body, list):
        for at, value in enumerate(body):
            for changed in mutations(value):
                yield [*body[:at], changed, *body[at + 1 :]]


def test_no_odd_value_in_a_good_request_is_an_error_of_the_server(client: FlaskClient) -> None:
    headers = {"X-Auth-Token": token(client), "OpenStack-API-Version": "volume 3.66"}
    broken = []
    for method, path, body in well_formed(client, headers):
        for changed in mutations(body):
            answer = client.open(path, method=method, headers=headers, json=changed)
            if answer.status_code >= 500:
                broken.append((method, path, str(changed)[:300]))
    assert broken == []


def test_patches_of_images(client: FlaskClient) -> None:
    kind = "application/openstack-images-v2.1-json-patch"
    headers = {"X-Auth-Token": token(client), "Content-Type": kind}
    image = client.post(
        "/image/v2/images", json={"name": "i"}, headers={"X-Auth-Token": headers["X-Auth-Token"]}
    ).json
    names = (
        "name",
        "tags",
        "visibility",
        "min_disk",
        "protected",
        "owner",
        "disk_format",
        "custom",
        "id",
        "a/b",
        "~",
        "",
    )
    for verb, name, odd in itertools.product(("add", "replace", "remove", "move", None), names, ODD_VALUES):
        patch = [{"op": verb, "path": f"/{name}", "value": odd}]
        answer = client.patch(f"/image/v2/images/{image['id']}", data=json.dumps(patch), headers=headers)
        assert answer.status_code < 500, patch
