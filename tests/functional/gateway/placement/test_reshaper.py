"""The reshaper: inventories and allocations of many move in one go, or not at all."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import CONSUMER, MISSING, OTHER, claim, problem


@pytest.fixture
def tree(placement):
    """A host whose GPUs and their users are to move to a child."""
    root = placement.provider("root", {"VCPU": 8, "VGPU": 2})
    child = placement.provider("child", parent_provider_uuid=root)
    placement.hold(CONSUMER, {root: {"VCPU": 2, "VGPU": 1}})
    return root, child


def shape(placement, provider, **totals):
    return {
        "resource_provider_generation": placement.generation(provider),
        "inventories": {name: {"total": total} for name, total in totals.items()},
    }


def reshape(placement, body, **rest):
    return placement.call("POST", "/reshaper", body, **{"token": "service", **rest})


@pytest.mark.parametrize("version", ["1.30", "1.33", "1.34", "1.38", "1.39"])
def test_a_move(placement, tree, version):
    root, child = tree
    moved = claim({root: {"VCPU": 2}, child: {"VGPU": 1}}, version, generation=1)
    if version in ("1.34", "1.38", "1.39"):
        moved["mappings"] = {"": [root], "_gpu": [child]}
    body = {
        "inventories": {
            root: shape(placement, root, VCPU=8, DISK_GB=10),
            child: shape(placement, child, VGPU=2),
        },
        "allocations": {CONSUMER: moved},
    }
    generations = placement.generation(root), placement.generation(child)
    answer = reshape(placement, body, version=version)
    assert (answer.status_code, answer.data) == (204, b"")
    held = placement.get(f"/allocations/{CONSUMER}").json
    assert {each: part["resources"] for each, part in held["allocations"].items()} == {
        root: {"VCPU": 2},
        child: {"VGPU": 1},
    }
    assert held["consumer_generation"] == 2
    inventories = placement.get(f"/resource_providers/{root}/inventories").json["inventories"]
    assert set(inventories) == {"VCPU", "DISK_GB"}
    assert placement.generation(root) > generations[0]
    assert placement.generation(child) > generations[1]
    problem(reshape(placement, body, version=version), 409, "placement.concurrent_update")


def test_inventories_alone(placement, tree):
    root, child = tree
    body = {"inventories": {child: shape(placement, child, DISK_GB=5)}, "allocations": {}}
    generation = placement.generation(root)
    assert reshape(placement, body).status_code == 204
    assert placement.generation(child) == 1
    assert placement.generation(root) == generation


def test_reservations_are_not_looked_at(placement, tree):
    _, child = tree
    full = {"resource_provider_generation": 0, "inventories": {"DISK_GB": {"total": 5, "reserved": 6}}}
    assert reshape(placement, {"inventories": {child: full}, "allocations": {}}).status_code == 204


def test_when(placement, tree):
    _, child = tree
    body = {"inventories": {child: shape(placement, child, DISK_GB=5)}, "allocations": {}}
    problem(reshape(placement, body, version="1.29"), 404)
    problem(reshape(placement, body, token="admin"), 403)
    problem(reshape(placement, body, token="member"), 403)


@pytest.mark.parametrize(
    ("change", "code", "name", "word"),
    [
        ({"inventories": {}}, 400, None, "inventories"),
        ({"inventories": None}, 400, None, "inventories"),
        ({"allocations": None}, 400, None, "allocations"),
        ({"allocations": {"x": {}}}, 400, None, "'x'"),
        ({"bogus": 1}, 400, None, "bogus"),
        ({"inventories": {"x": {"resource_provider_generation": 0, "inventories": {}}}}, 400, None, "'x'"),
        ({"inventories": {MISSING: {"inventories": {}}}}, 400, None, "resource_provider_generation"),
        ({"inventories": {MISSING: {"resource_provider_generation": 0}}}, 400, None, "inventories"),
        (
            {"inventories": {MISSING: {"resource_provider_generation": 0, "inventories": {}}}},
            400,
            "placement.resource_provider.not_found",
            MISSING,
        ),
        (
            {
                "inventories": {
                    "CHILD": {"resource_provider_generation": 0, "inventories": {"NOPE": {"total": 1}}}
                }
            },
            400,
            "placement.undefined_code",
            "NOPE",
        ),
        (
            {
                "inventories": {
                    "CHILD": {"resource_provider_generation": 0, "inventories": {"VGPU": {"total": 0}}}
                }
            },
            400,
            "placement.undefined_code",
            "total",
        ),
        (
            {"inventories": {"CHILD": {"resource_provider_generation": 9, "inventories": {}}}},
            409,
            "placement.concurrent_update",
            "generation",
        ),
        (
            {
                "inventories": {
                    "ROOT": {"resource_provider_generation": 2, "inventories": {"VCPU": {"total": 8}}}
                }
            },
            409,
            "placement.inventory.inuse",
            "VGPU",
        ),
        (
            {"allocations": {OTHER: claim({MISSING: {"VCPU": 1}})}},
            400,
            "placement.undefined_code",
            MISSING,
        ),
        ({"allocations": {OTHER: claim({"CHILD": {"NOPE": 1}})}}, 400, "placement.undefined_code", "NOPE"),
        ({"allocations": {OTHER: claim({"CHILD": {"VGPU": 3}})}}, 409, "placement.undefined_code", "VGPU"),
        (
            {"allocations": {OTHER: claim({"CHILD": {"DISK_GB": 3}})}},
            409,
            "placement.undefined_code",
            "DISK_GB",
        ),
        (
            {"allocations": {OTHER: claim({"CHILD": {"VGPU": 1}}, generation=3)}},
            409,
            "placement.concurrent_update",
            OTHER,
        ),
    ],
)
def test_what_is_refused(placement, tree, change, code, name, word):
    root, child = tree
    names = {"ROOT": root, "CHILD": child}
    body = {"inventories": {child: shape(placement, child, VGPU=2)}, "allocations": {}} | change
    if body["inventories"]:
        body["inventories"] = {names.get(each, each): rest for each, rest in body["inventories"].items()}
    for each in (body["allocations"] or {}).values():
        if each:
            held = {names.get(uuid, uuid): part for uuid, part in each["allocations"].items()}
            each["allocations"] = held
    before = placement.state()
    problem(reshape(placement, body), code, name, word)
    assert placement.state() == before


def test_a_provider_named_twice(placement):
    provider = placement.provider("a", uuid="abcdefab-cdef-abcd-efab-cdefabcdefab")
    one = shape(placement, provider, VGPU=2)
    body = {"inventories": {provider: one, provider.upper(): one}, "allocations": {}}
    problem(reshape(placement, body), 400, None, provider, "twice")
