"""Flavors, their extra specs and who may use them."""

from __future__ import annotations

import pytest

from protonova.api.v1 import flavor_pb2 as api
from tests.support.identity import OTHER_PROJECT, PROJECT

BASE = {
    "id",
    "name",
    "links",
    "ram",
    "vcpus",
    "disk",
    "swap",
    "OS-FLV-EXT-DATA:ephemeral",
    "os-flavor-access:is_public",
}
SINCE = {"description": 55, "extra_specs": 61}
UNTIL = {"rxtx_factor": 101, "OS-FLV-DISABLED:disabled": 101}


def expected(version):
    return (
        BASE
        | {name for name, first in SINCE.items() if version >= first}
        | {name for name, last in UNTIL.items() if version <= last}
    )


@pytest.mark.parametrize("version", [1, 54, 55, 60, 61, 74, 75, 101, 102, 104])
def test_attributes(cloud, version):
    cloud.flavors.put(id="1", name="m1.tiny")
    text = f"2.{version}"
    wanted = expected(version)
    shown = cloud.get("/flavors/1", version=text).json["flavor"]
    assert set(shown) == wanted
    assert shown["swap"] == ("" if version < 75 else 0)
    listed = cloud.get("/flavors/detail", version=text).json["flavors"][0]
    assert set(listed) == wanted
    assert listed["swap"] == ("" if version < 102 else 0)
    body = {"flavor": {"name": f"f{version}", "ram": 1, "vcpus": "1", "disk": 0}}
    made = cloud.call("POST", "/flavors", body, version=text, token="admin").json["flavor"]
    assert set(made) == wanted
    summary = cloud.get("/flavors", version=text).json["flavors"][0]
    assert set(summary) == {"id", "name", "links"} | ({"description"} if version >= 55 else set())


def test_create(cloud):
    def post(version="2.1", token="admin", **fields):
        flavor = {"name": "big", "ram": "4096", "vcpus": 2, "disk": 20, **fields}
        return cloud.call("POST", "/flavors", {"flavor": flavor}, version=version, token=token)

    assert post(token="member").status_code == 403
    made = post(**{"id": "b1", "swap": "5", "OS-FLV-EXT-DATA:ephemeral": 3, "rxtx_factor": "1.5"}).json[
        "flavor"
    ]
    assert (made["id"], made["ram"], made["swap"], made["rxtx_factor"]) == ("b1", 4096, 5, 1.5)
    assert post(id="b1").status_code == 409
    assert len(post(name="other", id=None).json["flavor"]["id"]) == 36
    for bad in (
        {"ram": 0},
        {"ram": "x"},
        {"vcpus": -1},
        {"disk": "-1"},
        {"ram": 2147483648},
        {"ram": "2147483648"},
        {"name": ""},
        {"name": " x"},
        {"id": " x"},
        {"id": "a/b"},
        {"rxtx_factor": 0},
        {"bogus": 1},
    ):
        assert post(**{"name": "n", **bad}).status_code == 400, bad
    assert post(name="d", description="x").status_code == 400
    assert post(name="d", description="x", version="2.55").json["flavor"]["description"] == "x"
    assert post(name="e", rxtx_factor=1.0, version="2.102").status_code == 400


def test_describe_and_delete(cloud):
    cloud.flavors.put(id="1", name="m1.tiny")
    body = {"flavor": {"description": "small"}}
    admin = {"token": "admin"}
    assert cloud.call("PUT", "/flavors/1", body, version="2.54", **admin).status_code == 404
    assert (
        cloud.call("PUT", "/flavors/1", body, version="2.55", **admin).json["flavor"]["description"]
        == "small"
    )
    body["flavor"]["description"] = None
    assert (
        cloud.call("PUT", "/flavors/1", body, version="2.55", **admin).json["flavor"]["description"] is None
    )
    assert cloud.call("PUT", "/flavors/1", {"flavor": {}}, version="2.55", **admin).status_code == 400
    assert cloud.call("DELETE", "/flavors/1").status_code == 403
    answer = cloud.call("DELETE", "/flavors/1", **admin)
    assert (answer.status_code, answer.data) == (202, b"")
    assert cloud.get("/flavors/1").status_code == 404


def test_list_parameters(cloud):
    def asked(query, **rest):
        assert cloud.get(f"/flavors?{query}", **rest).status_code == 200
        return cloud.flavors.requests[-1]

    wanted = asked("minRam=512&minDisk=1&sort_key=flavorid&sort_dir=desc&limit=7")
    assert (wanted.min_memory_mb, wanted.min_root_gb, wanted.page_size) == (512, 1, 7)
    assert (wanted.sort_key, wanted.sort_descending) == ("id", True)
    assert wanted.visibility == api.FLAVOR_VISIBILITY_UNSPECIFIED
    for text, visibility in (
        ("", api.FLAVOR_VISIBILITY_PUBLIC),
        ("is_public=None", api.FLAVOR_VISIBILITY_ALL),
        ("is_public=false", api.FLAVOR_VISIBILITY_PRIVATE),
        ("is_public=t", api.FLAVOR_VISIBILITY_PUBLIC),
    ):
        assert asked(text, token="admin").visibility == visibility
    assert asked("is_public=nonsense").visibility == api.FLAVOR_VISIBILITY_UNSPECIFIED
    assert cloud.get("/flavors?is_public=nonsense", token="admin").status_code == 400
    assert cloud.get("/flavors?minRam=x").status_code == 400
    assert cloud.get("/flavors?sort_key=x").status_code == 400
    assert asked("name=a", version="2.101".replace("101", "74")).name == ""
    assert cloud.get("/flavors?name=a", version="2.101").status_code == 400
    assert asked("name=a", version="2.102").name == "a"
    assert asked("sort_key=rxtx_factor", version="2.101").sort_key == "rxtx_factor"
    assert cloud.get("/flavors?sort_key=rxtx_factor", version="2.102").status_code == 400


def test_pages(cloud):
    for number in range(3):
        cloud.flavors.put(id=str(number), name=f"f{number}")
    page = cloud.get("/flavors/detail?limit=2").json
    assert [flavor["id"] for flavor in page["flavors"]] == ["0", "1"]
    assert page["flavors_links"] == [
        {"rel": "next", "href": "http://localhost/v2.1/flavors/detail?limit=2&marker=1"}
    ]
    assert "flavors_links" not in cloud.get("/flavors/detail?limit=2&marker=1").json
    assert cloud.get("/flavors?marker=none").status_code == 400


def test_extra_specs(cloud):
    cloud.flavors.put(id="1", name="m1.tiny")
    path = "/flavors/1/os-extra_specs"
    admin = {"token": "admin"}
    body = {"extra_specs": {"hw:cpu_policy": "shared", "number": 1}}
    assert cloud.call("POST", path, body).status_code == 403
    stored = {"extra_specs": {"hw:cpu_policy": "shared", "number": "1"}}
    assert cloud.call("POST", path, body, **admin).json == stored
    assert cloud.get(path).json == stored
    assert cloud.get(f"{path}/number").json == {"number": "1"}
    assert cloud.get(f"{path}/none").status_code == 404
    assert cloud.call("PUT", f"{path}/number", {"number": "2"}, **admin).json == {"number": "2"}
    assert cloud.call("PUT", f"{path}/number", {"other": "2"}, **admin).status_code == 400
    assert cloud.call("PUT", f"{path}/number", {"number": "2", "other": "2"}, **admin).status_code == 400
    assert cloud.call("POST", path, {"extra_specs": {"a/b": "x"}}, **admin).status_code == 400
    assert cloud.call("POST", path, {"extra_specs": {"a": "x" * 256}}, **admin).status_code == 400
    answer = cloud.call("DELETE", f"{path}/number", **admin)
    assert (answer.status_code, answer.data) == (200, b"")
    assert cloud.call("DELETE", f"{path}/number", **admin).status_code == 404
    shown = cloud.get("/flavors/1", version="2.61").json["flavor"]["extra_specs"]
    assert shown == {"hw:cpu_policy": "shared"}


def test_access(cloud):
    cloud.flavors.put(id="p", name="private", is_public=False)
    cloud.flavors.put(id="1", name="m1.tiny")
    admin = {"token": "admin"}
    assert cloud.get("/flavors/p").status_code == 404

    def act(flavor, action, project=PROJECT, **rest):
        return cloud.call(
            "POST", f"/flavors/{flavor}/action", {action: {"tenant": project}}, **{**admin, **rest}
        )

    entry = {"flavor_id": "p", "tenant_id": PROJECT}
    assert act("p", "addTenantAccess").json == {"flavor_access": [entry]}
    assert cloud.get("/flavors/p").status_code == 200
    assert act("p", "addTenantAccess").status_code == 409
    assert cloud.get("/flavors/p/os-flavor-access", **admin).json == {"flavor_access": [entry]}
    assert cloud.get("/flavors/p/os-flavor-access").status_code == 403
    assert cloud.get("/flavors/1/os-flavor-access", **admin).status_code == 404
    assert act("1", "addTenantAccess", version="2.6").status_code == 200
    assert act("1", "addTenantAccess", version="2.7").status_code == 409
    assert act("p", "removeTenantAccess", OTHER_PROJECT).status_code == 404
    assert act("p", "removeTenantAccess").json == {"flavor_access": []}
    assert act("p", "addTenantAccess", token="member").status_code == 403
    assert act("p", "bogus").status_code == 400


def test_extra_specs_are_checked_from_2_86(cloud):
    cloud.flavors.put(id="1", name="m1.tiny")
    path = "/flavors/1/os-extra_specs"
    body = {"extra_specs": {"hw:cpu_policy": "sharedd"}}
    assert cloud.call("POST", path, body, version="2.85", token="admin").status_code == 200
    assert cloud.call("POST", path, body, version="2.86", token="admin").status_code == 400
    one = {"hw:cpu_policy": "sharedd"}
    assert cloud.call("PUT", f"{path}/hw:cpu_policy", one, version="2.86", token="admin").status_code == 400
