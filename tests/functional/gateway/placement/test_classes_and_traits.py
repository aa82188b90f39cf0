"""Resource classes, traits, and the traits and aggregates of a provider."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import AGGREGATE, MISSING, OTHER_AGGREGATE, problem

BAD_NAMES = [
    "GOLD",
    "custom_gold",
    "CUSTOM_gold",
    "CUSTOM_",
    "CUSTOM-GOLD",
    "CUSTOM_É",
    "CUSTOM_" + "A" * 249,
]


def class_names(placement, version="1.39"):
    shown = placement.get("/resource_classes", version=version).json["resource_classes"]
    for each in shown:
        assert each["links"] == [{"rel": "self", "href": f"/resource_classes/{each['name']}"}]
    return [each["name"] for each in shown]


def test_classes(placement):
    standard = class_names(placement, "1.2")
    assert len(standard) == len(set(standard)) >= 21
    assert {"VCPU", "MEMORY_MB", "DISK_GB", "PCPU", "VGPU", "SRIOV_NET_VF"} <= set(standard)
    for version in ("1.2", "1.39"):
        name = f"CUSTOM_{version.replace('.', '_')}"
        made = placement.call("POST", "/resource_classes", {"name": name}, version=version)
        assert (made.status_code, made.data) == (201, b"")
        assert made.headers["Location"] == f"http://localhost/resource_classes/{name}"
        problem(placement.call("POST", "/resource_classes", {"name": name}, version=version), 409)
        assert placement.get(f"/resource_classes/{name}", version=version).json["name"] == name
        assert placement.call("DELETE", f"/resource_classes/{name}", version=version).status_code == 204
        problem(placement.get(f"/resource_classes/{name}", version=version), 404)
        problem(placement.call("DELETE", f"/resource_classes/{name}", version=version), 404)
    problem(placement.get("/resource_classes", version="1.1"), 404)
    assert class_names(placement) == standard


def test_the_longest_names(placement):
    name = "CUSTOM_" + "A" * 248
    assert placement.put(f"/resource_classes/{name}").status_code == 201
    assert placement.put(f"/traits/{name}").status_code == 201
    assert placement.call("POST", "/resource_classes", {"name": name + "A"}).status_code == 400


def test_classes_were_renamed_until_1_6(placement):
    placement.put("/resource_classes/CUSTOM_A")
    host = placement.provider("a", {"CUSTOM_A": 4})

    def rename(name, new_name, version="1.6"):
        return placement.put(f"/resource_classes/{name}", {"name": new_name}, version=version)

    assert rename("CUSTOM_A", "CUSTOM_B", "1.2").json == {
        "name": "CUSTOM_B",
        "links": [{"rel": "self", "href": "/resource_classes/CUSTOM_B"}],
    }
    assert set(placement.get(f"/resource_providers/{host}/inventories").json["inventories"]) == {"CUSTOM_B"}
    assert len(placement.get("/allocation_candidates?resources=CUSTOM_B:4").json["allocation_requests"]) == 1
    placement.put("/resource_classes/CUSTOM_C")
    before = placement.state()
    problem(rename("CUSTOM_A", "CUSTOM_D"), 404)
    problem(rename("CUSTOM_B", "CUSTOM_C"), 409)
    problem(rename("VCPU", "CUSTOM_D"), 400)
    problem(rename("CUSTOM_B", "VCPU"), 400, None, "name")
    problem(placement.put("/resource_classes/CUSTOM_B", {}, version="1.6"), 400, None, "name")
    assert placement.state() == before


def test_classes_are_ensured_since_1_7(placement):
    for version in ("1.7", "1.39"):
        path = f"/resource_classes/CUSTOM_{version.replace('.', '_')}"
        for code in (201, 204):
            answer = placement.put(path, version=version)
            assert (answer.status_code, answer.data) == (code, b"")
            assert answer.headers["Location"] == f"http://localhost{path}"
            assert "last-modified" not in answer.headers
    problem(placement.put("/resource_classes/VCPU"), 400)


def test_classes_that_are_refused(placement):
    before = placement.state()
    for name in [*BAD_NAMES, "", None, 7, ["CUSTOM_A"], "CUSTOM_A\0"]:
        problem(placement.call("POST", "/resource_classes", {"name": name}), 400, None, "name")
    for body in ({}, {"name": "CUSTOM_A", "bogus": 1}):
        problem(placement.call("POST", "/resource_classes", body), 400)
    for name in BAD_NAMES:
        problem(placement.put(f"/resource_classes/{name}"), 400)
    problem(placement.call("DELETE", "/resource_classes/VCPU"), 400)
    problem(placement.call("DELETE", "/resource_classes/NOPE"), 404)
    assert placement.state() == before


def test_a_class_in_use_stays(placement):
    placement.put("/resource_classes/CUSTOM_A")
    host = placement.provider("a", {"CUSTOM_A": 4})
    problem(placement.call("DELETE", "/resource_classes/CUSTOM_A"), 409, "placement.undefined_code")
    assert placement.call("DELETE", f"/resource_providers/{host}/inventories").status_code == 204
    assert placement.call("DELETE", "/resource_classes/CUSTOM_A").status_code == 204
    body = {"resource_class": "CUSTOM_A", "total": 1}
    problem(placement.call("POST", f"/resource_providers/{host}/inventories", body), 400, None, "CUSTOM_A")


@pytest.mark.parametrize("version", ["1.6", "1.14", "1.15", "1.39"])
def test_traits(placement, version):
    for code in (201, 204):
        made = placement.put("/traits/CUSTOM_GOLD", version=version)
        assert (made.status_code, made.data) == (code, b"")
        assert made.headers["Location"] == "http://localhost/traits/CUSTOM_GOLD"
        assert ("last-modified" in made.headers) == (version in ("1.15", "1.39"))
    shown = placement.get("/traits/CUSTOM_GOLD", version=version)
    assert (shown.status_code, shown.data) == (204, b"")
    assert ("last-modified" in shown.headers) == (version in ("1.15", "1.39"))
    gone = placement.call("DELETE", "/traits/CUSTOM_GOLD", version=version)
    assert (gone.status_code, "last-modified" in gone.headers) == (204, False)
    problem(placement.get("/traits/CUSTOM_GOLD", version=version), 404)
    problem(placement.call("DELETE", "/traits/CUSTOM_GOLD", version=version), 404)


def test_traits_that_are_refused(placement):
    for name in BAD_NAMES:
        problem(placement.put(f"/traits/{name}"), 400)
    problem(placement.put("/traits/HW_CPU_X86_VMX"), 400)
    problem(placement.call("DELETE", "/traits/HW_CPU_X86_VMX"), 400)
    problem(placement.call("DELETE", "/traits/NOPE"), 404)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("name=startswith:CUSTOM_", {"CUSTOM_GOLD", "CUSTOM_SILVER", "CUSTOM__"}),
        ("name=startswith:CUSTOM__", {"CUSTOM__"}),
        ("name=startswith:CUSTOM%25", set()),
        ("name=startswith:custom", set()),
        ("name=in:CUSTOM_GOLD,HW_CPU_X86_VMX,NOPE", {"CUSTOM_GOLD", "HW_CPU_X86_VMX"}),
        ("name=in:", set()),
        ("name=in:NOPE", set()),
        ("associated=true", {"CUSTOM_GOLD", "HW_CPU_X86_VMX"}),
        ("associated=TRUE", {"CUSTOM_GOLD", "HW_CPU_X86_VMX"}),
        ("associated=true&name=startswith:CUSTOM_", {"CUSTOM_GOLD"}),
        ("associated=False&name=startswith:CUSTOM_", {"CUSTOM_SILVER", "CUSTOM__"}),
        ("associated=true&name=in:CUSTOM_SILVER", set()),
    ],
)
def test_lists_of_traits(placement, query, expected):
    for name in ("CUSTOM_GOLD", "CUSTOM_SILVER", "CUSTOM__"):
        placement.put(f"/traits/{name}")
    placement.set_traits(placement.provider("a"), "CUSTOM_GOLD", "HW_CPU_X86_VMX")
    for version in ("1.6", "1.39"):
        assert set(placement.get(f"/traits?{query}", version=version).json["traits"]) == expected


def test_lists_of_traits_that_are_not_narrowed(placement):
    everything = placement.get("/traits").json["traits"]
    assert len(everything) >= 377
    assert everything == sorted(set(everything))
    for query in ("name=contains:CUSTOM", "name=startswith:", "name=:"):
        assert placement.get(f"/traits?{query}").json["traits"] == everything
    for query, word in (("name=CUSTOM", "name"), ("name=", "name"), ("associated=maybe", "associated"),
                        ("associated=", "associated"), ("associated=1", "associated")):  # fmt: skip
        problem(placement.get(f"/traits?{query}"), 400, None, word)


def test_traits_of_a_provider(placement):
    placement.put("/traits/CUSTOM_GOLD")
    path = f"/resource_providers/{placement.provider('a')}/traits"

    def replace(generation, *traits, version="1.39"):
        body = {"traits": list(traits), "resource_provider_generation": generation}
        return placement.put(path, body, version=version)

    assert placement.get(path, version="1.6").json == {"traits": [], "resource_provider_generation": 0}
    both = {"traits": ["CUSTOM_GOLD", "HW_CPU_X86_VMX"], "resource_provider_generation": 1}
    assert replace(0, "HW_CPU_X86_VMX", "CUSTOM_GOLD", version="1.6").json == both
    assert replace(1, "CUSTOM_GOLD", "HW_CPU_X86_VMX", "CUSTOM_GOLD").json == both
    problem(replace(0, "CUSTOM_GOLD"), 409, "placement.concurrent_update")
    problem(placement.call("DELETE", "/traits/CUSTOM_GOLD"), 409, "placement.undefined_code")
    assert placement.get(path).json == both
    assert placement.call("DELETE", path, version="1.6").status_code == 204
    assert placement.get(path).json == {"traits": [], "resource_provider_generation": 2}
    assert placement.call("DELETE", path).status_code == 204
    assert placement.get(path).json["resource_provider_generation"] == 2
    assert placement.call("DELETE", "/traits/CUSTOM_GOLD").status_code == 204


@pytest.mark.parametrize(
    ("body", "code", "word"),
    [
        ({}, 400, "traits"),
        ({"traits": []}, 400, "resource_provider_generation"),
        ({"resource_provider_generation": 0}, 400, "traits"),
        ({"traits": "HW_CPU_X86_VMX", "resource_provider_generation": 0}, 400, "traits"),
        ({"traits": [7], "resource_provider_generation": 0}, 400, "traits"),
        ({"traits": [""], "resource_provider_generation": 0}, 400, "traits"),
        ({"traits": ["A" * 256], "resource_provider_generation": 0}, 400, "traits"),
        ({"traits": ["NOPE"], "resource_provider_generation": 0}, 400, "NOPE"),
        ({"traits": ["HW_CPU_X86_VMX\0"], "resource_provider_generation": 0}, 400, "HW_CPU"),
        ({"traits": ["HW_CPU_X86_VMX", "NOPE"], "resource_provider_generation": 0}, 400, "NOPE"),
        ({"traits": [], "resource_provider_generation": "0"}, 400, "resource_provider_generation"),
        ({"traits": [], "resource_provider_generation": None}, 400, "resource_provider_generation"),
        ({"traits": [], "resource_provider_generation": 0, "bogus": 1}, 400, "bogus"),
        ({"traits": [], "resource_provider_generation": 1}, 409, "generation"),
        ({"traits": [], "resource_provider_generation": -1}, 409, "generation"),
    ],
)
def test_traits_of_a_provider_that_are_refused(placement, body, code, word):
    host = placement.provider("a")
    before = placement.state()
    problem(placement.put(f"/resource_providers/{host}/traits", body), code, None, word)
    assert placement.state() == before


def test_aggregates_before_1_19(placement):
    path = f"/resource_providers/{placement.provider('a')}/aggregates"
    for version in ("1.1", "1.18"):
        assert placement.get(path, version=version).json["aggregates"] in ([], [AGGREGATE])
        assert placement.put(path, [AGGREGATE], version=version).json == {"aggregates": [AGGREGATE]}
        assert placement.get(path, version=version).json == {"aggregates": [AGGREGATE]}
    for body, word in (
        (["x"], "UUID"),
        ([AGGREGATE, AGGREGATE], "more than once"),
        ([7], "string"),
        ({}, "array"),
        ({"aggregates": [], "resource_provider_generation": 0}, "array"),
    ):
        problem(placement.put(path, body, version="1.18"), 400, None, word)
    assert placement.get(path).json == {"aggregates": [AGGREGATE], "resource_provider_generation": 0}
    assert placement.put(path, [], version="1.1").json == {"aggregates": []}
    problem(placement.get(path, version="1.0"), 404)
    problem(placement.put(path, [], version="1.0"), 404)


def test_aggregates_since_1_19(placement):
    path = f"/resource_providers/{placement.provider('a')}/aggregates"

    def replace(generation, *aggregates, version="1.39"):
        body = {"aggregates": list(aggregates), "resource_provider_generation": generation}
        return placement.put(path, body, version=version)

    assert replace(0, AGGREGATE, version="1.19").json == {
        "aggregates": [AGGREGATE],
        "resource_provider_generation": 1,
    }
    problem(replace(0, OTHER_AGGREGATE), 409, "placement.concurrent_update")
    both = replace(1, OTHER_AGGREGATE.replace("-", "").upper(), AGGREGATE).json
    assert both == {"aggregates": [AGGREGATE, OTHER_AGGREGATE], "resource_provider_generation": 2}
    assert placement.get(path, version="1.19").json == both
    assert replace(2).json == {"aggregates": [], "resource_provider_generation": 3}
    before = placement.state()
    for body, word in (
        ([], "object"),
        ({}, "aggregates"),
        ({"aggregates": []}, "resource_provider_generation"),
        ({"aggregates": ["x"], "resource_provider_generation": 3}, "aggregates"),
        ({"aggregates": AGGREGATE, "resource_provider_generation": 3}, "aggregates"),
        ({"aggregates": [AGGREGATE, AGGREGATE], "resource_provider_generation": 3}, "aggregates"),
        ({"aggregates": [], "resource_provider_generation": "3"}, "resource_provider_generation"),
        ({"aggregates": [], "resource_provider_generation": 3, "bogus": 1}, "bogus"),
    ):
        problem(placement.put(path, body), 400, None, word)
    assert placement.state() == before


@pytest.mark.parametrize("part", ["traits", "aggregates", "usages", "allocations"])
def test_of_a_provider_that_is_not_there(placement, part):
    path = f"/resource_providers/{MISSING}/{part}"
    problem(placement.get(path), 404, None, MISSING)
    if part in ("traits", "aggregates"):
        problem(placement.put(path, {part: [], "resource_provider_generation": 0}), 404, None, MISSING)
    if part == "traits":
        problem(placement.call("DELETE", path), 404, None, MISSING)
