"""Queries for allocation candidates that are refused, and why."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import AGGREGATE, MISSING, problem

AVX, SSE = "HW_CPU_X86_AVX", "HW_CPU_X86_SSE"
UNDEFINED = "placement.undefined_code"
BAD, MISSING_VALUE = "placement.query.bad_value", "placement.query.missing_value"
TWO = "resources1=VCPU:1&resources2=VCPU:1"


@pytest.mark.parametrize(
    ("query", "version", "code", "word"),
    [
        # Nothing asked for.
        ("", "1.10", None, "resources"),
        ("", "1.35", UNDEFINED, "resources"),
        ("", "1.36", MISSING_VALUE, "resources"),
        ("limit=1", "1.39", MISSING_VALUE, "resources"),
        # Resources.
        ("resources=", "1.10", None, "resources"),
        ("resources=VCPU", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:", "1.39", UNDEFINED, "resources"),
        ("resources=:1", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:0", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:-5", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:1.5", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:1,,MEMORY_MB:1", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:1:2", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:%D9%A3", "1.39", UNDEFINED, "resources"),
        ("resources=NOPE:1", "1.39", UNDEFINED, "NOPE"),
        ("resources=vcpu:1", "1.39", UNDEFINED, "vcpu"),
        ("resources_X=VCPU", "1.39", UNDEFINED, "resources_X"),
        # Limits and policies.
        ("resources=VCPU:1&limit=0", "1.39", UNDEFINED, "limit"),
        ("resources=VCPU:1&limit=-1", "1.39", UNDEFINED, "limit"),
        ("resources=VCPU:1&limit=01", "1.39", UNDEFINED, "limit"),
        ("resources=VCPU:1&limit=x", "1.16", None, "limit"),
        ("resources=VCPU:1&limit=", "1.39", UNDEFINED, "limit"),
        ("resources=VCPU:1&limit=" + "9" * 1000, "1.39", UNDEFINED, "limit"),
        (TWO, "1.25", UNDEFINED, "group_policy"),
        (TWO, "1.39", UNDEFINED, "group_policy"),
        (f"{TWO}&group_policy=", "1.39", UNDEFINED, "group_policy"),
        (f"{TWO}&group_policy=maybe", "1.39", UNDEFINED, "group_policy"),
        (f"resources1=VCPU:1&required2={AVX}&same_subtree=1,2", "1.39", UNDEFINED, "group_policy"),
        # Traits.
        ("resources=VCPU:1&required=", "1.39", UNDEFINED, "required"),
        ("resources=VCPU:1&required=,", "1.39", UNDEFINED, "required"),
        (f"resources=VCPU:1&required={AVX},,{SSE}", "1.39", UNDEFINED, "required"),
        ("resources=VCPU:1&required=NOPE", "1.17", None, "NOPE"),
        ("resources=VCPU:1&required=!NOPE", "1.39", UNDEFINED, "NOPE"),
        ("resources=VCPU:1&required=in:NOPE", "1.39", UNDEFINED, "NOPE"),
        ("resources1=VCPU:1&required1=NOPE", "1.39", UNDEFINED, "NOPE"),
        ("resources=VCPU:1&required=in:", "1.39", UNDEFINED, "required"),
        (f"resources=VCPU:1&required=in:{AVX},!{SSE}", "1.39", UNDEFINED, "required"),
        (f"resources=VCPU:1&required=!in:{AVX}", "1.39", UNDEFINED, "in:"),
        (f"resources=VCPU:1&required={AVX},!{AVX}", "1.22", None, AVX),
        (f"resources=VCPU:1&required={AVX}&required=!{AVX}", "1.39", UNDEFINED, AVX),
        (f"resources1=VCPU:1&required1={AVX},!{AVX}", "1.39", UNDEFINED, "required1"),
        # Aggregates.
        ("resources=VCPU:1&member_of=", "1.39", UNDEFINED, "member_of"),
        ("resources=VCPU:1&member_of=x", "1.21", None, "member_of"),
        ("resources=VCPU:1&member_of=in:", "1.39", UNDEFINED, "member_of"),
        ("resources=VCPU:1&member_of=!", "1.39", UNDEFINED, "member_of"),
        (f"resources=VCPU:1&member_of={AGGREGATE},{MISSING}", "1.39", UNDEFINED, "member_of"),
        (f"resources=VCPU:1&member_of=in:{AGGREGATE},!{MISSING}", "1.39", UNDEFINED, "member_of"),
        (f"resources=VCPU:1&member_of=!!{AGGREGATE}", "1.39", UNDEFINED, "member_of"),
        (f"resources=VCPU:1&member_of=!{AGGREGATE}", "1.31", UNDEFINED, "member_of"),
        (f"resources=VCPU:1&member_of={AGGREGATE}&member_of={MISSING}", "1.23", UNDEFINED, "member_of"),
        ("resources1=VCPU:1&member_of1=x", "1.39", UNDEFINED, "member_of1"),
        # Trees.
        ("resources=VCPU:1&in_tree=", "1.39", UNDEFINED, "in_tree"),
        ("resources=VCPU:1&in_tree=x", "1.31", UNDEFINED, "in_tree"),
        ("resources1=VCPU:1&in_tree1=x", "1.39", UNDEFINED, "in_tree1"),
        # Suffixes.
        ("resources0=VCPU:1", "1.32", UNDEFINED, "resources0"),
        ("resources01=VCPU:1", "1.32", UNDEFINED, "resources01"),
        ("resources_a=VCPU:1", "1.32", UNDEFINED, "resources_a"),
        ("resources" + "x" * 65 + "=VCPU:1", "1.39", UNDEFINED, "xxx"),
        ("resources.a=VCPU:1", "1.39", UNDEFINED, "resources.a"),
        ("resources%C3%A9=VCPU:1", "1.39", UNDEFINED, "resources"),
        ("resources=VCPU:1&bogus1=x", "1.39", UNDEFINED, "bogus1"),
        # Groups without resources.
        (f"required={AVX}", "1.35", UNDEFINED, "resources"),
        (f"required={AVX}", "1.36", UNDEFINED, "resources"),
        (f"resources1=VCPU:1&required={AVX}", "1.39", UNDEFINED, "resources"),
        (f"resources=VCPU:1&required1={AVX}", "1.25", UNDEFINED, "resources1"),
        (f"resources=VCPU:1&required1={AVX}", "1.39", UNDEFINED, "resources1"),
        (f"resources=VCPU:1&member_of1={AGGREGATE}", "1.39", UNDEFINED, "resources1"),
        (f"resources=VCPU:1&in_tree1={MISSING}", "1.39", UNDEFINED, "resources1"),
        (f"required1={AVX}&required2={AVX}&same_subtree=1,2&group_policy=none", "1.39", MISSING_VALUE, "resources"),
        # Roots and subtrees.
        (f"resources=VCPU:1&root_required={AVX}&root_required={SSE}", "1.39", "placement.query.duplicate_key",
         "root_required"),
        ("resources=VCPU:1&root_required=", "1.39", BAD, "root_required"),
        ("resources=VCPU:1&root_required=!", "1.39", BAD, "root_required"),
        (f"resources=VCPU:1&root_required={AVX},", "1.39", BAD, "root_required"),
        (f"resources=VCPU:1&root_required=in:{AVX}", "1.39", BAD, "root_required"),
        (f"resources=VCPU:1&root_required={AVX},!{AVX}", "1.35", BAD, "root_required"),
        ("resources=VCPU:1&root_required=NOPE", "1.39", UNDEFINED, "NOPE"),
        ("resources=VCPU:1&same_subtree=", "1.36", BAD, "same_subtree"),
        ("resources=VCPU:1&same_subtree=,", "1.39", BAD, "same_subtree"),
        ("resources1=VCPU:1&same_subtree=1,", "1.39", BAD, "same_subtree"),
        ("resources1=VCPU:1&same_subtree=2", "1.39", BAD, "same_subtree"),
        ("resources1=VCPU:1&same_subtree=1&same_subtree=_x", "1.39", BAD, "_x"),
    ],
)  # fmt: skip
def test_refused(placement, query, version, code, word):
    problem(placement.get(f"/allocation_candidates?{query}", version=version), 400, code, word)


def groups(number, **rest):
    asked = "&".join(f"resources{each}=VCPU:1" for each in range(1, number + 1))
    return f"/allocation_candidates?{asked}&group_policy=" + rest.get("policy", "none") + rest.get("more", "")


def test_a_hundred_groups(placement):
    tree = placement.provider("tree", {"VCPU": 4})
    for name in "abc":
        placement.provider(name, {"VCPU": 50}, parent_provider_uuid=tree)
    placement.provider("alone", {"VCPU": 100})
    found = placement.get(groups(100, more="&limit=5")).json["allocation_requests"]
    assert len(found) == 5
    assert all(len(each["mappings"]) == 100 for each in found)
    assert placement.get(groups(100, policy="isolate")).json["allocation_requests"] == []


def test_what_cannot_be_is_known_without_trying_every_way(placement):
    tree = placement.provider("tree", {"VCPU": 60})
    for name in "abcd":
        placement.provider(name, {"VCPU": 60}, parent_provider_uuid=tree)
    # Each group but one fits everywhere; that one alone is what all of 5 ** 60 ways lack.
    placement.set_traits(tree, AVX)
    placement.provider("leaf", {"DISK_GB": 1}, parent_provider_uuid=tree)
    named = ",".join(map(str, range(1, 61)))
    more = f"&resources=DISK_GB:1&required={SSE}&same_subtree={named}"
    assert placement.get(groups(60, more=more)).json["allocation_requests"] == []


def test_more_groups_than_anybody_has(placement):
    problem(placement.get(groups(129)), 400, UNDEFINED, "128")
    problem(placement.get(groups(900)), 400, UNDEFINED, "128")
