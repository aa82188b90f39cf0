"""Share: shares, where they are exported, who is let in, and what locks keep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openstack.connection import Connection
from openstack.exceptions import BadRequestException, ConflictException, NotFoundException

from .conftest import Companions

HOST = "192.0.2.7"


@pytest.fixture
def mine(new_project: Callable[..., Connection]) -> Connection:
    return new_project()


@pytest.fixture
def nova(companions: Companions) -> Connection:
    """The compute service."""
    return companions.connect("nova", "service", password="service-secret")


def make(connection: Connection, **share: Any) -> Any:
    return connection.shared_file_system.create_share(share_protocol="LOCAL", size=1, **share)


def call(connection: Connection, method: str, path: str, body: Any = None, version: str = "2.82") -> Any:
    base = connection.session.get_endpoint(service_type="shared-file-system")
    headers = {"X-OpenStack-Manila-API-Version": version}
    return connection.session.request(f"{base}{path}", method, json=body, headers=headers, raise_exc=False)


def test_versions(companions: Companions, mine: Connection):
    found = companions.call("GET", "/share/").json()["versions"]
    assert [(one["id"], one["min_version"], one["version"]) for one in found] == [("v2.0", "2.0", "2.82")]
    assert call(mine, "GET", "/", version="2.99").json()["versions"] == found
    assert call(mine, "GET", "/shares", version="2.9").headers["X-OpenStack-Manila-API-Version"] == "2.9"
    assert call(mine, "GET", "/shares", version="2.83").status_code == 406
    assert call(mine, "GET", "/shares", version="two").status_code == 400
    assert call(mine, "GET", "/resource-locks", version="2.80").status_code == 404


def test_a_share_and_its_directory(mine: Connection):
    files = mine.shared_file_system
    share = files.get_share(make(mine, name="data", description="d").id)
    assert (share.status, share.share_protocol, share.size) == ("available", "LOCAL", 1)
    (location,) = files.export_locations(share.id)
    assert Path(location.path).is_dir()
    assert not Path(location.path).parent.stat().st_mode & 0o077
    Path(location.path, "kept").write_text("x")
    assert files.find_share("data").id == share.id
    assert [one.id for one in files.shares()] == [share.id]
    assert call(mine, "GET", "/shares?is_soft_deleted=True").json()["shares"] == []
    assert files.update_share(share.id, display_name="other").name == "other"
    assert call(mine, "POST", f"/shares/{share.id}/action", {"extend": {"new_size": 3}}).status_code == 202
    assert files.get_share(share.id).size == 3
    files.delete_share(share.id)
    assert not Path(location.path).exists()
    with pytest.raises(NotFoundException):
        files.get_share(share.id)


def test_whose_shares_are(mine: Connection, admin: Connection, demo: Connection):
    share, open_ = make(mine), make(admin, is_public=True)
    assert call(demo, "GET", f"/shares/{share.id}").status_code == 404
    assert call(demo, "DELETE", f"/shares/{share.id}").status_code == 404
    assert call(demo, "GET", f"/shares/{open_.id}").status_code == 200
    assert call(demo, "DELETE", f"/shares/{open_.id}").status_code == 404
    assert call(demo, "POST", "/shares", {"share": {"size": 1, "is_public": True}}).status_code == 403
    seen = {one["id"] for one in call(admin, "GET", "/shares?all_tenants=1").json()["shares"]}
    assert {share.id, open_.id} <= seen
    assert share.id not in {one["id"] for one in call(demo, "GET", "/shares?all_tenants=1").json()["shares"]}


@pytest.mark.parametrize(
    "share",
    [
        {},
        {"size": 0},
        {"size": "large"},
        {"size": 1, "share_proto": "NFS"},
        {"size": 1, "name": 7},
        {"size": 1, "is_public": "perhaps"},
        {"size": 1, "metadata": {"a": 1}},
        {"size": 1, "snapshot_id": HOST},
    ],
)
def test_bad_shares(mine: Connection, share: dict[str, Any]):
    answer = call(mine, "POST", "/shares", {"share": share})
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["code"] == 400
    assert call(mine, "GET", "/shares").json()["shares"] == []


def test_access_rules(mine: Connection, demo: Connection):
    share = make(mine)
    rule = mine.shared_file_system.create_access_rule(
        share.id, access_type="ip", access_to=HOST, access_level="ro"
    )
    assert (rule.state, rule.access_to, rule.access_level) == ("active", HOST, "ro")
    with pytest.raises(BadRequestException):
        mine.shared_file_system.create_access_rule(share.id, access_type="ip", access_to=HOST)
    for bad in (
        {"access_type": "ip", "access_to": "everywhere"},
        {"access_type": "key", "access_to": HOST},
        {"access_type": "user", "access_to": "x"},
        {"access_type": "ip"},
    ):
        answer = call(mine, "POST", f"/shares/{share.id}/action", {"allow_access": bad})
        assert answer.status_code == 400, bad
    assert [one.id for one in mine.shared_file_system.access_rules(share)] == [rule.id]
    assert call(demo, "GET", f"/share-access-rules/{rule.id}").status_code == 404
    mine.shared_file_system.delete_access_rule(rule.id, share.id)
    assert list(mine.shared_file_system.access_rules(share)) == []


def test_what_a_service_locks(mine: Connection, nova: Connection):
    share = make(mine)
    files = nova.shared_file_system
    rule = files.create_access_rule(
        share.id, access_type="ip", access_to=HOST, lock_visibility=True, lock_deletion=True
    )
    assert files.get_access_rule(rule.id).access_to == HOST
    assert mine.shared_file_system.get_access_rule(rule.id).access_to == "******"
    denied = {"deny_access": {"access_id": rule.id}}
    assert call(mine, "POST", f"/shares/{share.id}/action", denied).status_code == 409
    denied["deny_access"]["unrestrict"] = True
    assert call(mine, "POST", f"/shares/{share.id}/action", denied).status_code == 403

    lock = files.create_resource_lock(resource_id=share.id, resource_type="share", lock_reason="in use")
    assert lock.lock_context == "service"
    with pytest.raises(ConflictException):
        mine.shared_file_system.delete_share(share.id)
    assert call(mine, "DELETE", f"/resource-locks/{lock.id}").status_code == 404
    assert call(nova, "POST", f"/shares/{share.id}/action", denied).status_code == 202
    files.delete_resource_lock(lock.id)
    mine.shared_file_system.delete_share(share.id)


def test_what_a_user_locks(mine: Connection):
    share = make(mine)
    lock = mine.shared_file_system.create_resource_lock(resource_id=share.id, resource_type="share")
    assert (lock.lock_context, lock.resource_action) == ("user", "delete")
    assert [one.id for one in mine.shared_file_system.resource_locks(resource_id=share.id)] == [lock.id]
    assert call(mine, "DELETE", f"/shares/{share.id}").status_code == 409
    for bad in ({"resource_type": "moon"}, {"resource_action": "show"}, {"resource_id": ""}):
        body = {"resource_lock": {"resource_id": share.id, "resource_type": "share", **bad}}
        assert call(mine, "POST", "/resource-locks", body).status_code == 400, bad
    mine.shared_file_system.delete_resource_lock(lock.id)
    mine.shared_file_system.delete_share(share.id)


def test_types(mine: Connection):
    assert call(mine, "GET", "/types/default").json()["share_type"]["is_default"] is True
    assert [one["name"] for one in call(mine, "GET", "/types").json()["share_types"]] == ["default"]
    assert call(mine, "GET", "/types/none").status_code == 404
