"""What POST /servers takes at which version, and the request it becomes."""

from __future__ import annotations

import base64

import pytest

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.services.runtime import errors

IMAGE = "70a599e0-31e7-49b7-b260-868f441e862b"
NETWORK = "11111111-1111-1111-1111-111111111111"
PORT = "22222222-2222-2222-2222-222222222222"
VOLUME = "33333333-3333-3333-3333-333333333333"


@pytest.fixture
def make(cloud):
    cloud.flavors.put(id="1", name="m1.tiny")

    def post(version="2.104", token="member", hints=None, headers=None, **fields):
        server = {"name": "one", "flavorRef": "1", "imageRef": IMAGE}
        if int(version.partition(".")[2]) >= 37:
            server["networks"] = "auto"
        server.update(fields)
        body = {"server": {name: value for name, value in server.items() if value is not ...}}
        if hints is not None:
            body["os:scheduler_hints"] = hints
        return cloud.call("POST", "/servers", body, version=version, token=token, headers=headers)

    return post


@pytest.fixture
def asked(cloud):
    return lambda: cloud.servers.requests[-1]


def test_the_answer(cloud, make):
    answer = make(adminPass="secret", security_groups=[{"name": "web"}])
    assert answer.status_code == 202
    server = answer.json["server"]
    assert set(server) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    assert server["adminPass"] == "secret"
    assert server["security_groups"] == [{"name": "web"}]
    assert answer.headers["Location"] == f"http://localhost/v2.1/servers/{server['id']}"


def test_reservation(make, asked):
    answer = make(return_reservation_id="yes", min_count=2, max_count="3")
    assert answer.json == {"reservation_id": "r-12345678"}
    assert "Location" not in answer.headers
    assert (asked().min_count, asked().max_count) == (2, 3)


def test_an_address_is_kept_in_its_one_form(make, asked):
    make(accessIPv6="::babe:220.12.22.2")
    assert asked().access_ip_v6 == "::babe:dc0c:1602"


def test_counts(make, asked):
    make(min_count=4)
    assert (asked().min_count, asked().max_count) == (4, 4)
    make(max_count=4)
    assert (asked().min_count, asked().max_count) == (1, 4)
    assert make(min_count=3, max_count=2).status_code == 400
    assert make(min_count=0).status_code == 400
    assert make(max_count="0").status_code == 400
    assert make(max_count="three").status_code == 400


# Field → value and the versions that take it.
WINDOWS = {
    "description": ("text", 19, 104),
    "tags": (["a"], 52, 104),
    "trusted_image_certificates": (["cert"], 63, 104),
    "hostname": ("label", 90, 104),
    "personality": ([{"path": "/etc/motd", "contents": base64.b64encode(b"hi").decode()}], 1, 56),
}


@pytest.mark.parametrize("field", WINDOWS)
@pytest.mark.parametrize("version", [1, 18, 19, 51, 52, 56, 57, 62, 63, 89, 90, 104])
def test_windows(make, field, version):
    value, first, last = WINDOWS[field]
    answer = make(version=f"2.{version}", **{field: value})
    assert answer.status_code == (202 if first <= version <= last else 400), answer.json


def test_networks_by_version(make, asked):
    assert make(version="2.36", networks="none").status_code == 400
    assert make(version="2.36", networks=...).status_code == 202
    assert make(version="2.37", networks=...).status_code == 400
    assert make(version="2.37", networks="none").status_code == 202
    assert asked().network_mode == api.NETWORK_MODE_NONE
    assert make(version="2.37", networks="auto").status_code == 202
    assert asked().network_mode == api.NETWORK_MODE_AUTO
    assert make(version="2.37", networks="other").status_code == 400
    tagged = [{"uuid": NETWORK, "tag": "nic1"}]
    for version, code in (
        ("2.31", 400),
        ("2.32", 202),
        ("2.36", 202),
        ("2.37", 400),
        ("2.41", 400),
        ("2.42", 202),
    ):
        assert make(version=version, networks=tagged).status_code == code
    assert (asked().networks[0].network_id, asked().networks[0].tag) == (NETWORK, "nic1")


def test_networks_that_contradict_themselves(make, asked):
    assert make(networks=[{"port": PORT, "uuid": NETWORK}]).status_code == 202
    assert (asked().networks[0].port_id, asked().networks[0].network_id) == (PORT, "")
    assert make(networks=[{"port": PORT, "fixed_ip": "10.0.0.9"}]).status_code == 400
    assert make(networks=[{"port": PORT}, {"port": PORT}]).status_code == 400
    assert make(networks=[{"fixed_ip": "10.0.0.9"}]).status_code == 400
    assert make(networks=[{"uuid": NETWORK, "fixed_ip": "10.0.0.900"}]).status_code == 400
    assert make(networks=[{"uuid": NETWORK, "fixed_ip": "fd00::1"}]).status_code == 202
    assert asked().networks[0].fixed_address == "fd00::1"


def test_block_devices(make, asked):
    devices = [
        {"source_type": "image", "uuid": IMAGE, "destination_type": "local", "boot_index": 0},
        {"source_type": "volume", "uuid": VOLUME, "boot_index": None, "delete_on_termination": "true"},
        {"source_type": "blank", "volume_size": "5", "guest_format": "swap", "boot_index": "-1"},
        {"source_type": "volume", "uuid": VOLUME, "no_device": True},
    ]
    assert make(block_device_mapping_v2=devices).status_code == 202
    image, volume, blank = asked().block_devices
    assert (image.source, image.boot_index) == (pb.BLOCK_DEVICE_SOURCE_IMAGE, 0)
    assert (volume.destination, volume.delete_on_termination) == (pb.BLOCK_DEVICE_DESTINATION_VOLUME, True)
    assert not volume.HasField("boot_index")
    assert (blank.size_gb, blank.boot_index, blank.guest_format) == (5, -1, "swap")
    assert make(block_device_mapping_v2=[{"source_type": "blank", "uuid": VOLUME}]).status_code == 400
    assert make(block_device_mapping_v2=[{"source_type": "volume"}]).status_code == 400
    assert make(block_device_mapping_v2=[{"uuid": VOLUME}]).status_code == 400


@pytest.mark.parametrize(
    ("field", "value", "taken"),
    [
        ("tag", "disk", {"2.32", "2.42", "2.104"}),
        ("volume_type", "fast", {"2.67", "2.104"}),
    ],
)
def test_block_device_windows(make, field, value, taken):
    device = {"source_type": "volume", "uuid": VOLUME, field: value}
    for version in ("2.31", "2.32", "2.33", "2.41", "2.42", "2.66", "2.67", "2.104"):
        wanted = version in taken or (field == "tag" and version in ("2.66", "2.67"))
        answer = make(version=version, block_device_mapping_v2=[device])
        assert answer.status_code == (202 if wanted else 400), version


def test_old_block_devices(make, asked):
    answer = make(
        imageRef="",
        block_device_mapping=[
            {"volume_id": VOLUME, "device_name": "vda"},
            {"virtual_name": "ephemeral0", "device_name": "vdb", "volume_size": 1},
        ],
    )
    assert answer.status_code == 202
    boot, ephemeral = asked().block_devices
    assert (boot.source, boot.boot_index) == (pb.BLOCK_DEVICE_SOURCE_VOLUME, 0)
    assert ephemeral.source == pb.BLOCK_DEVICE_SOURCE_BLANK
    both = {"block_device_mapping": [{"volume_id": VOLUME}], "block_device_mapping_v2": [{"uuid": VOLUME}]}
    assert make(**both).status_code == 400


def test_places(make, asked):
    assert make(availability_zone="az1").status_code == 202
    assert asked().availability_zone == "az1"
    assert make(availability_zone="az1:host1").status_code == 403
    assert make(availability_zone="az1:host1:node1", token="admin").status_code == 202
    assert (asked().availability_zone, asked().host, asked().node) == ("az1", "host1", "node1")
    assert asked().skip_filters
    assert make(availability_zone="az1::node1", token="admin").status_code == 202
    assert (asked().host, asked().node) == ("", "node1")
    assert make(host="host1").status_code == 403
    assert make(host="host1", token="admin", version="2.73").status_code == 400
    assert make(host="host1", token="admin").status_code == 202
    assert (asked().host, asked().skip_filters) == ("host1", False)
    assert make(host="host1", availability_zone="az1:host1", token="admin").status_code == 400


def test_what_versions_and_rights_allow_is_told(make, asked):
    make(version="2.59")
    assert not asked().allow_multiattach
    make(version="2.60")
    assert asked().allow_multiattach
    assert not asked().allow_port_resource_requests
    make(version="2.72")
    assert asked().allow_port_resource_requests
    assert not asked().allow_zero_disk
    assert not asked().allow_external_networks
    make(token="admin")
    assert asked().allow_zero_disk
    assert asked().allow_external_networks


def test_description_was_the_name(make, asked):
    make(version="2.18")
    assert asked().description == "one"
    make(version="2.19")
    assert not asked().HasField("description")
    make(version="2.19", description=None)
    assert not asked().HasField("description")


def test_hints(make, asked):
    make(hints={"group": NETWORK, "custom": {"a": 1}, "_nova_check_type": ["rebuild"]})
    assert dict(asked().scheduler_hints)["group"] == NETWORK
    assert "_nova_check_type" not in asked().scheduler_hints
    assert make(hints={"group": "name"}).status_code == 400
    assert make(hints={"same_host": [NETWORK]}).status_code == 202
    assert make(hints={"query": '[">=", "$free_ram_mb", 1024]'}).status_code == 202
    for wrong in ("free_ram_mb >= 1024", '{"a": 1}', ""):
        refused = make(hints={"query": wrong})
        assert refused.status_code == 400
        assert "os:scheduler_hints.query" in refused.json["badRequest"]["message"]


def test_every_request_is_told_from_every_other(cloud, make, asked):
    """A call that is sent again on its own, because its connection broke, carries the same key."""
    keys = []
    for _ in range(2):
        assert make().status_code == 202
        keys.append(asked().idempotency_key)
    assert all(keys)
    assert keys[0] != keys[1]


def test_idempotency_key(cloud, make, asked):
    first = make(headers={"Idempotency-Key": "k1"})
    again = make(headers={"Idempotency-Key": "k1"})
    assert first.json["server"]["id"] == again.json["server"]["id"]
    assert asked().idempotency_key == "k1"
    assert len(cloud.servers.servers) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": " x"},
        {"name": "x" * 256},
        {"name": 5},
        {"name": "a\x00b"},
        {"name": ...},
        {"flavorRef": ...},
        {"flavorRef": ""},
        {"flavorRef": None},
        {"imageRef": "http://images/" + IMAGE},
        {"imageRef": "cirros"},
        {"metadata": {"a": 1}},
        {"metadata": {"a/b": "c"}},
        {"metadata": {"a": "x" * 256}},
        {"metadata": []},
        {"accessIPv4": "300.1.1.1"},
        {"accessIPv6": "10.0.0.1"},
        {"config_drive": "maybe"},
        {"user_data": "not base64!"},
        {"user_data": "A" * 65536},
        {"key_name": ""},
        {"tags": ["a/b"]},
        {"tags": ["x" * 61]},
        {"tags": [str(n) for n in range(51)]},
        {"security_groups": ["web"]},
        {"OS-DCF:diskConfig": "auto"},
        {"hostname": "x" * 256},
        {"trusted_image_certificates": []},
        {"trusted_image_certificates": ["a", "a"]},
        {"bogus": 1},
    ],
)
def test_bad_bodies(cloud, make, fields):
    answer = make(**fields)
    assert answer.status_code == 400
    message = answer.json["badRequest"]["message"]
    assert next(iter(fields)).partition(":")[0] in message
    assert not cloud.servers.requests


def test_hostname_grammar_by_version(make):
    assert make(version="2.90", hostname="a.b").status_code == 400
    assert make(version="2.93", hostname="a.b").status_code == 400
    assert make(version="2.94", hostname="a.b").status_code == 202


def test_services_errors_become_faults(cloud, make):
    assert make(flavorRef="unknown").status_code == 400
    cases = [
        (errors.QuotaExceeded("", facts=0), 403),
        (errors.InvalidArgument("no key", "KEYPAIR_NOT_FOUND"), 400),
        (errors.FailedPrecondition("several", "NETWORK_AMBIGUOUS"), 409),
        (errors.FailedPrecondition("used", "PORT_IN_USE"), 409),
        (errors.PermissionDenied("external", "EXTERNAL_NETWORK_FORBIDDEN"), 403),
        (errors.Unavailable("down"), 503),
        (errors.Internal("secret detail"), 500),
        (errors.FailedPrecondition("other", "IDEMPOTENCY_KEY_REUSED"), 409),
        (errors.InvalidArgument("never seen", "NEW_REASON"), 400),
    ]
    for error, code in cases:
        cloud.servers.refuse["CreateServers"] = error
        answer = make()
        assert answer.status_code == code, error
        assert "secret detail" not in answer.text


def test_quota_fault_tells_the_numbers(cloud, make):
    cloud.servers.refuse["CreateServers"] = errors.QuotaExceeded(
        "x", resource="instances", requested=3, used=9, limit=10
    )
    message = make().json["forbidden"]["message"]
    assert "Quota exceeded for instances" in message
    assert "3" in message
    assert "9 of 10" in message


def test_rights(cloud, make):
    assert make(token="reader").status_code == 403
    assert make(token=None).status_code == 401
