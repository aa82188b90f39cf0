"""Allocation candidates: what matches a query in each feature of its grammar, and the form of the answer."""

from __future__ import annotations

import pytest

from tests.support.placement_cloud import AGGREGATE, CONSUMER, MISSING, OTHER_AGGREGATE, PlacementCloud, minor

VMX, AVX, SSE, VULKAN = "HW_CPU_X86_VMX", "HW_CPU_X86_AVX", "HW_CPU_X86_SSE", "HW_GPU_API_VULKAN"


class Region:
    """A host with two NUMA cells, one of which has a network card; a plain host; disk that both share."""

    def __init__(self, placement: PlacementCloud) -> None:
        self.placement = placement
        make = placement.provider
        self.host = make("host", {"MEMORY_MB": 4096})
        self.numa0 = make("numa0", {"VCPU": 8}, parent_provider_uuid=self.host)
        self.numa1 = make("numa1", {"VCPU": 4}, parent_provider_uuid=self.host)
        self.card = make("card", {"SRIOV_NET_VF": 4}, parent_provider_uuid=self.numa1)
        self.plain = make("plain", {"VCPU": 8, "MEMORY_MB": 4096})
        self.disk = make("disk", {"DISK_GB": 100})
        placement.set_traits(self.host, VMX, AVX)
        placement.set_traits(self.numa0, SSE)
        placement.set_traits(self.card, VULKAN)
        placement.set_traits(self.plain, AVX)
        placement.set_traits(self.disk, "MISC_SHARES_VIA_AGGREGATE")
        placement.set_aggregates(self.host, AGGREGATE)
        placement.set_aggregates(self.plain, AGGREGATE, OTHER_AGGREGATE)
        placement.set_aggregates(self.disk, AGGREGATE)
        self.names = {value: name for name, value in vars(self).items() if isinstance(value, str)}

    def ask(self, query, version="1.39"):
        answer = self.placement.get(f"/allocation_candidates?{query.format(**vars(self))}", version=version)
        assert answer.status_code == 200, answer.json
        return answer.json

    def found(self, query, version="1.39"):
        """Each candidate as "provider:CLASS=amount …"."""
        return sorted(
            " ".join(
                sorted(
                    f"{self.names[provider]}:{name}={amount}"
                    for provider, held in candidate["allocations"].items()
                    for name, amount in held["resources"].items()
                )
            )
            for candidate in self.ask(query, version)["allocation_requests"]
        )


@pytest.fixture(scope="module")
def region(running_placement):
    yield Region(running_placement)
    running_placement.empty()


CPU_AND_CARD = "resources=MEMORY_MB:1&resources_C=VCPU:1&resources_N=SRIOV_NET_VF:1&group_policy="
ROOM = ["numa0:VCPU=1", "numa1:VCPU=1", "plain:VCPU=1"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # The group without a suffix: amounts, classes from several providers of a tree, and shared ones.
        ("resources=VCPU:1", ROOM),
        ("resources=VCPU:5", ["numa0:VCPU=5", "plain:VCPU=5"]),
        ("resources=VCPU:9", []),
        ("resources=VCPU:2147483648", []),
        ("resources=VCPU:" + "9" * 50, []),
        ("resources=VCPU:9,VCPU:8", ["numa0:VCPU=8", "plain:VCPU=8"]),
        ("resources=VCPU:9&resources=VCPU:8", ["numa0:VCPU=8", "plain:VCPU=8"]),
        ("resources=PGPU:1", []),
        (
            "resources=VCPU:8,MEMORY_MB:1",
            ["host:MEMORY_MB=1 numa0:VCPU=8", "plain:MEMORY_MB=1 plain:VCPU=8"],
        ),
        (
            "resources=VCPU:8,DISK_GB:7",
            ["disk:DISK_GB=7 numa0:VCPU=8", "disk:DISK_GB=7 plain:VCPU=8"],
        ),
        ("resources=DISK_GB:7", ["disk:DISK_GB=7"]),
        # Traits: on any that serve; forbidden ones on none.
        (f"resources=VCPU:1&required={AVX}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&required={SSE}", ["numa0:VCPU=1"]),
        (f"resources=VCPU:1,MEMORY_MB:1&required={SSE},{VMX}", ["host:MEMORY_MB=1 numa0:VCPU=1"]),
        (f"resources=VCPU:1&required=!{SSE}", ["numa1:VCPU=1", "plain:VCPU=1"]),
        (f"resources=VCPU:1&required=!{SSE},!{AVX}", ["numa1:VCPU=1"]),
        (f"resources=VCPU:1&required={AVX},!{SSE}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&required=in:{AVX},{SSE}", ["numa0:VCPU=1", "plain:VCPU=1"]),
        (f"resources=VCPU:1&required=in:{AVX},{SSE}&required=!{AVX}", ["numa0:VCPU=1"]),
        (f"resources=VCPU:1&required={AVX}&required={SSE}", []),
        (f"resources=VCPU:1&required=in:{AVX}&required=in:{SSE},{VMX}", []),
        # Aggregates: of the provider, or of the root of its tree.
        (f"resources=VCPU:1&member_of={AGGREGATE}", ROOM),
        (f"resources=VCPU:1&member_of={OTHER_AGGREGATE}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&member_of=in:{OTHER_AGGREGATE},{MISSING}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&member_of={AGGREGATE}&member_of={OTHER_AGGREGATE}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&member_of={MISSING}", []),
        (f"resources=VCPU:1&member_of=!{OTHER_AGGREGATE}", ["numa0:VCPU=1", "numa1:VCPU=1"]),
        (f"resources=VCPU:1&member_of=!in:{AGGREGATE},{MISSING}", []),
        (f"resources=VCPU:1&member_of={AGGREGATE}&member_of=!{OTHER_AGGREGATE}", ROOM[:2]),
        (f"resources_C=VCPU:1&member_of_C={AGGREGATE}", ["plain:VCPU=1"]),
        (f"resources_C=VCPU:1&member_of_C=!{AGGREGATE}", ["numa0:VCPU=1", "numa1:VCPU=1"]),
        # Trees.
        ("resources=VCPU:1&in_tree={host}", ["numa0:VCPU=1", "numa1:VCPU=1"]),
        ("resources=VCPU:1&in_tree={card}", ["numa0:VCPU=1", "numa1:VCPU=1"]),
        (f"resources=VCPU:1&in_tree={MISSING}", []),
        ("resources=VCPU:8,DISK_GB:1&in_tree={plain}", []),
        (
            "resources=DISK_GB:1&resources_C=VCPU:8&in_tree_C={plain}",
            ["disk:DISK_GB=1 plain:VCPU=8"],
        ),
        (f"resources=VCPU:1&root_required={VMX}", ["numa0:VCPU=1", "numa1:VCPU=1"]),
        (f"resources=VCPU:1&root_required={AVX},!{VMX}", ["plain:VCPU=1"]),
        (f"resources=VCPU:1&root_required={SSE}", []),
        # Groups with suffixes.
        ("resources1=VCPU:1", ROOM),
        ("resources_a-B9=VCPU:1", ROOM),
        ("resources" + "x" * 64 + "=VCPU:8", ["numa0:VCPU=8", "plain:VCPU=8"]),
        ("resources_C=VCPU:1,MEMORY_MB:1", ["plain:MEMORY_MB=1 plain:VCPU=1"]),
        (f"resources_C=VCPU:1&required_C={SSE}", ["numa0:VCPU=1"]),
        (f"resources_C=VCPU:1&required_C=!{SSE}", ["numa1:VCPU=1", "plain:VCPU=1"]),
        (f"resources_C=VCPU:1&required_C=in:{SSE},{AVX}&required_C=!{AVX}", ["numa0:VCPU=1"]),
        (
            "resources1=VCPU:8&resources2=VCPU:4&group_policy=none",
            ["numa0:VCPU=8 numa1:VCPU=4"],
        ),
        (
            "resources1=VCPU:4&resources2=VCPU:4&group_policy=none",
            ["numa0:VCPU=4 numa1:VCPU=4", "numa0:VCPU=4 numa1:VCPU=4", "numa0:VCPU=8", "plain:VCPU=8"],
        ),
        (
            "resources1=VCPU:4&resources2=VCPU:4&group_policy=isolate",
            ["numa0:VCPU=4 numa1:VCPU=4", "numa0:VCPU=4 numa1:VCPU=4"],
        ),
        (
            "resources=VCPU:4&resources2=VCPU:4&group_policy=isolate",
            ["numa0:VCPU=4 numa1:VCPU=4", "numa0:VCPU=4 numa1:VCPU=4", "numa0:VCPU=8", "plain:VCPU=8"],
        ),
        ("resources1=DISK_GB:1&resources2=VCPU:8&group_policy=isolate&in_tree2={plain}", [
            "disk:DISK_GB=1 plain:VCPU=8",
        ]),
        # Subtrees, with and without resources.
        (
            f"{CPU_AND_CARD}none",
            [
                "card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa0:VCPU=1",
                "card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa1:VCPU=1",
            ],
        ),
        (f"{CPU_AND_CARD}none&same_subtree=_C,_N", ["card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa1:VCPU=1"]),
        (f"{CPU_AND_CARD}isolate&same_subtree=_C,_N", ["card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa1:VCPU=1"]),
        (f"{CPU_AND_CARD}none&same_subtree=_C&same_subtree=_N", [
            "card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa0:VCPU=1",
            "card:SRIOV_NET_VF=1 host:MEMORY_MB=1 numa1:VCPU=1",
        ]),
        (
            f"resources_C=VCPU:1&required_R={VMX}&same_subtree=_C,_R&group_policy=none",
            ["numa0:VCPU=1", "numa1:VCPU=1"],
        ),
        (
            f"resources_C=VCPU:1&required_R={AVX}&same_subtree=_C,_R&group_policy=none",
            ["numa0:VCPU=1", "numa1:VCPU=1", "plain:VCPU=1"],
        ),
        (
            f"resources_C=VCPU:1&required_R={AVX}&same_subtree=_C,_R&group_policy=isolate",
            ["numa0:VCPU=1", "numa1:VCPU=1"],
        ),
        (f"resources_C=VCPU:1&required_N={VULKAN}&same_subtree=_C,_N&group_policy=none", ["numa1:VCPU=1"]),
        ("resources_C=VCPU:1&in_tree_R={plain}&same_subtree=_C,_R&group_policy=none", ["plain:VCPU=1"]),
        (f"resources_C=VCPU:1&member_of_R={OTHER_AGGREGATE}&same_subtree=_R,_C&group_policy=none",
         ["plain:VCPU=1"]),
        # Limits.
        ("resources=VCPU:8&limit=1000", ["numa0:VCPU=8", "plain:VCPU=8"]),
        ("resources=VCPU:8&limit=" + "9" * 90, ["numa0:VCPU=8", "plain:VCPU=8"]),
    ],
)  # fmt: skip
def test_what_matches(region, query, expected):
    assert region.found(query) == sorted(expected)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_limits_trim_summaries_too(region, limit):
    answer = region.ask(f"resources=VCPU:1&limit={limit}")
    assert len(answer["allocation_requests"]) == limit
    used = {provider for each in answer["allocation_requests"] for provider in each["allocations"]}
    roots = {region.host if each in (region.numa0, region.numa1) else each for each in used}
    told = {each["root_provider_uuid"] for each in answer["provider_summaries"].values()}
    assert told == roots


def test_before_trees_counted(region):
    assert region.found("resources=VCPU:1", "1.28") == ["plain:VCPU=1"]
    assert region.found("resources=VCPU:1,DISK_GB:1", "1.28") == ["disk:DISK_GB=1 plain:VCPU=1"]
    assert region.found("resources=VCPU:1", "1.29") == sorted(ROOM)
    assert set(region.ask("resources=VCPU:1", "1.28")["provider_summaries"]) == {region.plain}


@pytest.mark.parametrize(
    ("feature", "since"),
    [
        ("limit=1", "1.16"),
        (f"required={AVX}", "1.17"),
        (f"member_of={AGGREGATE}", "1.21"),
        (f"member_of=in:{AGGREGATE},{MISSING}", "1.21"),
        (f"required={AVX},!{SSE}", "1.22"),
        (f"member_of={AGGREGATE}&member_of={OTHER_AGGREGATE}", "1.24"),
        ("resources1=MEMORY_MB:1", "1.25"),
        (f"resources12=MEMORY_MB:1&required12={AVX}&member_of12={AGGREGATE}", "1.25"),
        ("group_policy=none", "1.25"),
        ("in_tree={plain}", "1.31"),
        ("resources7=MEMORY_MB:1&in_tree7={plain}", "1.31"),
        (f"member_of=!{MISSING}", "1.32"),
        (f"member_of=!in:{MISSING}", "1.32"),
        ("resources_a=MEMORY_MB:1", "1.33"),
        ("resources0=MEMORY_MB:1", "1.33"),
        (f"root_required={AVX}", "1.35"),
        ("resources1=MEMORY_MB:1&same_subtree=1", "1.36"),
        (f"required1={AVX}&resources2=VCPU:1&same_subtree=1,2&group_policy=none", "1.36"),
        (f"required=in:{AVX},{SSE}", "1.39"),
    ],
)
def test_features_by_version(region, feature, since):
    query = f"resources=VCPU:1&{feature.format(**vars(region))}"
    path = f"/allocation_candidates?{query}"
    number = minor(since)
    assert region.placement.get(path, version=f"1.{number - 1}").status_code == 400
    for version in (since, "1.39"):
        answer = region.placement.get(path, version=version)
        assert answer.status_code == 200, answer.text
        held = [set(each["allocations"]) for each in answer.json["allocation_requests"]]
        assert {region.plain} in held or number < 12 or "limit" in feature


def test_required_repeated_before_1_39(region):
    assert region.found(f"resources=VCPU:1&required={SSE}&required={AVX}", "1.38") == ["plain:VCPU=1"]


@pytest.mark.parametrize(
    "version",
    ["1.10", "1.11", "1.12", "1.16", "1.17", "1.26", "1.27", "1.28", "1.29", "1.33", "1.34", "1.39"],
)
def test_the_form_of_each_version(region, version):
    number = minor(version)
    region.placement.hold(CONSUMER, {region.plain: {"VCPU": 3}})
    answer = region.ask("resources=VCPU:5", version)
    empty = region.ask("resources=VCPU:99", version)
    region.placement.call("DELETE", f"/allocations/{CONSUMER}")
    assert empty == {"allocation_requests": [], "provider_summaries": {}}
    held = {"resources": {"VCPU": 5}}
    of_plain = {"allocations": {region.plain: held}}
    if number < 12:
        of_plain = {"allocations": [{"resource_provider": {"uuid": region.plain}, **held}]}
    if number >= 34:
        of_plain["mappings"] = {"": [region.plain]}
    assert of_plain in answer["allocation_requests"]
    assert len(answer["allocation_requests"]) == (2 if number >= 29 else 1)
    summary = {"resources": {"VCPU": {"capacity": 8, "used": 3}}}
    if number >= 27:
        summary["resources"]["MEMORY_MB"] = {"capacity": 4096, "used": 0}
    if number >= 17:
        summary["traits"] = [AVX]
    if number >= 29:
        summary |= {"parent_provider_uuid": None, "root_provider_uuid": region.plain}
    assert answer["provider_summaries"][region.plain] == summary
    expected = {region.plain}
    if number >= 29:
        expected |= {region.host, region.numa0, region.numa1, region.card}
        told = answer["provider_summaries"][region.card]
        assert (told["parent_provider_uuid"], told["root_provider_uuid"]) == (region.numa1, region.host)
    assert set(answer["provider_summaries"]) == expected


def test_mappings_name_every_group(region):
    answer = region.ask(
        f"resources=MEMORY_MB:1,DISK_GB:1&resources_C=VCPU:1&resources_N=SRIOV_NET_VF:1&required_R={VMX}"
        "&same_subtree=_C,_N&same_subtree=_R,_C&group_policy=none"
    )
    (candidate,) = answer["allocation_requests"]
    assert {suffix: sorted(ids) for suffix, ids in candidate["mappings"].items()} == {
        "": sorted([region.host, region.disk]),
        "_C": [region.numa1],
        "_N": [region.card],
        "_R": [region.host],
    }
    assert region.disk in answer["provider_summaries"]


def test_a_candidate_can_be_claimed(region):
    query = "resources=MEMORY_MB:64,DISK_GB:5&resources_C=VCPU:2&resources_N=SRIOV_NET_VF:1&group_policy=none"
    for number, candidate in enumerate(region.ask(query)["allocation_requests"]):
        body = {
            **candidate,
            "project_id": "p",
            "user_id": "u",
            "consumer_generation": None,
            "consumer_type": "INSTANCE",
        }
        consumer = CONSUMER[:-1] + str(number)
        assert region.placement.put(f"/allocations/{consumer}", body).status_code == 204
        assert region.placement.call("DELETE", f"/allocations/{consumer}").status_code == 204
