"""Limits and their defaults over the wire."""

import pytest

from protonova.api.v1 import quota_pb2 as pb
from protonova.services.runtime import errors

# What the network service counts today.
OTHERS = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")


def limits(region, **fields):
    lines = region.api.quotas.GetQuota(pb.GetQuotaRequest(**{"project_id": "project", **fields})).lines
    return {line.resource: line.limit for line in lines}


def update(region, force=False, user_id="", **wanted):
    return region.api.quotas.UpdateQuota(
        pb.UpdateQuotaRequest(project_id="project", user_id=user_id, limits=wanted, force=force)
    )


def test_the_configuration_gives_the_defaults(region):
    assert limits(region) == {
        "instances": 10,
        "cores": 20,
        "ram": 51200,
        "metadata_items": 128,
        "key_pairs": 100,
        "server_groups": 10,
        "server_group_members": 10,
        "injected_files": 5,
        "injected_file_content_bytes": 10240,
        "injected_file_path_bytes": 255,
        **dict.fromkeys(OTHERS, -1),
    }


def test_the_narrower_limit_wins(any_region):
    region = any_region
    region.api.quotas.UpdateQuotaClass(
        pb.UpdateQuotaClassRequest(name="default", limits={"cores": 30, "ram": 7})
    )
    update(region, cores=40, instances=-1)
    update(region, user_id="user", cores=8)
    assert (limits(region)["cores"], limits(region)["ram"], limits(region)["instances"]) == (40, 7, -1)
    assert limits(region, user_id="user")["cores"] == 8
    assert limits(region, user_id="user")["ram"] == 7
    assert limits(region, defaults=True)["cores"] == 30
    update(region, cores=50)
    assert limits(region)["cores"] == 50
    region.api.quotas.DeleteQuota(pb.DeleteQuotaRequest(project_id="project", user_id="user"))
    assert limits(region, user_id="user")["cores"] == 50
    update(region, user_id="user", cores=8)
    region.api.quotas.DeleteQuota(pb.DeleteQuotaRequest(project_id="project"))
    assert limits(region)["cores"] == 30
    assert limits(region, user_id="user")["cores"] == 30


def test_classes_other_than_the_default_only_stand_there(region):
    region.api.quotas.UpdateQuotaClass(pb.UpdateQuotaClassRequest(name="gold", limits={"cores": 99}))
    got = region.api.quotas.GetQuotaClass(pb.GetQuotaClassRequest(name="gold")).limits
    assert (got["cores"], got["ram"]) == (99, 51200)
    assert limits(region)["cores"] == 20


@pytest.mark.parametrize(
    ("wanted", "user_id", "cause"),
    [
        ({"instances": 1}, "", "below_usage"),
        ({"apples": 1}, "", "unknown"),
        ({"cores": -2}, "", "range"),
        ({"cores": 1 << 40}, "", "range"),
        ({"cores": 21}, "user", "above_project"),
        ({"cores": -1}, "user", "above_project"),
        ({"metadata_items": 1}, "user", "unknown"),
    ],
)
def test_limits_that_cannot_be_set(region, wanted, user_id, cause):
    region.create(min_count=2)
    with pytest.raises(errors.InvalidArgument) as raised:
        update(region, user_id=user_id, **wanted)
    assert (raised.value.reason, raised.value.facts["cause"]) == ("QUOTA_INVALID", cause)
    assert raised.value.facts["resource"] in wanted


@pytest.mark.parametrize("resource", OTHERS)
def test_limits_of_what_others_count_are_kept(region, resource):
    classes = pb.UpdateQuotaClassRequest(name="default", limits={resource: 99})
    assert region.api.quotas.UpdateQuotaClass(classes).limits[resource] == 99
    assert limits(region)[resource] == 99
    update(region, **{resource: 7})
    assert (limits(region)[resource], limits(region, defaults=True)[resource]) == (7, 99)


def test_a_limit_can_be_forced_below_what_is_used(region):
    region.create(min_count=2)
    lines = {line.resource: line for line in update(region, force=True, instances=1).lines}
    assert (lines["instances"].limit, lines["instances"].used, lines["instances"].reserved) == (1, 2, 0)
