"""What CreateServers accepts, refuses and remembers."""

import pytest
from google.protobuf.struct_pb2 import Struct
from sqlalchemy import select

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import BlockDevice, NetworkRequest
from protonova.services.api.creation import block_devices as disks
from protonova.services.api.tables import operation_tables
from protonova.services.runtime import context, errors, operations
from tests.functional.api.conftest import OTHER, in_parallel

AUTO = pb.NETWORK_MODE_AUTO
UNSPECIFIED = pb.NETWORK_MODE_UNSPECIFIED
_OPERATIONS = operation_tables.operations


def refused(region, **fields) -> errors.Error:
    before = region.used()["instances"]
    with pytest.raises(errors.Error) as raised:
        region.create(**fields)
    assert region.used()["instances"] == before
    return raised.value


# ---- fields ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind", "reason"),
    [
        ({"name": " "}, errors.InvalidArgument, "NAME_INVALID"),
        ({"flavor_id": "none"}, errors.InvalidArgument, "FLAVOR_NOT_FOUND"),
        ({"key_name": "none"}, errors.InvalidArgument, "KEYPAIR_NOT_FOUND"),
        ({"image_id": "none"}, errors.InvalidArgument, "IMAGE_UNUSABLE"),
        ({"image_id": ""}, errors.InvalidArgument, "BLOCK_DEVICE_INVALID"),
        ({"min_count": 3, "max_count": 2}, errors.InvalidArgument, "COUNT_INVALID"),
        ({"min_count": -1}, errors.InvalidArgument, "COUNT_INVALID"),
        ({"user_data": "no base64!"}, errors.InvalidArgument, "USER_DATA_INVALID"),
        ({"user_data": "a" * 65536}, errors.InvalidArgument, "USER_DATA_INVALID"),
        ({"metadata": {"k": "v" * 256}}, errors.InvalidArgument, "METADATA_INVALID"),
        ({"metadata": {str(n): "" for n in range(129)}}, errors.QuotaExceeded, "QUOTA_EXCEEDED"),
        (
            {"files": [pb.InjectedFile(path="/x", contents=b"x" * 10241)]},
            errors.QuotaExceeded,
            "QUOTA_EXCEEDED",
        ),
        ({"files": [pb.InjectedFile(path="/x")] * 6}, errors.QuotaExceeded, "QUOTA_EXCEEDED"),
        ({"tags": ["a/b"]}, errors.InvalidArgument, "TAG_INVALID"),
        ({"tags": [str(n) for n in range(51)]}, errors.InvalidArgument, "TOO_MANY_TAGS"),
        ({"access_ip_v4": "::1"}, errors.InvalidArgument, "ADDRESS_INVALID"),
        ({"hostname": "not_a_host"}, errors.InvalidArgument, "HOSTNAME_INVALID"),
        ({"hostname": "ok", "min_count": 2}, errors.InvalidArgument, "HOSTNAME_INVALID"),
        ({"availability_zone": "moon"}, errors.InvalidArgument, "ZONE_NOT_FOUND"),
        ({"host": "nowhere"}, errors.InvalidArgument, "HOST_NOT_FOUND"),
        ({"node": "nowhere"}, errors.InvalidArgument, "HOST_NOT_FOUND"),
        ({"idempotency_key": "k" * 256}, errors.InvalidArgument, "IDEMPOTENCY_KEY_INVALID"),
    ],
)
def test_what_cannot_be_is_refused(region, fields, kind, reason):
    region.add_cell()
    error = refused(region, **fields)
    assert (type(error), error.reason) == (kind, reason)


def test_disabled_and_foreign_flavors_are_not_there(region):
    region.add_flavor("off", disabled=True)
    region.add_flavor("private", is_public=False)
    for flavor_id in ("off", "private"):
        assert refused(region, flavor_id=flavor_id).reason == "FLAVOR_NOT_FOUND"


def test_a_server_group_that_is_not_there(region):
    hints = Struct()
    hints.update({"group": "12", "_nova_check_type": "x"})
    assert refused(region, scheduler_hints=hints).reason == "GROUP_NOT_FOUND"


def test_zones_hosts_and_hints_reach_the_scheduler(region):
    cell = region.add_cell()
    cell.add_host("east-1", zone="east")
    hints = Struct()
    hints.update({"same_host": ["x"], "_nova_check_type": "rebuild"})
    answer = region.create(
        availability_zone="east", host="east-1", node="east-1", skip_filters=True, scheduler_hints=hints
    )
    assert answer.servers[0].pinned_availability_zone == "east"
    region.built(answer)
    [spec] = region.claims.specs
    assert (spec.availability_zone, spec.host, spec.node, spec.skip_filters) == (
        "east",
        "east-1",
        "east-1",
        True,
    )
    assert dict(spec.scheduler_hints) == {"same_host": ["x"]}


# ---- images and disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "reason", "fact"),
    [
        ({"status": "queued"}, "IMAGE_UNUSABLE", "inactive"),
        ({"visibility": "private"}, "IMAGE_UNUSABLE", "unknown"),
        ({"properties": {"cinder_encryption_key_id": "x"}}, "IMAGE_UNUSABLE", "encrypted"),
        ({"min_memory_mb": 513}, "FLAVOR_TOO_SMALL", "memory_mb"),
        ({"min_disk_gb": 2}, "FLAVOR_TOO_SMALL", "root_gb"),
        ({"size": (1 << 30) + 1}, "FLAVOR_TOO_SMALL", "root_gb"),
    ],
)
def test_images_that_do_not_fit(region, image, reason, fact):
    error = refused(region, image_id=region.images.add(**image))
    assert error.reason == reason
    assert fact in (error.facts.get("cause"), error.facts.get("resource"))


def test_an_image_is_asked_for_once_in_a_while(region):
    region.create()
    calls = region.images.calls
    region.create()
    assert region.images.calls == calls


def test_flavors_without_a_disk_are_for_those_who_may(region):
    region.add_flavor("diskless", root_gb=0)
    assert refused(region, flavor_id="diskless").reason == "ZERO_DISK_FORBIDDEN"
    region.create(flavor_id="diskless", allow_zero_disk=True)


def test_a_server_that_boots_from_a_volume(region):
    region.add_cell()
    volume = region.volumes.add(size_gb=7, image_properties={"hw_disk_bus": "scsi", "min_ram": "64"})
    root = BlockDevice(source=disks.VOLUME, volume_id=volume, boot_index=0)
    answer = region.create(image_id="", block_devices=[root])
    [server] = answer.servers
    assert (server.image.id, dict(server.image.properties)) == ("", {"hw_disk_bus": "scsi"})
    [device] = server.block_devices
    assert (device.size_gb, device.destination) == (7, disks.TO_VOLUME)
    assert device.id
    region.built(answer)
    assert region.claims.specs[0].boots_from_volume


@pytest.mark.parametrize(
    ("volume", "fields", "cause"),
    [
        ({"status": "in-use"}, {}, "volume_status"),
        ({"bootable": False}, {}, "volume_not_bootable"),
        ({"project_id": "elsewhere"}, {}, "volume_unknown"),
        ({"multiattach": True}, {}, "multiattach"),
        ({}, {"min_count": 2}, "several_servers"),
        ({"image_properties": {"min_disk": "5"}}, {}, None),
    ],
)
def test_volumes_that_cannot_be_booted_from(region, volume, fields, cause):
    root = BlockDevice(source=disks.VOLUME, volume_id=region.volumes.add(**volume), boot_index=0)
    error = refused(region, image_id="", block_devices=[root], **fields)
    assert error.facts.get("cause") == cause
    assert error.reason == ("BLOCK_DEVICE_INVALID" if cause else "FLAVOR_TOO_SMALL")


def test_snapshots_give_their_size(region):
    snapshot = region.volumes.add_snapshot(region.volumes.add())
    root = BlockDevice(source=disks.SNAPSHOT, snapshot_id=snapshot, boot_index=0)
    assert region.create(image_id="", block_devices=[root]).servers[0].block_devices[0].size_gb == 3
    root.size_gb = 2
    assert refused(region, image_id="", block_devices=[root]).facts["cause"] == "size"
    root.snapshot_id = "none"
    assert refused(region, image_id="", block_devices=[root]).facts["cause"] == "snapshot_unknown"


# ---- networks ------------------------------------------------------------------------------------------------


def networks_of(region, answer):
    region.built(answer)
    return [item.network_id for item in region.cells[0].builds[answer.servers[0].id].networks]


def test_without_networks_nobody_is_asked(region):
    region.create(security_groups=["mine"])
    assert region.networks.calls == 0


def test_the_only_network_is_taken(region):
    region.add_cell()
    mine = region.networks.add()
    region.networks.add("elsewhere")
    region.networks.add("elsewhere", external=True)
    for mode in (UNSPECIFIED, AUTO):
        assert networks_of(region, region.create(network_mode=mode)) == [mine]
    region.networks.add("elsewhere", shared=True)
    error = refused(region, network_mode=UNSPECIFIED)
    assert (type(error), error.reason) == (errors.FailedPrecondition, "NETWORK_AMBIGUOUS")


def test_no_network_at_all(region):
    region.add_cell()
    assert networks_of(region, region.create(network_mode=UNSPECIFIED)) == []
    assert refused(region, network_mode=AUTO).facts["cause"] == "none_available"


def test_networks_and_ports_that_are_named(region):
    region.add_cell()
    first, second = region.networks.add(), region.networks.add()
    port = region.networks.add_port()
    wanted = [
        NetworkRequest(network_id=second, fixed_address="10.0.0.9", tag="nic"),
        NetworkRequest(network_id=first),
        NetworkRequest(port_id=port),
    ]
    answer = region.create(network_mode=UNSPECIFIED, networks=wanted)
    assert networks_of(region, answer) == [second, first, "the-network"]
    assert region.cells[0].builds[answer.servers[0].id].networks[0] == wanted[0]


@pytest.mark.parametrize(
    ("make", "fields", "reason", "cause"),
    [
        (lambda n: {"network_id": "none"}, {}, "NETWORK_UNUSABLE", "unknown"),
        (lambda n: {"network_id": n.add("elsewhere")}, {}, "NETWORK_UNUSABLE", "unknown"),
        (lambda n: {"network_id": n.add(subnets=())}, {}, "NETWORK_UNUSABLE", "no_subnet"),
        (lambda n: {"network_id": n.add("x", external=True)}, {}, "EXTERNAL_NETWORK_FORBIDDEN", None),
        (lambda n: {"port_id": "none"}, {}, "NETWORK_UNUSABLE", "port_unknown"),
        (lambda n: {"port_id": n.add_port("elsewhere")}, {}, "NETWORK_UNUSABLE", "port_unknown"),
        (lambda n: {"port_id": n.add_port(addresses=0)}, {}, "NETWORK_UNUSABLE", "no_address"),
        (lambda n: {"port_id": n.add_port(device_id="server")}, {}, "PORT_IN_USE", None),
        (
            lambda n: {"port_id": n.add_port(resource_request={"resources": {"X": 1}})},
            {},
            "NETWORK_UNUSABLE",
            "resource_request",
        ),
        (lambda n: {"port_id": n.add_port()}, {"min_count": 2}, "NETWORK_UNUSABLE", "several_servers"),
        (
            lambda n: {"network_id": n.add(), "fixed_address": "10.0.0.1"},
            {"max_count": 2},
            "NETWORK_UNUSABLE",
            "several_servers",
        ),
        (lambda n: {"network_id": n.add(), "fixed_address": "x"}, {}, "NETWORK_UNUSABLE", "fixed_address"),
        (
            lambda n: {"port_id": n.add_port(), "fixed_address": "10.0.0.1"},
            {},
            "NETWORK_UNUSABLE",
            "fixed_address",
        ),
        (lambda n: {}, {}, "NETWORK_UNUSABLE", "unknown"),
    ],
)
def test_networks_that_cannot_be_used(region, make, fields, reason, cause):
    wanted = NetworkRequest(**make(region.networks))
    error = refused(region, network_mode=UNSPECIFIED, networks=[wanted], **fields)
    assert (error.reason, error.facts.get("cause")) == (reason, cause)


def test_what_callers_may_more(region):
    external = NetworkRequest(network_id=region.networks.add("x", external=True))
    demanding = NetworkRequest(port_id=region.networks.add_port(resource_request={"resources": {"X": 1}}))
    region.create(
        network_mode=UNSPECIFIED,
        networks=[external, demanding],
        allow_external_networks=True,
        allow_port_resource_requests=True,
    )


def test_a_port_is_given_once(region):
    port = NetworkRequest(port_id=region.networks.add_port())
    error = refused(region, network_mode=UNSPECIFIED, networks=[port, port])
    assert error.facts["cause"] == "duplicate"


def test_security_groups_are_looked_up(region):
    network = [NetworkRequest(network_id=region.networks.add())]
    region.networks.groups["mine"] = "id"
    answer = region.create(network_mode=UNSPECIFIED, networks=network, security_groups=["mine", "default"])
    assert list(answer.servers[0].security_groups) == ["mine", "default"]
    error = refused(region, network_mode=UNSPECIFIED, networks=network, security_groups=["theirs"])
    assert (error.reason, error.facts["name"]) == ("SECURITY_GROUP_NOT_FOUND", "theirs")


# ---- passwords -----------------------------------------------------------------------------------------------


def test_a_password_is_made_unless_given(region):
    password = region.create().admin_password
    assert len(password) == 12
    assert {str.isupper, str.islower, str.isdigit} == {
        kind for kind in (str.isupper, str.islower, str.isdigit) if any(map(kind, password))
    }


# ---- idempotency ---------------------------------------------------------------------------------------------


def test_a_repeat_gets_the_first_answer(any_region):
    region = any_region
    first = region.create(idempotency_key="k")
    again = region.create(idempotency_key="k")
    assert again.repeated_call
    assert not first.repeated_call
    assert [server.id for server in again.servers] == [server.id for server in first.servers]
    assert again.reservation_id == first.reservation_id
    assert region.used()["instances"] == 1
    error = refused(region, idempotency_key="k", name="another")
    assert (type(error), error.reason) == (errors.FailedPrecondition, "IDEMPOTENCY_KEY_REUSED")
    with context.use(OTHER):
        assert not region.create(idempotency_key="k").repeated_call


def test_a_token_is_kept_for_volumes_alone_and_only_while_it_is_needed(region):
    cell = region.add_cell()
    made = BlockDevice(source=disks.BLANK, destination=disks.TO_VOLUME, size_gb=1)
    answers = [
        region.create(idempotency_key=key, user_token="a-token", block_devices=devices)
        for key, devices in (("with", [made]), ("without", []))
    ]
    # Whoever repeats a request may have another token by now.
    again = region.create(idempotency_key="with", user_token="another", block_devices=[made])
    assert again.repeated_call
    tokens = []
    for answer in answers:
        operation = region.built(answer)
        assert operation.state == "done"
        [row] = region.rows(select(_OPERATIONS.c.payload).where(_OPERATIONS.c.id == operation.id))
        assert "build" not in row.payload
        tokens.append(cell.builds[answer.servers[0].id].user_token)
    assert tokens == ["a-token", ""]


def test_a_repeat_asks_nothing_anew(region):
    region.create(idempotency_key="k")
    image = region.request().image_id
    region.images.images.clear()
    assert region.create(idempotency_key="k", image_id=image).repeated_call


def test_a_crash_between_commit_and_answer(any_region):
    region = any_region
    region.add_cell()

    def crash(operation_id):
        raise SystemExit

    region.api.engine.run = crash
    with pytest.raises(errors.DeadlineExceeded):
        region.api.servers.CreateServers(region.request(idempotency_key="k"), timeout=0.5)
    region.api.engine.stop(0)
    other = region.add_replica()
    answer = region.create(other, idempotency_key="k")
    assert answer.repeated_call
    assert region.built(answer, other).state == operations.DONE
    assert list(region.cells[0].servers) == [server.id for server in answer.servers]
    assert region.used()["instances"] == 1


def test_many_with_one_key_at_once(any_region):
    region = any_region
    replicas = [region.api, region.add_replica()]
    answers = in_parallel(8, lambda number: region.create(replicas[number % 2], idempotency_key="k"))
    assert len({answer.reservation_id for answer in answers}) == 1
    assert sum(not answer.repeated_call for answer in answers) == 1
    assert region.used()["instances"] == 1


def test_a_refused_create_does_not_take_its_key(region):
    region.limit(instances=0)
    assert refused(region, idempotency_key="k").reason == "QUOTA_EXCEEDED"
    region.limit(instances=1)
    assert not region.create(idempotency_key="k").repeated_call


# ---- quota ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "resource", "requested"),
    [({"instances": 1}, "instances", 2), ({"cores": 1}, "cores", 2), ({"ram": 1000}, "ram", 1024)],
)
def test_the_quota_is_told_when_it_is_exceeded(region, limits, resource, requested):
    region.limit(**limits)
    error = refused(region, min_count=2)
    assert (type(error), error.reason) == (errors.QuotaExceeded, "QUOTA_EXCEEDED")
    limit = str(limits[resource])
    assert error.facts == {"resource": resource, "limit": limit, "used": "0", "requested": str(requested)}


def test_a_users_own_limit_counts_too(region):
    region.limit(user_id="user", instances=1)
    region.create()
    error = refused(region)
    assert (error.facts["limit"], error.facts["used"], error.facts["user_id"]) == ("1", "1", "user")
    assert region.used(user_id="user")["instances"] == 1


def test_as_many_as_the_quota_allows(any_region):
    any_region.limit(instances=3, cores=-1, ram=-1)
    assert len(any_region.create(min_count=1, max_count=5).servers) == 3


def test_sixteen_race_for_the_last(any_region):
    region = any_region
    region.limit(instances=5, cores=-1, ram=-1)
    replicas = [region.api, region.add_replica()]
    results = in_parallel(16, lambda number: region.create(replicas[number % 2]))
    accepted = [result for result in results if isinstance(result, pb.CreateServersResponse)]
    refusals = {error.reason for error in results if isinstance(error, errors.Error)}
    assert (len(accepted), refusals) == (5, {"QUOTA_EXCEEDED"})
    assert region.used()["instances"] == 5
    ids = [answer.servers[0].id for answer in accepted]
    for answer in accepted:
        region.built(answer)
    in_parallel(16, lambda number: region.release(*ids))
    assert region.used()["instances"] == 0
    assert region.used(user_id="user")["ram"] == 0
