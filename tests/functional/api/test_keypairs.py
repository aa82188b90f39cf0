"""Key pairs over the wire."""

import pytest

from protonova.api.v1 import keypair_pb2 as pb
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import OTHER, in_parallel

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl me@home"


def create(region, name="key", **fields):
    return region.api.keypairs.CreateKeypair(pb.CreateKeypairRequest(name=name, **fields))


def listed(region, **fields):
    return [pair.name for pair in region.api.keypairs.ListKeypairs(pb.ListKeypairsRequest(**fields)).keypairs]


def test_a_public_key_is_kept_and_forgotten(any_region):
    region = any_region
    made = create(region, public_key=ED25519)
    assert made.private_key == ""
    assert (made.keypair.user_id, made.keypair.public_key) == ("user", ED25519)
    assert made.keypair.type == pb.KEYPAIR_TYPE_SSH
    assert made.keypair.number > 0
    assert region.api.keypairs.GetKeypair(pb.GetKeypairRequest(name="key")).keypair == made.keypair
    with context.use(OTHER), pytest.raises(errors.NotFound):
        region.api.keypairs.GetKeypair(pb.GetKeypairRequest(name="key"))
    region.api.keypairs.DeleteKeypair(pb.DeleteKeypairRequest(name="key"))
    for gone in (
        lambda: region.api.keypairs.GetKeypair(pb.GetKeypairRequest(name="key")),
        lambda: region.api.keypairs.DeleteKeypair(pb.DeleteKeypairRequest(name="key")),
    ):
        with pytest.raises(errors.NotFound) as raised:
            gone()
        assert raised.value.reason == "KEYPAIR_NOT_FOUND"


def test_pairs_are_made_when_no_key_is_given(region):
    ssh = create(region, "ssh")
    assert ssh.keypair.public_key.startswith("ssh-ed25519 ")
    assert "OPENSSH PRIVATE KEY" in ssh.private_key
    certificate = create(region, "x509", type=pb.KEYPAIR_TYPE_X509)
    assert certificate.keypair.public_key.startswith("-----BEGIN CERTIFICATE-----")
    assert certificate.keypair.fingerprint.count(":") == 19
    assert "PRIVATE KEY" in certificate.private_key


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"public_key": "nonsense"}, "public_key"),
        ({"public_key": ED25519, "type": pb.KEYPAIR_TYPE_X509}, "public_key"),
        ({"name": " key"}, "name"),
        ({"name": "k!"}, "name"),
        ({"name": ""}, "name"),
    ],
)
def test_what_is_no_key_pair(region, fields, field):
    with pytest.raises(errors.InvalidArgument) as raised:
        create(region, **fields)
    assert (raised.value.reason, raised.value.facts["field"]) == ("KEYPAIR_INVALID", field)


def test_names_are_taken_once_a_user(region):
    create(region)
    with pytest.raises(errors.AlreadyExists) as raised:
        create(region)
    assert raised.value.reason == "KEYPAIR_EXISTS"
    with context.use(OTHER):
        create(region)


def test_lists_go_by_name(region):
    for name in ("c", "a", "B"):
        create(region, name, public_key=ED25519)
    assert listed(region) == ["B", "a", "c"]
    assert listed(region, page_size=2) == ["B", "a"]
    assert listed(region, page_size=2, page_token="a") == ["c"]
    with pytest.raises(errors.InvalidArgument) as raised:
        listed(region, page_token="gone")
    assert raised.value.reason == "MARKER_NOT_FOUND"


def test_the_quota_holds_in_a_race(any_region):
    region = any_region
    region.limit(key_pairs=3)
    results = in_parallel(8, lambda number: create(region, f"key-{number}", public_key=ED25519))
    refusals = [error for error in results if isinstance(error, Exception)]
    assert {error.reason for error in refusals} == {"QUOTA_EXCEEDED"}
    assert {error.facts["resource"] for error in refusals} == {"key_pairs"}
    assert len(listed(region)) == 3
    assert region.used(user_id="user")["key_pairs"] == 3
    region.api.keypairs.DeleteKeypair(pb.DeleteKeypairRequest(name=listed(region)[0]))
    create(region, "again", public_key=ED25519)


def test_a_server_gets_its_key(region):
    create(region, public_key=ED25519)
    [server] = region.create(key_name="key").servers
    assert (server.key_name, server.key_data) == ("key", ED25519)
