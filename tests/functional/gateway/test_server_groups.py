"""Server groups at every version, and what is refused of them."""

from __future__ import annotations

import uuid

import pytest

from protonova.api.v1.server_group_pb2 import ServerGroup
from protonova.common.v1 import server_group_pb2 as pb
from tests.support.identity import OTHER_PROJECT, PROJECT, USER

FAR = "00000000-0000-0000-0000-00000000ffff"
PATH = "/os-server-groups"


def post(cloud, version="2.64", token="member", **fields):
    return cloud.call("POST", PATH, {"server_group": {"name": "g", **fields}}, version=version, token=token)


def put(cloud, project_id=PROJECT, policy=pb.SERVER_GROUP_POLICY_AFFINITY, **fields):
    """A group that is there, whoever made it."""
    group = ServerGroup(
        id=str(uuid.uuid4()), name="g", user_id=USER, project_id=project_id, policy=policy, **fields
    )
    cloud.groups.groups[group.id] = group
    return group.id


@pytest.mark.parametrize("version", [1, 12, 13, 14, 15, 63, 64, 74, 75, 101, 102, 104])
def test_history(cloud, version):
    text = f"2.{version}"
    common = {"id", "name", "members"} | ({"project_id", "user_id"} if version >= 13 else set())
    how = {"policy", "rules"} if version >= 64 else {"policies", "metadata"}
    policy = {"policy": "anti-affinity"} if version >= 64 else {"policies": ["anti-affinity"]}
    made = post(cloud, text, **policy)
    assert made.status_code == 200
    group = made.json["server_group"]
    assert set(group) == common | how
    assert group["members"] == []
    if version >= 13:
        assert (group["project_id"], group["user_id"]) == (PROJECT, USER)
    if version >= 64:
        assert (group["policy"], group["rules"]) == ("anti-affinity", {})
    else:
        assert (group["policies"], group["metadata"]) == (["anti-affinity"], {})
    path = f"{PATH}/{group['id']}"
    assert cloud.get(path, version=text).json["server_group"] == group
    assert cloud.get(PATH, version=text).json == {"server_groups": [group]}
    strange = 400 if version >= 75 else 200
    assert cloud.get(f"{PATH}?bogus=1", version=text).status_code == strange
    assert cloud.get(f"{path}?bogus=1", version=text).status_code == (400 if version >= 102 else 200)
    answer = cloud.call("DELETE", path, version=text)
    assert (answer.status_code, answer.data) == (204, b"")
    assert cloud.get(path, version=text).status_code == 404


@pytest.mark.parametrize("version", ["2.1", "2.14", "2.15", "2.63", "2.64", "2.104"])
@pytest.mark.parametrize("policy", ["affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"])
def test_policies(cloud, version, policy):
    asked = {"policy": policy} if int(version[2:]) >= 64 else {"policies": [policy]}
    refused = policy.startswith("soft") and version in ("2.1", "2.14")
    answer = post(cloud, version, **asked)
    assert answer.status_code == (400 if refused else 200)
    if not refused:
        (kept,) = cloud.groups.groups.values()
        assert pb.ServerGroupPolicy.Name(kept.policy).lower().endswith(f"_{policy.replace('-', '_')}")


def test_soft_groups_and_rules_are_shown_at_older_versions(cloud):
    soft = put(cloud, policy=pb.SERVER_GROUP_POLICY_SOFT_AFFINITY)
    ruled = put(cloud, policy=pb.SERVER_GROUP_POLICY_ANTI_AFFINITY, max_server_per_host=3, member_ids=[FAR])
    assert cloud.get(f"{PATH}/{soft}").json["server_group"]["policies"] == ["soft-affinity"]
    shown = cloud.get(f"{PATH}/{ruled}", version="2.63").json["server_group"]
    assert (shown["policies"], shown["metadata"], shown["members"]) == (["anti-affinity"], {}, [FAR])
    shown = cloud.get(f"{PATH}/{ruled}", version="2.64").json["server_group"]
    assert (shown["policy"], shown["rules"]) == ("anti-affinity", {"max_server_per_host": 3})


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("2.1", {}),
        ("2.1", {"policies": []}),
        ("2.1", {"policies": ["affinity", "anti-affinity"]}),
        ("2.1", {"policies": ["affinity", "affinity"]}),
        ("2.1", {"policies": "affinity"}),
        ("2.1", {"policies": ["legacy"]}),
        ("2.1", {"policies": ["affinity"], "members": []}),
        ("2.1", {"policies": ["affinity"], "name": ""}),
        ("2.1", {"policies": ["affinity"], "name": "n" * 256}),
        ("2.1", {"policies": ["affinity"], "name": 7}),
        ("2.63", {"policy": "affinity"}),
        ("2.63", {"policies": ["affinity"], "rules": {}}),
        ("2.64", {}),
        ("2.64", {"policies": ["affinity"]}),
        ("2.64", {"policy": ["affinity"]}),
        ("2.64", {"policy": "none"}),
        ("2.64", {"policy": "affinity", "rules": {"max_server_per_host": 1}}),
        ("2.64", {"policy": "soft-anti-affinity", "rules": {"max_server_per_host": 1}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": "-1"}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": "x"}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": 2**31}}),
        ("2.64", {"policy": "anti-affinity", "rules": {"most": 1}}),
        ("2.64", {"policy": "anti-affinity", "rules": None}),
    ],
)
def test_what_is_no_group(cloud, version, fields):
    answer = post(cloud, version, **fields)
    assert answer.status_code == 400
    assert "server_group" in answer.json["badRequest"]["message"]
    assert cloud.groups.groups == {}


def test_rules(cloud):
    for given, kept in ((2, 2), ("3", 3)):
        made = post(cloud, policy="anti-affinity", rules={"max_server_per_host": given})
        assert made.json["server_group"]["rules"] == {"max_server_per_host": kept}
    assert post(cloud, policy="affinity", rules={}).json["server_group"]["rules"] == {}
    assert post(cloud, name=" blanks around ", policy="affinity").status_code == 400


def test_bodies_that_are_none(cloud):
    for body in ({}, {"server_group": None}, {"server_group": []}, {"group": {}}):
        assert cloud.call("POST", PATH, body).status_code == 400
    assert cloud.call("POST", PATH).status_code == 400


def test_rights(cloud):
    mine, theirs = put(cloud), put(cloud, OTHER_PROJECT)
    assert cloud.get(f"{PATH}/{mine}", token="reader").status_code == 200
    assert cloud.get(PATH, token="reader").status_code == 200
    assert post(cloud, token="reader", policy="affinity").status_code == 403
    assert cloud.call("DELETE", f"{PATH}/{mine}", token="reader").status_code == 403
    for method in ("GET", "DELETE"):
        answer = cloud.call(method, f"{PATH}/{theirs}")
        assert (answer.status_code, set(answer.json)) == (404, {"itemNotFound"})
        assert cloud.call(method, f"{PATH}/{FAR}").status_code == 404
    assert cloud.get(f"{PATH}/{theirs}", token="admin").status_code == 200
    assert cloud.call("DELETE", f"{PATH}/{theirs}", token="admin").status_code == 204


def test_lists_of_all_projects(cloud):
    mine, theirs = put(cloud), put(cloud, OTHER_PROJECT)

    def ids(query="", **fields):
        return [group["id"] for group in cloud.get(PATH + query, **fields).json["server_groups"]]

    assert ids() == ids("?all_projects=1") == ids("?all_projects", token="reader") == [mine]
    assert ids("?all_projects=True", token="admin") == ids("?all_projects", token="admin") == [mine, theirs]


def test_pages(cloud):
    made = [put(cloud) for _ in range(4)]

    def ids(query):
        return [group["id"] for group in cloud.get(PATH + query).json["server_groups"]]

    assert ids("?limit=2") == made[:2]
    assert ids("?limit=2&offset=1") == made[1:3]
    assert ids("?offset=3") == made[3:]
    assert ids("?offset=9") == ids(f"?offset={'9' * 40}") == []
    assert ids("?limit=0") == ids("?limit=99999") == made
    assert cloud.groups.requests[-1].page_size == 1000
    assert "server_groups_links" not in cloud.get(f"{PATH}?limit=2", version="2.104").json
    for wrong in ("limit=-1", "limit=x", "offset=-1", "offset=1.5"):
        assert cloud.get(f"{PATH}?{wrong}").status_code == 400


def test_the_quota_is_a_403(cloud):
    for _ in range(10):
        put(cloud)
    answer = post(cloud, policy="affinity")
    assert answer.status_code == 403
    assert "server_groups" in answer.json["forbidden"]["message"]


def test_limits_and_quotas_tell_how_many_there_are(cloud):
    cloud.quotas.used["server_groups"] = 3
    assert cloud.get("/limits").json["limits"]["absolute"]["totalServerGroupsUsed"] == 3
    detail = cloud.get(f"/os-quota-sets/{PROJECT}/detail").json["quota_set"]
    assert detail["server_groups"] == {"in_use": 3, "limit": 10, "reserved": 0}


@pytest.mark.parametrize("version", ["2.70", "2.71", "2.104"])
def test_servers_show_their_group(cloud, version):
    server = cloud.put_server(server_group_ids=[FAR])
    alone = cloud.put_server()
    shown = cloud.get(f"/servers/{server.id}", version=version).json["server"]
    assert shown.get("server_groups") == (None if version == "2.70" else [FAR])
    updated = cloud.call("PUT", f"/servers/{server.id}", {"server": {"name": "n"}}, version=version)
    assert updated.json["server"].get("server_groups") == shown.get("server_groups")
    if version != "2.70":
        assert cloud.get(f"/servers/{alone.id}", version=version).json["server"]["server_groups"] == []
    listed = cloud.get("/servers/detail", version=version).json["servers"]
    assert all("server_groups" not in each for each in listed)
