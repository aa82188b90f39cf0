"""Resource providers: made, named, moved in their trees, listed by what they are and have."""

from __future__ import annotations

import uuid

import pytest

from tests.support.placement_cloud import AGGREGATE, CONSUMER, MISSING, OTHER_AGGREGATE, problem

PATH = "/resource_providers"


@pytest.mark.parametrize(
    ("version", "keys", "rels"),
    [
        ("1.0", set(), ["self", "inventories", "usages"]),
        ("1.1", set(), ["self", "inventories", "usages", "aggregates"]),
        ("1.6", set(), ["self", "inventories", "usages", "aggregates", "traits"]),
        ("1.11", set(), ["self", "inventories", "usages", "aggregates", "traits", "allocations"]),
        ("1.13", set(), ["self", "inventories", "usages", "aggregates", "traits", "allocations"]),
        (
            "1.14",
            {"parent_provider_uuid", "root_provider_uuid"},
            ["self", "inventories", "usages", "aggregates", "traits", "allocations"],
        ),
        (
            "1.39",
            {"parent_provider_uuid", "root_provider_uuid"},
            ["self", "inventories", "usages", "aggregates", "traits", "allocations"],
        ),
    ],
)
def test_what_is_shown(placement, version, keys, rels):
    made = placement.provider("a")
    shown = placement.get(f"{PATH}/{made}", version=version).json
    assert set(shown) == {"uuid", "name", "generation", "links"} | keys
    assert (shown["uuid"], shown["name"], shown["generation"]) == (made, "a", 0)
    assert [link["rel"] for link in shown["links"]] == rels
    for link in shown["links"]:
        tail = "" if link["rel"] == "self" else f"/{link['rel']}"
        assert link["href"] == f"{PATH}/{made}{tail}"
        assert placement.get(link["href"], version=version).status_code == 200
    if keys:
        assert (shown["parent_provider_uuid"], shown["root_provider_uuid"]) == (None, made)
    assert placement.get(PATH, version=version).json["resource_providers"] == [shown]


def test_create(placement):
    for version, code in (("1.0", 201), ("1.19", 201), ("1.20", 200), ("1.39", 200)):
        made = placement.call("POST", PATH, {"name": f"at {version}"}, version=version)
        assert made.status_code == code
        where = made.headers["Location"]
        assert where.startswith(f"http://localhost{PATH}/")
        found = placement.get(where.removeprefix("http://localhost"), version=version)
        assert found.json["name"] == f"at {version}"
        assert made.json == found.json if code == 200 else not made.data
        assert made.headers.get("last-modified") == (found.headers["last-modified"] if code == 200 else None)


def test_any_way_of_writing_a_uuid(placement):
    wanted = uuid.uuid4()
    body = {"name": "a", "uuid": wanted.hex.upper(), "parent_provider_uuid": placement.provider("p").upper()}
    assert placement.call("POST", PATH, body).json["uuid"] == str(wanted)
    for written in (str(wanted), str(wanted).upper(), wanted.hex):
        assert placement.get(f"{PATH}/{written}").json["name"] == "a"
        assert [each["uuid"] for each in found(placement, f"uuid={written}")] == [str(wanted)]
        assert len(found(placement, f"in_tree={written}")) == 2
    problem(placement.call("POST", PATH, {"name": "b", "uuid": wanted.hex}), 409, "placement.duplicate_name")


@pytest.mark.parametrize(
    ("body", "version", "word"),
    [
        ({}, "1.0", "name"),
        ({"uuid": MISSING}, "1.39", "name"),
        ({"name": None}, "1.39", "name"),
        ({"name": 7}, "1.39", "name"),
        ({"name": ""}, "1.39", "name"),
        ({"name": "x" * 201}, "1.39", "name"),
        ({"name": "a\0b"}, "1.39", "name"),
        ({"name": "a", "bogus": 1}, "1.39", "bogus"),
        ({"name": "a", "generation": 1}, "1.39", "generation"),
        ({"name": "a", "uuid": "x"}, "1.39", "uuid"),
        ({"name": "a", "uuid": ""}, "1.39", "uuid"),
        ({"name": "a", "uuid": None}, "1.39", "uuid"),
        ({"name": "a", "uuid": f"{{{MISSING}}}"}, "1.39", "uuid"),
        ({"name": "a", "uuid": f"urn:uuid:{MISSING}"}, "1.39", "uuid"),
        ({"name": "a", "parent_provider_uuid": MISSING}, "1.13", "parent_provider_uuid"),
        ({"name": "a", "parent_provider_uuid": "x"}, "1.14", "parent_provider_uuid"),
        ({"name": "a", "parent_provider_uuid": 1}, "1.39", "parent_provider_uuid"),
        ({"name": "a", "parent_provider_uuid": MISSING}, "1.39", MISSING),
        ({"name": "a", "uuid": MISSING, "parent_provider_uuid": MISSING}, "1.39", "parent"),
    ],
)
def test_creates_that_are_refused(placement, body, version, word):
    before = placement.state()
    problem(placement.call("POST", PATH, body, version=version), 400, None, word)
    assert placement.state() == before


def test_names_are_unique_and_as_long_as_told(placement):
    first = placement.provider("é" * 200)
    problem(placement.call("POST", PATH, {"name": "é" * 200}), 409, "placement.duplicate_name")
    problem(placement.call("POST", PATH, {"name": "b", "uuid": first}), 409, "placement.duplicate_name")
    other = placement.provider("b")
    problem(placement.put(f"{PATH}/{other}", {"name": "é" * 200}), 409, "placement.duplicate_name")
    assert placement.put(f"{PATH}/{other}", {"name": "b"}).status_code == 200
    assert [each["uuid"] for each in found(placement, "name=" + "%C3%A9" * 200)] == [first]


def test_update(placement):
    made = placement.provider("a")
    for version in ("1.0", "1.13", "1.14", "1.39"):
        shown = placement.put(f"{PATH}/{made}", {"name": version}, version=version)
        assert shown.json == placement.get(f"{PATH}/{made}", version=version).json
        assert (shown.json["name"], shown.json["generation"]) == (version, 0)
    problem(placement.put(f"{PATH}/{MISSING}", {"name": "b"}), 404)
    for body, word in (
        ({}, "name"),
        ({"name": "b", "uuid": made}, "uuid"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0"}, "name"),
        ({"name": "b", "parent_provider_uuid": "x"}, "parent_provider_uuid"),
    ):
        problem(placement.put(f"{PATH}/{made}", body), 400, None, word)
    problem(placement.put(f"{PATH}/{made}", {"name": "b", "parent_provider_uuid": None}, version="1.13"), 400)


def test_a_parent_is_given_once_until_1_36(placement):
    first, second, child = (placement.provider(name) for name in ("first", "second", "child"))
    path = f"{PATH}/{child}"

    def move(parent, version="1.36"):
        return placement.put(path, {"name": "child", "parent_provider_uuid": parent}, version=version)

    assert move(None).json["root_provider_uuid"] == child
    assert move(first, "1.14").json["root_provider_uuid"] == first
    assert move(first).status_code == 200
    assert placement.put(path, {"name": "child"}, version="1.36").json["parent_provider_uuid"] == first
    problem(move(second), 400, "placement.undefined_code")
    problem(move(None), 400, "placement.undefined_code")
    assert placement.get(path).json["parent_provider_uuid"] == first
    assert move(second, "1.37").json["root_provider_uuid"] == second
    assert move(None, "1.37").json["parent_provider_uuid"] is None


def test_moves_since_1_37(placement):
    root = placement.provider("root")
    middle = placement.provider("middle", parent_provider_uuid=root)
    leaf = placement.provider("leaf", parent_provider_uuid=middle)
    other = placement.provider("other")

    def move(which, parent):
        body = {"name": uuid.uuid4().hex, "parent_provider_uuid": parent}
        return placement.put(f"{PATH}/{which}", body)

    def roots():
        return [placement.get(f"{PATH}/{each}").json["root_provider_uuid"] for each in (root, middle, leaf)]

    before = placement.state()
    for which, parent in ((root, leaf), (root, root), (middle, leaf), (root, middle)):
        problem(move(which, parent), 400, "placement.undefined_code")
    problem(move(middle, MISSING), 400, None, MISSING)
    assert placement.state() == before
    assert roots() == [root, root, root]
    assert move(middle, other).status_code == 200
    assert roots() == [root, other, other]
    assert move(middle, None).status_code == 200
    assert roots() == [root, middle, middle]
    assert move(root, leaf).status_code == 200
    assert roots() == [middle, middle, middle]
    assert placement.generation(leaf) == 0


def test_delete(placement):
    root = placement.provider("root", {"VCPU": 4})
    leaf = placement.provider("leaf", {"VCPU": 4}, parent_provider_uuid=root)
    placement.set_traits(leaf, "HW_CPU_X86_VMX")
    placement.set_aggregates(leaf, AGGREGATE)
    placement.hold(CONSUMER, {leaf: {"VCPU": 1}})
    parent = "placement.resource_provider.cannot_delete_parent"
    problem(placement.call("DELETE", f"{PATH}/{root}"), 409, parent)
    problem(placement.call("DELETE", f"{PATH}/{leaf}"), 409, "placement.resource_provider.inuse")
    assert placement.call("DELETE", f"/allocations/{CONSUMER}").status_code == 204
    for each in (leaf, root):
        assert placement.call("DELETE", f"{PATH}/{each}", version="1.0").status_code == 204
        problem(placement.call("DELETE", f"{PATH}/{each}"), 404)
        problem(placement.get(f"{PATH}/{each}"), 404)
        problem(placement.get(f"{PATH}/{each}/inventories"), 404)


def found(placement, query, version="1.39"):
    answer = placement.get(f"{PATH}?{query}", version=version)
    assert answer.status_code == 200, answer.json
    return answer.json["resource_providers"]


@pytest.fixture
def three(placement):
    """A host with a child below it, and one that is nearly full."""
    one = placement.provider("one", {"VCPU": 8, "MEMORY_MB": 1024})
    child = placement.provider("child", {"SRIOV_NET_VF": 4}, parent_provider_uuid=one)
    two = placement.provider("two", {"VCPU": 8})
    placement.set_traits(one, "HW_CPU_X86_VMX", "HW_CPU_X86_AVX")
    placement.set_traits(two, "HW_CPU_X86_AVX")
    placement.set_aggregates(one, AGGREGATE)
    placement.set_aggregates(two, AGGREGATE, OTHER_AGGREGATE)
    placement.hold(CONSUMER, {two: {"VCPU": 6}})
    return {"one": one, "two": two, "child": child}


EVERYONE = {"one", "two", "child"}


@pytest.mark.parametrize(
    ("query", "first", "names"),
    [
        ("", "1.0", EVERYONE),
        ("name=one", "1.0", {"one"}),
        ("name=none", "1.0", set()),
        ("name=ONE", "1.0", set()),
        ("uuid={two}", "1.0", {"two"}),
        (f"uuid={MISSING}", "1.0", set()),
        ("name=one&uuid={two}", "1.0", set()),
        (f"member_of={AGGREGATE}", "1.3", {"one", "two"}),
        (f"member_of={AGGREGATE.replace('-', '')}", "1.3", {"one", "two"}),
        (f"member_of=in:{OTHER_AGGREGATE},{MISSING}", "1.3", {"two"}),
        (f"member_of={MISSING}", "1.3", set()),
        (f"member_of={AGGREGATE}&member_of={OTHER_AGGREGATE}", "1.24", {"two"}),
        (f"member_of=!{OTHER_AGGREGATE}", "1.32", {"one", "child"}),
        (f"member_of=!in:{AGGREGATE},{OTHER_AGGREGATE}", "1.32", {"child"}),
        (f"member_of={AGGREGATE}&member_of=!{OTHER_AGGREGATE}", "1.32", {"one"}),
        ("resources=VCPU:2", "1.4", {"one", "two"}),
        ("resources=VCPU:3", "1.4", {"one"}),
        ("resources=VCPU:9", "1.4", set()),
        ("resources=VCPU:1,MEMORY_MB:1024", "1.4", {"one"}),
        ("resources=VCPU:1,SRIOV_NET_VF:1", "1.4", set()),
        ("resources=VCPU:8,VCPU:1", "1.4", {"one", "two"}),
        ("resources=VCPU:8&resources=SRIOV_NET_VF:1", "1.4", {"child"}),
        ("resources=VCPU:2147483648", "1.4", set()),
        ("resources=VCPU:" + "9" * 60, "1.4", set()),
        ("resources=DISK_GB:1", "1.4", set()),
        ("in_tree={child}", "1.14", {"one", "child"}),
        ("in_tree={one}", "1.14", {"one", "child"}),
        (f"in_tree={MISSING}", "1.14", set()),
        ("in_tree={one}&resources=VCPU:1", "1.14", {"one"}),
        ("required=HW_CPU_X86_AVX", "1.18", {"one", "two"}),
        ("required=HW_CPU_X86_AVX,HW_CPU_X86_VMX", "1.18", {"one"}),
        ("required=%20HW_CPU_X86_AVX%20,%20HW_CPU_X86_VMX", "1.18", {"one"}),
        ("required=HW_CPU_X86_SSE", "1.18", set()),
        ("required=!HW_CPU_X86_VMX", "1.22", {"two", "child"}),
        ("required=!!!HW_CPU_X86_VMX", "1.22", {"two", "child"}),
        ("required=HW_CPU_X86_AVX,!HW_CPU_X86_VMX", "1.22", {"two"}),
        ("required=HW_CPU_X86_VMX,!HW_CPU_X86_VMX", "1.22", set()),
        ("required=in:HW_CPU_X86_VMX,HW_CPU_X86_SSE", "1.39", {"one"}),
        ("required=in:HW_CPU_X86_VMX,HW_CPU_X86_AVX&required=!HW_CPU_X86_VMX", "1.39", {"two"}),
        ("required=HW_CPU_X86_AVX&required=HW_CPU_X86_VMX", "1.39", {"one"}),
        (f"required=HW_CPU_X86_AVX&member_of={AGGREGATE}&resources=VCPU:4&in_tree={{one}}", "1.18", {"one"}),
    ],
)
def test_lists(placement, three, query, first, names):
    query = query.format(**three)
    for version in {first, "1.39"}:
        if version == "1.39" and query.count("&required") and first != "1.39":
            continue
        assert {each["name"] for each in found(placement, query, version)} == names
    later = {"member_of": "1.2", "resources": "1.3", "in_tree": "1.13", "required": "1.17"}
    for parameter, version in later.items():
        if parameter in query:
            problem(placement.get(f"{PATH}?{query}", version=version), 400)


def test_only_the_last_of_several_required_counts_before_1_39(placement, three):
    query = "required=HW_CPU_X86_VMX&required=HW_CPU_X86_AVX"
    assert {each["name"] for each in found(placement, query, "1.38")} == {"one", "two"}


@pytest.mark.parametrize(
    ("query", "version", "word"),
    [
        ("uuid=x", "1.0", "uuid"),
        ("uuid=", "1.39", "uuid"),
        ("member_of=", "1.3", "member_of"),
        ("member_of=x", "1.39", "member_of"),
        ("member_of=in:", "1.39", "member_of"),
        (f"member_of={AGGREGATE},{MISSING}", "1.39", "member_of"),
        (f"member_of=in:{AGGREGATE},x", "1.39", "member_of"),
        (f"member_of=in:{AGGREGATE},!{MISSING}", "1.39", "member_of"),
        (f"member_of=!{AGGREGATE}", "1.31", "member_of"),
        (f"member_of=!in:{AGGREGATE}", "1.31", "member_of"),
        (f"member_of={AGGREGATE}&member_of={MISSING}", "1.23", "member_of"),
        ("resources=", "1.39", "resources"),
        ("resources=VCPU", "1.39", "resources"),
        ("resources=VCPU:", "1.39", "resources"),
        ("resources=:1", "1.39", "resources"),
        ("resources=VCPU:0", "1.39", "resources"),
        ("resources=VCPU:-1", "1.39", "resources"),
        ("resources=VCPU:x", "1.39", "resources"),
        ("resources=VCPU:1.5", "1.39", "resources"),
        ("resources=VCPU:1,", "1.39", "resources"),
        ("resources=VCPU=1", "1.39", "resources"),
        ("resources=NOPE:1", "1.39", "NOPE"),
        ("resources=" + "N" * 20000 + ":1", "1.39", "NNN"),
        ("in_tree=x", "1.39", "in_tree"),
        ("in_tree=", "1.14", "in_tree"),
        ("required=", "1.39", "required"),
        ("required=,", "1.39", "required"),
        ("required=HW_CPU_X86_AVX,", "1.39", "required"),
        ("required=!", "1.39", "required"),
        ("required=NO_SUCH", "1.18", "NO_SUCH"),
        ("required=!NO_SUCH", "1.22", "NO_SUCH"),
        ("required=in:NO_SUCH", "1.39", "NO_SUCH"),
        ("required=!HW_CPU_X86_AVX", "1.21", "required"),
        ("required=in:HW_CPU_X86_AVX", "1.38", "required"),
        ("required=in:", "1.39", "required"),
        ("required=in:HW_CPU_X86_AVX,!HW_CPU_X86_VMX", "1.39", "required"),
        ("required=" + "T" * 20000, "1.39", "TTT"),
    ],
)
def test_lists_that_are_refused(placement, query, version, word):
    problem(placement.get(f"{PATH}?{query}", version=version), 400, None, word)


def test_the_newest_change_is_told(placement):
    made = placement.provider("a")
    stamp = placement.get(f"{PATH}/{made}", version="1.15").headers["last-modified"]
    assert stamp.endswith("GMT")
    assert placement.get(PATH, version="1.15").headers["last-modified"] == stamp
    assert "last-modified" not in placement.get(f"{PATH}/{made}", version="1.14").headers
