"""createImage, createBackup, shelve, shelveOffload and unshelve: bodies, versions, answers, policy."""

from __future__ import annotations

from typing import Any

import pytest

from protonova.api.v1 import server_image_pb2 as pb
from protonova.common.v1.server_pb2 import ImageSnapshot
from tests.support.cloud import Cloud
from tests.support.identity import PROJECT


def act(cloud, body: Any, *, version: str = "2.1", token: str = "member", **fields: Any):
    fields.setdefault("image", ImageSnapshot(id="c9b0a4b0-9d0b-4d57-b3a5-5ad0f1b1c111"))
    server = cloud.put_server(**fields)
    return cloud.call("POST", f"/servers/{server.id}/action", body, version=version, token=token)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (
            {"createImage": {"name": "copy", "metadata": {"a": "b"}}},
            pb.CreateServerImageRequest(name="copy", metadata={"a": "b"}, user_token="member"),
        ),
        (
            {"createBackup": {"name": "b", "backup_type": "daily", "rotation": "3"}},
            pb.CreateServerBackupRequest(name="b", backup_type="daily", rotation=3),
        ),
    ],
)
def test_an_image_is_named_by_a_header_and_later_in_the_body(cloud, body: Any, wanted: Any):
    image_id = cloud.server_images.image_id
    old = act(cloud, body, version="2.44")
    assert (old.status_code, old.data) == (202, b"")
    assert old.headers["Location"].endswith(f"/images/{image_id}")
    new = act(cloud, body, version="2.45")
    assert (new.status_code, new.json) == (202, {"image_id": image_id})
    assert "Location" not in new.headers
    for asked in cloud.server_images.asked:
        asked.ClearField("id")
        assert asked == wanted


def test_a_backup_that_is_not_kept_has_no_address(cloud):
    answer = act(cloud, {"createBackup": {"name": "b", "backup_type": "x", "rotation": 0}})
    assert answer.status_code == 202
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [
        {"createImage": {}},
        {"createImage": {"name": ""}},
        {"createImage": {"name": "a", "metadata": {"k": "x" * 256}}},
        {"createImage": {"name": "a", "other": 1}},
        {"createBackup": {"name": "a", "backup_type": "x"}},
        {"createBackup": {"name": "a", "rotation": 1}},
        {"createBackup": {"name": "a", "backup_type": "x", "rotation": -1}},
    ],
)
def test_bad_bodies(cloud, body: Any):
    assert act(cloud, body).status_code == 400
    assert not cloud.server_images.asked


def test_old_versions_count_the_metadata(cloud):
    cloud.quotas.limits[PROJECT] = {"metadata_items": 1}
    body = {"createImage": {"name": "a", "metadata": {"b": "c", "d": "e"}}}
    refused = act(cloud, body, version="2.38")
    assert refused.status_code == 403
    assert not cloud.server_images.asked
    assert act(cloud, body, version="2.39").status_code == 202


def test_images_of_servers_on_volumes_have_a_rule_of_their_own(tmp_path):
    rules = tmp_path / "policy.yaml"
    rules.write_text('"os_compute_api:servers:create_image:allow_volume_backed": "!"\n')
    cloud = Cloud(oslo_policy={"policy_file": str(rules)})
    try:
        body = {"createImage": {"name": "a"}}
        assert act(cloud, body).status_code == 202
        assert act(cloud, body, image=ImageSnapshot()).status_code == 403
    finally:
        cloud.close()


@pytest.mark.parametrize(
    ("version", "unshelve", "code"),
    [
        ("2.1", None, 202),
        ("2.76", {"anything": 1}, 202),
        ("2.77", None, 202),
        ("2.77", {"availability_zone": "z"}, 202),
        ("2.77", {}, 400),
        ("2.77", {"host": "h"}, 400),
        ("2.91", {}, 202),
        ("2.91", {"availability_zone": None}, 202),
        ("2.91", {"availability_zone": "z", "host": 1}, 400),
    ],
)
def test_unshelve_by_version(cloud, version: str, unshelve: Any, code: int):
    assert act(cloud, {"unshelve": unshelve}, version=version).status_code == code


def test_where_a_shelved_server_is_to_go(cloud):
    body = {"unshelve": {"availability_zone": None, "host": "h"}}
    assert act(cloud, body, version="2.91").status_code == 403
    assert act(cloud, body, version="2.91", token="admin").status_code == 202
    assert act(cloud, {"unshelve": {"availability_zone": "z"}}, version="2.77").status_code == 202
    assert act(cloud, {"unshelve": {"availability_zone": "z"}}, version="2.76").status_code == 202
    named, zoned, ignored = cloud.server_images.asked
    assert (named.host, named.HasField("availability_zone"), named.availability_zone) == ("h", True, "")
    assert zoned.availability_zone == "z"
    assert not ignored.HasField("availability_zone")


@pytest.mark.parametrize(("token", "code"), [("member", 403), ("admin", 202)])
def test_only_operators_have_a_server_leave_its_host(cloud, token: str, code: int):
    assert act(cloud, {"shelveOffload": None}, token=token).status_code == code
    assert act(cloud, {"shelve": None}, token=token).status_code == 202
