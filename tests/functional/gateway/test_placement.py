"""The Placement API: providers, inventories, traits, aggregates, classes, and how errors are told."""

from __future__ import annotations

import pytest

MISSING = "00000000-0000-0000-0000-00000000ffff"
AGGREGATE = "11111111-1111-1111-1111-111111111111"


def problem(answer, code, name=None):
    assert answer.status_code == code, answer.text
    (error,) = answer.json["errors"]
    assert error["status"] == code
    assert error["title"]
    assert error["detail"]
    assert error["request_id"] == answer.headers["x-openstack-request-id"]
    if name is not None:
        assert error["code"] == name
    return error


def test_root(placement):
    for path in ("/", ""):
        answer = placement.client.get(path)
        assert answer.json["versions"][0]["max_version"] == "1.39"
    mounted = placement.gateway.compute
    assert mounted is not None


def test_versions(placement):
    answer = placement.get("/resource_providers", version="latest")
    assert answer.headers["OpenStack-API-Version"] == "placement 1.39"
    assert answer.headers["Vary"] == "openstack-api-version"
    bare = placement.client.get("/resource_providers", headers={"X-Auth-Token": "admin"})
    assert bare.headers["OpenStack-API-Version"] == "placement 1.0"
    error = problem(placement.get("/resource_providers", version="1.40"), 406)
    assert (error["min_version"], error["max_version"]) == ("1.0", "1.39")
    problem(placement.get("/resource_providers", version="x"), 400)


def test_what_is_not_there(placement):
    problem(placement.get("/nothing"), 404)
    problem(placement.get("/traits", version="1.5"), 404)
    answer = placement.call("PATCH", "/resource_providers")
    problem(answer, 405)
    assert answer.headers["Allow"] == "GET, POST"
    uuid = placement.provider("a")
    answer = placement.call("DELETE", f"/resource_providers/{uuid}/inventories", version="1.4")
    problem(answer, 405)
    assert "code" not in problem(placement.get("/nothing", version="1.22"), 404)
    assert problem(placement.get("/nothing", version="1.23"), 404)["code"] == "placement.undefined_code"
    assert placement.get("/resource_providers", token=None).status_code == 401
    problem(placement.get("/resource_providers", token="member"), 403)
    problem(placement.get("/resource_providers", headers={"Accept": "text/html"}), 406)
    assert placement.get("/resource_providers", headers={"Accept": "*/*"}).status_code == 200


def test_bodies(placement):
    path = "/resource_providers"
    problem(placement.call("POST", path, data=b"{", content_type="application/json"), 400)
    problem(placement.call("POST", path, data=b"{}", content_type="text/plain"), 415)
    problem(placement.call("POST", path, data=b"{}"), 400)
    problem(placement.call("POST", path, {}), 400)
    problem(placement.call("POST", path, {"name": "a", "bogus": 1}), 400)
    problem(placement.call("POST", path, {"name": "x" * 201}), 400)
    problem(placement.get(f"{path}?bogus=1"), 400)


@pytest.mark.parametrize(
    ("version", "rels"),
    [
        ("1.0", ["self", "inventories", "usages"]),
        ("1.1", ["self", "inventories", "usages", "aggregates"]),
        ("1.6", ["self", "inventories", "usages", "aggregates", "traits"]),
        ("1.11", ["self", "inventories", "usages", "aggregates", "traits", "allocations"]),
    ],
)
def test_links(placement, version, rels):
    uuid = placement.provider("a")
    links = placement.get(f"/resource_providers/{uuid}", version=version).json["links"]
    assert [link["rel"] for link in links] == rels
    assert links[0]["href"] == f"/resource_providers/{uuid}"


def test_create_provider(placement):
    made = placement.call("POST", "/resource_providers", {"name": "a"}, version="1.19")
    assert (made.status_code, made.data) == (201, b"")
    uuid = made.headers["Location"].rpartition("/")[2]
    made = placement.call("POST", "/resource_providers", {"name": "b", "parent_provider_uuid": uuid})
    assert made.status_code == 200
    assert made.json["parent_provider_uuid"] == made.json["root_provider_uuid"] == uuid
    assert set(placement.get(f"/resource_providers/{uuid}", version="1.13").json) == {
        "uuid",
        "name",
        "generation",
        "links",
    }
    problem(placement.call("POST", "/resource_providers", {"name": "a"}), 409, "placement.duplicate_name")
    problem(
        placement.call("POST", "/resource_providers", {"name": "c", "parent_provider_uuid": MISSING}), 400
    )
    problem(
        placement.call(
            "POST", "/resource_providers", {"name": "c", "parent_provider_uuid": uuid}, version="1.13"
        ),
        400,
    )
    problem(
        placement.call("DELETE", f"/resource_providers/{uuid}"),
        409,
        "placement.resource_provider.cannot_delete_parent",
    )
    assert placement.call("DELETE", f"/resource_providers/{made.json['uuid']}").status_code == 204
    problem(placement.get(f"/resource_providers/{MISSING}"), 404)


def test_update_provider(placement):
    parent, child = placement.provider("p"), placement.provider("c")
    path = f"/resource_providers/{child}"
    assert placement.put(path, {"name": "d"}, version="1.0").json["name"] == "d"
    moved = placement.put(path, {"name": "d", "parent_provider_uuid": parent}, version="1.36")
    assert moved.json["root_provider_uuid"] == parent
    problem(placement.put(path, {"name": "d", "parent_provider_uuid": None}, version="1.36"), 400)
    assert (
        placement.put(path, {"name": "d", "parent_provider_uuid": None}).json["root_provider_uuid"] == child
    )
    problem(placement.put(path, {"name": "p"}), 409, "placement.duplicate_name")


def test_list_providers(placement):
    one = placement.provider("one", {"VCPU": 8})
    two = placement.provider("two", {"VCPU": 2}, parent_provider_uuid=one)
    placement.put(
        f"/resource_providers/{one}/traits", {"traits": ["HW_CPU_X86_VMX"], "resource_provider_generation": 1}
    )
    placement.put(
        f"/resource_providers/{two}/aggregates",
        {"aggregates": [AGGREGATE], "resource_provider_generation": 1},
    )

    def found(query, version="1.39"):
        answer = placement.get(f"/resource_providers?{query}", version=version)
        assert answer.status_code == 200, answer.json
        return {provider["name"] for provider in answer.json["resource_providers"]}

    assert found("") == {"one", "two"}
    assert found("name=one") == {"one"}
    assert found(f"uuid={two}") == {"two"}
    assert found(f"in_tree={two}") == {"one", "two"}
    assert found(f"in_tree={MISSING}") == set()
    assert found("resources=VCPU:4") == {"one"}
    assert found("required=HW_CPU_X86_VMX") == {"one"}
    assert found("required=!HW_CPU_X86_VMX") == {"two"}
    assert found("required=in:HW_CPU_X86_VMX,HW_CPU_X86_AVX") == {"one"}
    assert found(f"member_of={AGGREGATE}") == {"two"}
    assert found(f"member_of=in:{AGGREGATE},{MISSING}") == {"two"}
    assert found(f"member_of=!{AGGREGATE}") == {"one"}
    for query, version in (
        ("required=!HW_CPU_X86_VMX", "1.21"),
        ("required=in:HW_CPU_X86_VMX", "1.38"),
        ("required=", "1.39"),
        ("required=NO_SUCH_TRAIT", "1.39"),
        (f"member_of=!{AGGREGATE}", "1.31"),
        (f"member_of={AGGREGATE}&member_of={AGGREGATE}", "1.23"),
        ("member_of=x", "1.39"),
        (f"member_of={AGGREGATE},{MISSING}", "1.39"),
        ("resources=VCPU", "1.39"),
        ("resources=VCPU:0", "1.39"),
        ("resources=VCPU:x", "1.39"),
        ("resources=NOPE:1", "1.39"),
        ("resources=VCPU:1", "1.3"),
        ("required=HW_CPU_X86_VMX", "1.17"),
        ("uuid=x", "1.39"),
    ):
        problem(placement.get(f"/resource_providers?{query}", version=version), 400)


def test_inventories(placement):
    uuid = placement.provider("a")
    path = f"/resource_providers/{uuid}/inventories"
    made = placement.call("POST", path, {"resource_class": "VCPU", "total": 8, "allocation_ratio": 4.0})
    assert made.status_code == 201
    assert made.headers["Location"].endswith(f"{path}/VCPU")
    assert made.json == {
        "resource_provider_generation": 1,
        "total": 8,
        "reserved": 0,
        "min_unit": 1,
        "max_unit": 2147483647,
        "step_size": 1,
        "allocation_ratio": 4.0,
    }
    problem(
        placement.call("POST", path, {"resource_class": "VCPU", "total": 8}),
        409,
        "placement.concurrent_update",
    )
    problem(placement.call("POST", path, {"resource_class": "NOPE", "total": 8}), 400)
    full = {"resource_class": "DISK_GB", "total": 8, "reserved": 8}
    problem(placement.call("POST", path, full, version="1.25"), 400)
    assert placement.call("POST", path, full, version="1.26").status_code == 201
    assert set(placement.get(path).json["inventories"]) == {"VCPU", "DISK_GB"}
    assert placement.get(f"{path}/VCPU").json["total"] == 8
    problem(placement.get(f"{path}/MEMORY_MB"), 404)
    changed = placement.put(f"{path}/VCPU", {"resource_provider_generation": 2, "total": 16})
    assert (changed.json["total"], changed.json["allocation_ratio"]) == (16, 1.0)
    problem(
        placement.put(f"{path}/VCPU", {"resource_provider_generation": 2, "total": 1}),
        409,
        "placement.concurrent_update",
    )
    problem(placement.put(f"{path}/MEMORY_MB", {"resource_provider_generation": 3, "total": 1}), 400)
    problem(placement.put(f"{path}/NOPE", {"resource_provider_generation": 3, "total": 1}), 404)
    body = {"resource_provider_generation": 3, "inventories": {"MEMORY_MB": {"total": 1024}}}
    assert set(placement.put(path, body).json["inventories"]) == {"MEMORY_MB"}
    assert placement.call("DELETE", f"{path}/MEMORY_MB").status_code == 204
    problem(placement.call("DELETE", f"{path}/MEMORY_MB"), 404)
    assert placement.call("DELETE", path).status_code == 204
    problem(placement.get(f"/resource_providers/{MISSING}/inventories"), 404)
    for bad in ({"total": 0}, {"total": "8"}, {"total": 8, "bogus": 1}, {"total": 8, "reserved": -1}):
        problem(placement.call("POST", path, {"resource_class": "VCPU", **bad}), 400)


def test_inventories_in_use(placement):
    uuid = placement.provider("a", {"VCPU": 8})
    held = {
        "allocations": {uuid: {"resources": {"VCPU": 1}}},
        "project_id": "p",
        "user_id": "u",
        "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }
    assert placement.put(f"/allocations/{MISSING}", held).status_code == 204
    path = f"/resource_providers/{uuid}/inventories"
    empty = {"resource_provider_generation": placement.generation(uuid), "inventories": {}}
    problem(placement.put(path, empty), 409, "placement.inventory.inuse")
    problem(placement.call("DELETE", path), 409, "placement.inventory.inuse")
    problem(placement.call("DELETE", f"{path}/VCPU"), 409, "placement.concurrent_update")
    problem(placement.call("DELETE", f"/resource_providers/{uuid}"), 409, "placement.resource_provider.inuse")
    assert placement.get(f"/resource_providers/{uuid}/usages").json["usages"] == {"VCPU": 1}


def test_traits(placement):
    assert "HW_CPU_X86_VMX" in placement.get("/traits").json["traits"]
    answer = placement.put("/traits/CUSTOM_GOLD")
    assert (answer.status_code, answer.data) == (201, b"")
    assert answer.headers["Location"].endswith("/traits/CUSTOM_GOLD")
    assert placement.put("/traits/CUSTOM_GOLD").status_code == 204
    assert placement.get("/traits/CUSTOM_GOLD").status_code == 204
    problem(placement.get("/traits/CUSTOM_NONE"), 404)
    problem(placement.put("/traits/GOLD"), 400)
    assert placement.get("/traits?name=startswith:CUSTOM").json == {"traits": ["CUSTOM_GOLD"]}
    assert placement.get("/traits?name=in:CUSTOM_GOLD,CUSTOM_NONE").json == {"traits": ["CUSTOM_GOLD"]}
    problem(placement.get("/traits?name=CUSTOM"), 400)
    problem(placement.get("/traits?associated=maybe"), 400)
    uuid = placement.provider("a")
    path = f"/resource_providers/{uuid}/traits"
    body = {"traits": ["CUSTOM_GOLD"], "resource_provider_generation": 0}
    assert placement.put(path, body).json == {"traits": ["CUSTOM_GOLD"], "resource_provider_generation": 1}
    problem(placement.put(path, body), 409, "placement.concurrent_update")
    assert placement.get(path).json["traits"] == ["CUSTOM_GOLD"]
    assert placement.get("/traits?associated=TRUE").json == {"traits": ["CUSTOM_GOLD"]}
    problem(placement.call("DELETE", "/traits/CUSTOM_GOLD"), 409)
    body = {"traits": ["NO_SUCH"], "resource_provider_generation": 1}
    problem(placement.put(path, body), 400)
    assert placement.call("DELETE", path).status_code == 204
    assert placement.call("DELETE", "/traits/CUSTOM_GOLD").status_code == 204
    problem(placement.call("DELETE", "/traits/CUSTOM_GOLD"), 404)
    problem(placement.call("DELETE", "/traits/HW_CPU_X86_VMX"), 400)


def test_aggregates(placement):
    uuid = placement.provider("a")
    path = f"/resource_providers/{uuid}/aggregates"
    assert placement.put(path, [AGGREGATE], version="1.18").json == {"aggregates": [AGGREGATE]}
    assert placement.get(path, version="1.18").json == {"aggregates": [AGGREGATE]}
    assert placement.get(path).json == {"aggregates": [AGGREGATE], "resource_provider_generation": 0}
    problem(placement.put(path, [AGGREGATE]), 400)
    problem(placement.put(path, ["x"], version="1.18"), 400)
    body = {"aggregates": [], "resource_provider_generation": 0}
    assert placement.put(path, body).json == {"aggregates": [], "resource_provider_generation": 1}
    problem(placement.put(path, body), 409, "placement.concurrent_update")
    problem(placement.get(path, version="1.0"), 404)


def test_resource_classes(placement):
    names = [each["name"] for each in placement.get("/resource_classes").json["resource_classes"]]
    assert {"VCPU", "MEMORY_MB", "DISK_GB"} <= set(names)
    made = placement.call("POST", "/resource_classes", {"name": "CUSTOM_A"})
    assert made.status_code == 201
    problem(placement.call("POST", "/resource_classes", {"name": "CUSTOM_A"}), 409)
    problem(placement.call("POST", "/resource_classes", {"name": "A"}), 400)
    shown = placement.get("/resource_classes/CUSTOM_A").json
    assert shown == {"name": "CUSTOM_A", "links": [{"rel": "self", "href": "/resource_classes/CUSTOM_A"}]}
    problem(placement.get("/resource_classes/CUSTOM_B"), 404)
    renamed = placement.put("/resource_classes/CUSTOM_A", {"name": "CUSTOM_B"}, version="1.6")
    assert renamed.json["name"] == "CUSTOM_B"
    problem(placement.put("/resource_classes/VCPU", {"name": "CUSTOM_C"}, version="1.6"), 400)
    assert placement.put("/resource_classes/CUSTOM_C").status_code == 201
    assert placement.put("/resource_classes/CUSTOM_C").status_code == 204
    problem(placement.put("/resource_classes/C"), 400)
    assert placement.call("DELETE", "/resource_classes/CUSTOM_C").status_code == 204
    problem(placement.call("DELETE", "/resource_classes/CUSTOM_C"), 404)
    problem(placement.call("DELETE", "/resource_classes/VCPU"), 400)
    placement.provider("a", {"CUSTOM_B": 1})
    problem(placement.call("DELETE", "/resource_classes/CUSTOM_B"), 409)


def test_last_modified(placement):
    uuid = placement.provider("a")
    answer = placement.get(f"/resource_providers/{uuid}", version="1.15")
    assert answer.headers["last-modified"].endswith("GMT")
    assert answer.headers["cache-control"] == "no-cache"
    assert "last-modified" not in placement.get(f"/resource_providers/{uuid}", version="1.14").headers
    assert "last-modified" in placement.put("/traits/CUSTOM_GOLD").headers
    assert "last-modified" in placement.get("/traits/CUSTOM_GOLD").headers
