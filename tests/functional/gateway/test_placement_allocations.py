"""The Placement API: allocations, usages, candidates and the reshaper."""

from __future__ import annotations

import pytest

from tests.functional.gateway.test_placement import AGGREGATE, MISSING, problem

CONSUMER = "22222222-2222-2222-2222-222222222222"
OTHER = "33333333-3333-3333-3333-333333333333"


def body(provider, version, amount=1, generation=None, **more):
    """What a PUT of allocations looks like at a version."""
    minor = int(version.partition(".")[2])
    resources = {"VCPU": amount}
    built = {"allocations": {provider: {"resources": resources}}}
    if minor < 12:
        built["allocations"] = [{"resource_provider": {"uuid": provider}, "resources": resources}]
    if minor >= 8:
        built |= {"project_id": "p", "user_id": "u"}
    if minor >= 28:
        built["consumer_generation"] = generation
    if minor >= 38:
        built["consumer_type"] = "INSTANCE"
    return {**built, **more}


@pytest.mark.parametrize(
    "version", ["1.0", "1.7", "1.8", "1.11", "1.12", "1.27", "1.28", "1.33", "1.34", "1.37", "1.38"]
)
def test_the_form_of_each_version(placement, version):
    minor = int(version.partition(".")[2])
    uuid = placement.provider("a", {"VCPU": 8})
    path = f"/allocations/{CONSUMER}"
    assert placement.put(path, body(uuid, version), version=version).status_code == 204
    shown = placement.get(path, version=version).json
    assert shown["allocations"][uuid]["resources"] == {"VCPU": 1}
    keys = {"allocations"}
    keys |= {"project_id", "user_id"} if minor >= 12 else set()
    keys |= {"consumer_generation"} if minor >= 28 else set()
    keys |= {"consumer_type"} if minor >= 38 else set()
    assert set(shown) == keys
    mappings = body(uuid, version, generation=1, mappings={"": [uuid]})
    assert placement.put(path, mappings, version=version).status_code == (204 if minor >= 34 else 400)
    empty = body(uuid, version, generation=1)
    empty["allocations"] = {} if minor >= 12 else []
    if minor < 28:
        problem(placement.put(path, empty, version=version), 400)
    problem(placement.put(path, {**body(uuid, version), "bogus": 1}, version=version), 400)


def test_allocations(placement):
    uuid = placement.provider("a", {"VCPU": 8})
    path = f"/allocations/{CONSUMER}"
    assert placement.get(path).json == {"allocations": {}}
    assert placement.put(path, body(uuid, "1.39")).status_code == 204
    problem(placement.put(path, body(uuid, "1.39")), 409, "placement.concurrent_update")
    assert placement.put(path, body(uuid, "1.39", 2, generation=1)).status_code == 204
    shown = placement.get(path).json
    assert shown["consumer_generation"] == 2
    assert shown["allocations"][uuid]["generation"] == placement.generation(uuid)
    held = placement.get(f"/resource_providers/{uuid}/allocations").json
    assert held["allocations"] == {CONSUMER: {"resources": {"VCPU": 2}, "consumer_generation": 2}}
    bare = placement.get(f"/resource_providers/{uuid}/allocations", version="1.27").json
    assert bare["allocations"] == {CONSUMER: {"resources": {"VCPU": 2}}}
    problem(placement.put(path, body(uuid, "1.39", 9, generation=2)), 409, "placement.undefined_code")
    problem(placement.put(path, body(MISSING, "1.39", generation=2)), 400)
    problem(placement.put("/allocations/x", body(uuid, "1.39")), 400)
    nothing = {**body(uuid, "1.39", generation=2), "allocations": {}}
    assert placement.put(path, nothing).status_code == 204
    assert placement.get(path).json == {"allocations": {}}
    problem(placement.call("DELETE", path), 404)
    placement.put(path, body(uuid, "1.39"))
    assert placement.call("DELETE", path).status_code == 204


def test_many_at_once(placement):
    uuid = placement.provider("a", {"VCPU": 2})
    two = {CONSUMER: body(uuid, "1.39"), OTHER: body(uuid, "1.39", 5)}
    problem(placement.call("POST", "/allocations", two), 409)
    assert placement.get(f"/allocations/{CONSUMER}").json == {"allocations": {}}
    two[OTHER] = body(uuid, "1.39")
    assert placement.call("POST", "/allocations", two).status_code == 204
    problem(placement.call("POST", "/allocations", {}), 400)
    problem(placement.call("POST", "/allocations", two, version="1.12"), 404)


def test_usages(placement):
    uuid = placement.provider("a", {"VCPU": 8})
    placement.put(f"/allocations/{CONSUMER}", body(uuid, "1.39", 2))
    placement.put(f"/allocations/{OTHER}", body(uuid, "1.12", 1), version="1.12")
    problem(placement.get("/usages"), 400)
    assert placement.get("/usages?project_id=p", version="1.37").json == {"usages": {"VCPU": 3}}
    assert placement.get("/usages?project_id=none", version="1.37").json == {"usages": {}}
    assert placement.get("/usages?project_id=p").json["usages"] == {
        "INSTANCE": {"VCPU": 2, "consumer_count": 1},
        "unknown": {"VCPU": 1, "consumer_count": 1},
    }
    everything = placement.get("/usages?project_id=p&consumer_type=all").json["usages"]
    assert everything == {"all": {"VCPU": 3, "consumer_count": 2}}
    typed = placement.get("/usages?project_id=p&consumer_type=INSTANCE").json["usages"]
    assert typed == {"INSTANCE": {"VCPU": 2, "consumer_count": 1}}
    problem(placement.get("/usages?project_id=p&consumer_type=all", version="1.37"), 400)
    problem(placement.get("/usages?project_id=p", token="member"), 403)


@pytest.fixture
def tree(placement):
    root = placement.provider("root", {"VCPU": 8, "MEMORY_MB": 4096})
    child = placement.provider("child", {"SRIOV_NET_VF": 4}, parent_provider_uuid=root)
    placement.put(
        f"/resource_providers/{root}/traits",
        {"traits": ["HW_CPU_X86_VMX"], "resource_provider_generation": 1},
    )
    return root, child


@pytest.mark.parametrize("version", ["1.10", "1.12", "1.17", "1.27", "1.29", "1.34", "1.39"])
def test_the_answer_of_candidates(placement, tree, version):
    minor = int(version.partition(".")[2])
    root, child = tree
    answer = placement.get("/allocation_candidates?resources=VCPU:1", version=version).json
    (candidate,) = answer["allocation_requests"]
    if minor < 12:
        assert candidate["allocations"] == [{"resource_provider": {"uuid": root}, "resources": {"VCPU": 1}}]
    else:
        assert candidate["allocations"] == {root: {"resources": {"VCPU": 1}}}
    assert candidate.get("mappings") == ({"": [root]} if minor >= 34 else None)
    summary = answer["provider_summaries"][root]
    assert set(summary["resources"]) == ({"VCPU", "MEMORY_MB"} if minor >= 27 else {"VCPU"})
    assert summary["resources"]["VCPU"] == {"capacity": 8, "used": 0}
    assert summary.get("traits") == (["HW_CPU_X86_VMX"] if minor >= 17 else None)
    assert ("root_provider_uuid" in summary) == (minor >= 29)
    assert (child in answer["provider_summaries"]) == (minor >= 29)


def found(placement, query, version="1.39"):
    answer = placement.get(f"/allocation_candidates?{query}", version=version)
    assert answer.status_code == 200, answer.json
    return len(answer.json["allocation_requests"])


def test_what_candidates_match(placement, tree):
    assert found(placement, "resources=VCPU:9") == 0
    assert found(placement, "resources=VCPU:1&required=HW_CPU_X86_VMX") == 1
    assert found(placement, "resources=VCPU:1&required=!HW_CPU_X86_VMX") == 0
    assert found(placement, "resources=VCPU:1&resources1=SRIOV_NET_VF:1") == 1
    assert found(placement, "resources=VCPU:1&resources_net=SRIOV_NET_VF:1") == 1
    assert found(placement, f"resources=VCPU:1&in_tree={tree[1]}") == 1
    assert found(placement, f"resources=VCPU:1&in_tree={MISSING}") == 0
    assert found(placement, f"resources=VCPU:1&member_of={AGGREGATE}") == 0
    assert found(placement, "resources=VCPU:1&root_required=HW_CPU_X86_VMX") == 1
    assert (
        found(placement, "resources1=VCPU:1&resources2=SRIOV_NET_VF:1&same_subtree=1,2&group_policy=none")
        == 1
    )
    assert found(placement, "resources=VCPU:1&limit=1") == 1


@pytest.mark.parametrize(
    ("query", "version", "code"),
    [
        ("", "1.39", "placement.query.missing_value"),
        ("resources=", "1.39", None),
        ("resources=VCPU", "1.39", None),
        ("resources=NOPE:1", "1.39", None),
        ("resources=VCPU:1&limit=0", "1.39", None),
        ("resources=VCPU:1&limit=1", "1.15", None),
        ("resources=VCPU:1&required=HW_CPU_X86_VMX", "1.16", None),
        ("resources1=VCPU:1", "1.24", None),
        ("resources_a=VCPU:1", "1.32", None),
        ("required=HW_CPU_X86_VMX", "1.35", None),
        ("resources1=VCPU:1&resources2=VCPU:1", "1.39", None),
        ("resources1=VCPU:1&resources2=VCPU:1&group_policy=maybe", "1.39", None),
        ("resources=VCPU:1&required1=HW_CPU_X86_VMX", "1.39", None),
        ("resources=VCPU:1&required=HW_CPU_X86_VMX,!HW_CPU_X86_VMX", "1.39", None),
        (
            "resources=VCPU:1&root_required=HW_CPU_X86_VMX&root_required=X",
            "1.39",
            "placement.query.duplicate_key",
        ),
        ("resources=VCPU:1&root_required=in:HW_CPU_X86_VMX", "1.39", "placement.query.bad_value"),
        (
            "resources=VCPU:1&root_required=HW_CPU_X86_VMX,!HW_CPU_X86_VMX",
            "1.39",
            "placement.query.bad_value",
        ),
        ("resources=VCPU:1&same_subtree=_x", "1.39", "placement.query.bad_value"),
        ("resources=VCPU:1&same_subtree=", "1.39", "placement.query.bad_value"),
        ("resources=VCPU:1&in_tree=x", "1.39", None),
        ("resources=VCPU:1&bogus=1", "1.39", None),
    ],
)
def test_bad_queries(placement, tree, query, version, code):
    problem(placement.get(f"/allocation_candidates?{query}", version=version), 400, code)


def test_reshaper(placement, tree):
    root, child = tree
    placement.put(f"/allocations/{CONSUMER}", body(root, "1.39", 2))

    def inventory(provider, **totals):
        return {
            "resource_provider_generation": placement.generation(provider),
            "inventories": {name: {"total": total} for name, total in totals.items()},
        }

    moved = {
        "inventories": {
            root: inventory(root, MEMORY_MB=4096),
            child: inventory(child, SRIOV_NET_VF=4, VCPU=8),
        },
        "allocations": {CONSUMER: body(child, "1.39", 2, generation=1)},
    }
    problem(placement.call("POST", "/reshaper", moved), 403)
    problem(placement.call("POST", "/reshaper", moved, version="1.29", token="service"), 404)
    assert placement.call("POST", "/reshaper", moved, token="service").status_code == 204
    assert set(placement.get(f"/allocations/{CONSUMER}").json["allocations"]) == {child}
    problem(placement.call("POST", "/reshaper", moved, token="service"), 409, "placement.concurrent_update")
    unknown = {
        "inventories": {MISSING: {"resource_provider_generation": 0, "inventories": {}}},
        "allocations": {},
    }
    problem(
        placement.call("POST", "/reshaper", unknown, token="service"),
        400,
        "placement.resource_provider.not_found",
    )
    problem(placement.call("POST", "/reshaper", {"inventories": {}, "allocations": {}}, token="service"), 400)
