"""Key pairs, quotas and limits."""

from __future__ import annotations

import pytest

from tests.support.identity import OTHER_PROJECT, PROJECT, USER

KEY = "ssh-rsa AAAAB3NzaC1yc2E"


def post(cloud, version="2.1", token="member", **fields):
    return cloud.call(
        "POST", "/os-keypairs", {"keypair": {"name": "k", **fields}}, version=version, token=token
    )


@pytest.mark.parametrize("version", [1, 2, 9, 10, 34, 35, 91, 92, 104])
def test_keypair_history(cloud, version):
    text = f"2.{version}"
    typed = {"type"} if version >= 2 else set()
    made = post(cloud, text, public_key=KEY)
    assert made.status_code == (201 if version >= 2 else 200)
    assert set(made.json["keypair"]) == {"name", "public_key", "fingerprint", "user_id"} | typed
    listed = cloud.get("/os-keypairs", version=text).json["keypairs"][0]["keypair"]
    assert set(listed) == {"name", "public_key", "fingerprint"} | typed
    shown = cloud.get("/os-keypairs/k", version=text).json["keypair"]
    about = {"id", "created_at", "updated_at", "deleted", "deleted_at", "user_id"}
    assert set(shown) == {"name", "public_key", "fingerprint"} | about | typed
    assert shown["created_at"] == "2023-11-14T22:13:20.000123"
    deleted = cloud.call("DELETE", "/os-keypairs/k", version=text)
    assert deleted.status_code == (204 if version >= 2 else 202)


def test_generated_pairs(cloud):
    made = post(cloud, "2.91")
    assert made.json["keypair"]["private_key"].startswith("-----BEGIN")
    assert post(cloud, "2.92", name="l").status_code == 400
    assert "private_key" not in post(cloud, "2.92", name="l", public_key=KEY).json["keypair"]


def test_keypair_names_and_types(cloud):
    assert post(cloud, "2.91", name="a@b.c").status_code == 400
    assert post(cloud, "2.92", name="a@b.c", public_key=KEY).status_code == 201
    assert cloud.get("/os-keypairs/a@b.c", version="2.92").status_code == 200
    assert post(cloud, name="").status_code == 400
    assert post(cloud, name="a/b").status_code == 400
    assert post(cloud, "2.1", type="ssh").status_code == 400
    assert post(cloud, "2.2", name="x", type="x509", public_key=KEY).json["keypair"]["type"] == "x509"
    assert post(cloud, "2.2", type="dsa").status_code == 400
    assert post(cloud, public_key="nonsense").status_code == 400
    post(cloud, public_key=KEY)
    assert post(cloud, public_key=KEY).status_code == 409
    assert cloud.get("/os-keypairs/none").status_code == 404


def test_key_pairs_of_others(cloud):
    assert post(cloud, "2.9", user_id="u", public_key=KEY).status_code == 400
    assert post(cloud, "2.10", user_id="u", public_key=KEY).status_code == 403
    assert post(cloud, "2.10", token="admin", user_id="u", public_key=KEY).json["keypair"]["user_id"] == "u"
    assert cloud.get("/os-keypairs?user_id=u", version="2.10").status_code == 403
    assert len(cloud.get("/os-keypairs?user_id=u", version="2.10", token="admin").json["keypairs"]) == 1
    assert cloud.get("/os-keypairs?user_id=u", version="2.9", token="admin").json["keypairs"] == []
    assert cloud.get("/os-keypairs/k?user_id=u", version="2.10", token="admin").status_code == 200
    assert cloud.get(f"/os-keypairs?user_id={USER}", version="2.10").status_code == 200
    assert cloud.get("/os-keypairs?bogus=1", version="2.75").status_code == 400


def test_pages_of_key_pairs(cloud):
    for name in ("c", "a", "b"):
        post(cloud, name=name, public_key=KEY)
    assert len(cloud.get("/os-keypairs?limit=1", version="2.34").json["keypairs"]) == 3
    page = cloud.get("/os-keypairs?limit=2", version="2.35").json
    assert [each["keypair"]["name"] for each in page["keypairs"]] == ["a", "b"]
    assert "marker=b" in page["keypairs_links"][0]["href"]
    assert cloud.get("/os-keypairs?marker=none", version="2.35").status_code == 400


ALWAYS = {
    "cores", "instances", "key_pairs", "metadata_items", "ram", "server_groups", "server_group_members",
}  # fmt: skip
FILES = {"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
NETWORKS = {"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}


@pytest.mark.parametrize("version", [1, 35, 36, 49, 50, 56, 57, 104])
def test_quota_history(cloud, version):
    text = f"2.{version}"
    wanted = ALWAYS | (FILES if version <= 56 else set()) | (NETWORKS if version <= 35 else set())
    path = f"/os-quota-sets/{PROJECT}"
    for tail in ("", "/defaults"):
        shown = cloud.get(path + tail, version=text).json["quota_set"]
        assert set(shown) == wanted | {"id"}
        assert shown["id"] == PROJECT
    detail = cloud.get(f"{path}/detail", version=text).json["quota_set"]
    assert set(detail) == wanted | {"id"}
    assert detail["instances"] == {"in_use": 2, "limit": 10, "reserved": 0}
    body = {"quota_set": {"cores": "30"}}
    updated = cloud.call("PUT", path, body, version=text, token="admin").json["quota_set"]
    assert set(updated) == wanted
    assert updated["cores"] == 30
    for name in sorted(FILES | NETWORKS):
        answer = cloud.call("PUT", path, {"quota_set": {name: 1}}, version=text, token="admin")
        assert answer.status_code == (200 if name in wanted else 400), name

    classes = ALWAYS - ({"server_groups", "server_group_members"} if version < 50 else set())
    classes |= (FILES if version <= 56 else set()) | (NETWORKS if version <= 49 else set())
    shown = cloud.get("/os-quota-class-sets/default", version=text, token="admin").json["quota_class_set"]
    assert set(shown) == classes | {"id"}
    body = {"quota_class_set": {"ram": 1}}
    answer = cloud.call("PUT", "/os-quota-class-sets/default", body, version=text, token="admin")
    assert set(answer.json["quota_class_set"]) == classes


def test_quota_rights(cloud):
    path = f"/os-quota-sets/{PROJECT}"
    assert cloud.get(path, token="reader").status_code == 200
    assert cloud.get(f"/os-quota-sets/{OTHER_PROJECT}").status_code == 403
    assert cloud.get(f"/os-quota-sets/{OTHER_PROJECT}", token="admin").status_code == 200
    assert cloud.get(f"/os-quota-sets/{OTHER_PROJECT}/defaults").status_code == 200
    assert cloud.call("PUT", path, {"quota_set": {"cores": 1}}).status_code == 403
    assert cloud.call("DELETE", path).status_code == 403
    assert cloud.call("DELETE", path, token="admin").status_code == 202
    assert cloud.get("/os-quota-class-sets/default").status_code == 403


def test_quota_values(cloud):
    def put(**limits):
        return cloud.call(
            "PUT", f"/os-quota-sets/{PROJECT}", {"quota_set": limits}, token="admin"
        ).status_code

    assert put(cores=-1) == 200
    assert put(cores="-1") == 200
    assert put(cores=-2) == 400
    assert put(cores="-2") == 400
    assert put(cores="x") == 400
    assert put(bogus=1) == 400
    assert put(cores=1) == 400
    assert put(cores=1, force=True) == 200
    cloud.get(f"/os-quota-sets/{PROJECT}?user_id=u")
    assert cloud.quotas.requests[-1].user_id == "u"


MAXIMA = {
    "maxServerMeta", "maxServerGroups", "maxServerGroupMembers", "maxTotalCores", "maxTotalInstances",
    "maxTotalKeypairs", "maxTotalRAMSize", "totalCoresUsed", "totalInstancesUsed", "totalRAMUsed",
    "totalServerGroupsUsed",
}  # fmt: skip
OLD_MAXIMA = {
    "maxPersonality": 56,
    "maxPersonalitySize": 56,
    "maxImageMeta": 38,
    "maxSecurityGroups": 35,
    "maxSecurityGroupRules": 35,
    "maxTotalFloatingIps": 35,
    "totalFloatingIpsUsed": 35,
    "totalSecurityGroupsUsed": 35,
}


@pytest.mark.parametrize("version", [1, 35, 36, 38, 39, 56, 57, 104])
def test_limits(cloud, version):
    limits = cloud.get("/limits", version=f"2.{version}").json["limits"]
    assert limits["rate"] == []
    assert set(limits["absolute"]) == MAXIMA | {name for name, last in OLD_MAXIMA.items() if version <= last}
    assert limits["absolute"]["totalInstancesUsed"] == 2


def test_limits_of_another_project(cloud):
    path = f"/limits?tenant_id={OTHER_PROJECT}"
    assert cloud.get(path).status_code == 403
    assert cloud.get(path, token="admin").status_code == 200
    assert cloud.quotas.requests[-1].project_id == OTHER_PROJECT
    assert cloud.get("/limits?reserved=1", version="2.75").status_code == 200
    assert cloud.get("/limits?bogus=1", version="2.75").status_code == 400
