"""Allocation candidates over the wire. What is right in general is compared in the unit tests with a plain search;
here are the cases that callers know, and the messages."""

from __future__ import annotations

import pytest

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.services.runtime import errors
from protonova.services.runtime.packed_ids import PackedIds
from tests.functional.placement.refused import refused
from tests.support.placement import Placement, group

VCPU = {"VCPU": 1}
VGPU = {"VGPU": 1}


class Cloud:
    """Two trees with a shared disk, and a host that stands alone."""

    def __init__(self, placement: Placement, new_id) -> None:
        self.shelf, self.rack = new_id(), new_id()
        sizes = {"VCPU": 8, "MEMORY_MB": 1000}
        self.one = placement.provider("one", inventories=sizes, aggregates=[self.shelf])
        self.one_left = placement.provider("one-left", parent=self.one, inventories={"VGPU": 2})
        self.one_right = placement.provider(
            "one-right", parent=self.one, inventories={"VGPU": 1}, traits=["HW_GPU_API_VULKAN"]
        )
        self.two = placement.provider(
            "two", inventories=sizes, aggregates=[self.shelf], traits=["HW_CPU_X86_AVX"]
        )
        self.disk = placement.provider(
            "disk",
            inventories={"DISK_GB": 100},
            aggregates=[self.shelf],
            traits=["MISC_SHARES_VIA_AGGREGATE"],
        )
        self.alone = placement.provider(
            "alone", inventories={**sizes, "DISK_GB": 10}, traits=["HW_CPU_X86_AVX"], aggregates=[self.rack]
        )
        self._names = {id_: name for name, id_ in vars(self).items() if isinstance(id_, str)}

    def name(self, id_: str) -> str:
        return self._names[id_]


@pytest.fixture
def cloud(sqlite_placement, new_id):
    placement = sqlite_placement()
    return placement, Cloud(placement, new_id)


def names(cloud: Cloud, found: list[dict[str, dict[str, int]]]) -> list[str]:
    """Each candidate as "provider:CLASS=amount …", sorted."""
    return sorted(
        " ".join(
            sorted(
                f"{cloud.name(provider)}:{name}={amount}"
                for provider, amounts in candidate.items()
                for name, amount in amounts.items()
            )
        )
        for candidate in found
    )


@pytest.mark.parametrize(
    ("groups", "fields", "expected"),
    [
        ([group("", VCPU)], {}, ["alone:VCPU=1", "one:VCPU=1", "two:VCPU=1"]),
        ([group("", {"VCPU": 9})], {}, []),
        (
            [group("", {"VCPU": 1, "DISK_GB": 5})],
            {},
            ["alone:DISK_GB=5 alone:VCPU=1", "disk:DISK_GB=5 one:VCPU=1", "disk:DISK_GB=5 two:VCPU=1"],
        ),
        ([group("", {"DISK_GB": 5})], {}, ["alone:DISK_GB=5", "disk:DISK_GB=5"]),
        (
            [group("", {"VCPU": 1, "VGPU": 1})],
            {},
            ["one:VCPU=1 one_left:VGPU=1", "one:VCPU=1 one_right:VGPU=1"],
        ),
        ([group("", {"VCPU": 1, "VGPU": 1})], {"nested": False}, []),
        (
            [group("", {"VCPU": 1, "VGPU": 1}, required=[["HW_GPU_API_VULKAN"]])],
            {},
            ["one:VCPU=1 one_right:VGPU=1"],
        ),
        (
            [group("", {"VCPU": 1, "VGPU": 1}, forbidden_traits=["HW_GPU_API_VULKAN"])],
            {},
            ["one:VCPU=1 one_left:VGPU=1"],
        ),
        ([group("", VCPU, required=[["HW_CPU_X86_AVX"]])], {}, ["alone:VCPU=1", "two:VCPU=1"]),
        (
            [group("", VCPU, required=[["HW_CPU_X86_AVX", "HW_GPU_API_VULKAN"]])],
            {},
            ["alone:VCPU=1", "two:VCPU=1"],
        ),
        ([group("", VCPU)], {"root_required_traits": ["HW_CPU_X86_AVX"]}, ["alone:VCPU=1", "two:VCPU=1"]),
        ([group("", VCPU)], {"root_forbidden_traits": ["HW_CPU_X86_AVX"]}, ["one:VCPU=1"]),
        (
            [group("a", VGPU), group("b", VGPU)],
            {"group_policy": pb.GROUP_POLICY_NONE},
            ["one_left:VGPU=1 one_right:VGPU=1"] * 2 + ["one_left:VGPU=2"],
        ),
        (
            [group("a", VGPU), group("b", VGPU)],
            {"group_policy": pb.GROUP_POLICY_ISOLATE},
            ["one_left:VGPU=1 one_right:VGPU=1"] * 2,
        ),
        (
            [group("a", VGPU), group("b", {}, required=[["HW_GPU_API_VULKAN"]])],
            {"group_policy": pb.GROUP_POLICY_NONE, "same_subtree": [pb.Subtree(suffixes=["a", "b"])]},
            ["one_right:VGPU=1"],
        ),
        (
            [group("a", VGPU), group("b", VCPU)],
            {"group_policy": pb.GROUP_POLICY_NONE, "same_subtree": [pb.Subtree(suffixes=["a", "b"])]},
            ["one:VCPU=1 one_left:VGPU=1", "one:VCPU=1 one_right:VGPU=1"],
        ),
    ],
)
def test_candidates(cloud, groups, fields, expected):
    placement, known = cloud
    assert names(known, placement.candidates(*groups, **fields)) == expected


def test_aggregates_and_trees(cloud, new_id):
    placement, known = cloud
    for fields, expected in (
        ({"member_of": [[known.rack]]}, ["alone:VCPU=1"]),
        ({"member_of": [[known.rack, known.shelf]]}, ["alone:VCPU=1", "one:VCPU=1", "two:VCPU=1"]),
        ({"member_of": [[new_id()]]}, []),
        ({"forbidden_aggregates": [known.shelf]}, ["alone:VCPU=1"]),
        ({"in_tree": known.one_left}, ["one:VCPU=1"]),
        ({"in_tree": new_id()}, []),
    ):
        assert names(known, placement.candidates(group("", VCPU, **fields))) == expected, fields
    # The root's aggregates count for its tree; for a group with a suffix only a provider's own do.
    shelf = {"member_of": [[known.shelf]]}
    assert len(placement.candidates(group("", VGPU, **shelf))) == 2
    assert placement.candidates(group("x", VGPU, **shelf)) == []
    # A tree that is asked for gets nothing from outside.
    assert placement.candidates(group("", {"VCPU": 1, "DISK_GB": 1}, in_tree=known.two)) == []


def test_messages(cloud):
    placement, known = cloud
    request = pb.ListAllocationCandidatesRequest(
        groups=[group("", {"VCPU": 2, "DISK_GB": 3}), group("gpu", VGPU, required=[["HW_GPU_API_VULKAN"]])],
        nested=True,
    )
    answer = placement.allocations.ListAllocationCandidates(request)
    (candidate,) = answer.candidates
    assert candidate.root_id == known.one
    mappings = {suffix: set(providers.provider_ids) for suffix, providers in candidate.mappings.items()}
    assert mappings == {"": {known.one, known.disk}, "gpu": {known.one_right}}
    assert set(answer.provider_summaries) == {known.one, known.one_left, known.one_right, known.disk}
    summary = answer.provider_summaries[known.one_right]
    assert (summary.parent_id, summary.root_id) == (known.one, known.one)
    assert list(summary.traits) == ["HW_GPU_API_VULKAN"]
    assert (summary.resources["VGPU"].capacity, summary.resources["VGPU"].used) == (1, 0)
    request.skip_summaries = True
    assert not placement.allocations.ListAllocationCandidates(request).provider_summaries
    flat = pb.ListAllocationCandidatesRequest(groups=[group("", {"VCPU": 1, "DISK_GB": 50})], limit=1)
    answer = placement.allocations.ListAllocationCandidates(flat)
    assert set(answer.provider_summaries) == set(answer.candidates[0].allocations.providers)


@pytest.mark.parametrize(
    ("groups", "fields", "parameter"),
    [
        ([], {}, "resources"),
        ([group("", {"VCPU": 0})], {}, "resources"),
        ([group("a", {"VCPU": -1})], {}, "resourcesa"),
        ([group("", VCPU), group("a", {})], {}, "resourcesa"),
        ([group("a", VCPU), group("b", VCPU)], {}, "group_policy"),
        ([group("", VCPU), group("", VCPU)], {}, "groups"),
        ([group("", VCPU)], {"limit": -1}, "limit"),
        ([group("", VCPU)], {"same_subtree": [pb.Subtree(suffixes=["x"])]}, "same_subtree"),
        ([group("", VCPU)], {"same_subtree": [pb.Subtree(suffixes=[""])]}, "same_subtree"),
        (
            [group("", VCPU, required=[["HW_CPU_X86_AVX"]], forbidden_traits=["HW_CPU_X86_AVX"])],
            {},
            "required",
        ),
        (
            [group("", VCPU)],
            {"root_required_traits": ["HW_CPU_X86_AVX"], "root_forbidden_traits": ["HW_CPU_X86_AVX"]},
            "root_required",
        ),
    ],
)
def test_queries_that_are_refused(cloud, groups, fields, parameter):
    placement, _ = cloud
    with refused(errors.InvalidArgument, "QUERY_INVALID", parameter=parameter):
        placement.candidates(*groups, **fields)


def test_unknown_names_are_refused(cloud):
    placement, _ = cloud
    with refused(errors.NotFound, "RESOURCE_CLASS_NOT_FOUND", resource_class="NO_SUCH"):
        placement.candidates(group("", {"NO_SUCH": 1}))
    with refused(errors.NotFound, "TRAIT_NOT_FOUND", trait="NO_SUCH"):
        placement.candidates(group("", VCPU), root_required_traits=["NO_SUCH"])


def test_limits_and_samples(sqlite_placement):
    plain = sqlite_placement()
    hosts = [plain.provider(inventories={"VCPU": 4}) for _ in range(6)]
    first = plain.candidates(group("", VCPU), limit=3)
    assert len(first) == 3
    assert plain.candidates(group("", VCPU), limit=3) == first
    assert len(plain.candidates(group("", VCPU), limit=10)) == 6
    bounded = sqlite_placement(placement__max_allocation_candidates=2)
    for _ in range(3):
        bounded.provider(inventories={"VCPU": 4})
    assert len(bounded.candidates(group("", VCPU))) == 2
    random = sqlite_placement(placement__randomize_allocation_candidates=True)
    for _ in hosts:
        random.provider(inventories={"VCPU": 4})
    samples = {
        frozenset(*found) for _ in range(40) for found in [random.candidates(group("", VCPU), limit=1)]
    }
    assert len(samples) > 1


def test_trees_take_turns_where_configured(sqlite_placement):
    for strategy, expected in (("depth-first", 1), ("breadth-first", 2)):
        placement = sqlite_placement(placement__allocation_candidates_generation_strategy=strategy)
        for _ in range(2):
            root = placement.provider(inventories={"VCPU": 4})
            for _ in range(2):
                placement.provider(parent=root, inventories={"VGPU": 1})
        found = placement.candidates(group("", {"VCPU": 1, "VGPU": 1}), limit=2)
        assert len({provider for each in found for provider in each if "VCPU" in each[provider]}) == expected


def test_tables_tell_the_same(cloud):
    placement, known = cloud
    request = pb.ListAllocationCandidatesRequest(groups=[group("", {"VCPU": 1, "DISK_GB": 5})], nested=True)
    plain = placement.allocations.ListAllocationCandidates(request)
    request.tables = True
    answer = placement.allocations.ListAllocationCandidates(request)
    alone = answer.alone
    assert (list(alone.provider_ids), list(alone.suffixes)) == ([known.alone], [""])
    assert dict(alone.resources.amounts) == {"VCPU": 1, "DISK_GB": 5}
    request.packed = True
    packed = placement.allocations.ListAllocationCandidates(request).alone
    assert list(PackedIds(packed.packed_ids)) == [known.alone]
    assert not packed.provider_ids
    assert packed.resources == alone.resources
    assert not answer.provider_summaries
    assert list(answer.candidates) == list(plain.candidates)[1:]
    table = answer.summary_table
    summaries = {}
    for place, provider in enumerate(table.provider_ids):
        summary = summaries[provider] = pb.ProviderSummary(
            parent_id=table.parent_ids[place],
            root_id=table.root_ids[place],
            traits=table.trait_sets[table.traits[place]].traits,
        )
        for column in table.resources:
            if column.capacities[place] >= 0:
                summary.resources[column.resource_class].capacity = column.capacities[place]
                summary.resources[column.resource_class].used = column.used[place]
    assert summaries == dict(plain.provider_summaries)
    request.skip_summaries = True
    assert not placement.allocations.ListAllocationCandidates(request).HasField("summary_table")


def test_a_search_that_is_given_up_says_so(cloud, monkeypatch):
    placement, _ = cloud
    groups = [group("a", VGPU), group("b", {"VCPU": 1})]
    request = pb.ListAllocationCandidatesRequest(
        groups=groups, group_policy=pb.GROUP_POLICY_NONE, nested=True
    )
    assert not placement.allocations.ListAllocationCandidates(request).incomplete
    monkeypatch.setattr("protonova.services.placement.index.search._MOST_EFFORT", 1)
    answer = placement.allocations.ListAllocationCandidates(request)
    assert answer.incomplete
    assert len(answer.candidates) == 1
    # The first tree that is looked at does not serve this, and no other one is looked at.
    nowhere = [group("a", VGPU), group("b", VGPU), group("c", VGPU, required=[["HW_GPU_API_VULKAN"]])]
    with refused(errors.InvalidArgument, "QUERY_TOO_HARD"):
        placement.candidates(*nowhere, group_policy=pb.GROUP_POLICY_ISOLATE)
