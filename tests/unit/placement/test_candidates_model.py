"""The index's search against a plain one that tries everything, on small random clouds."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.services.placement.index.index import Index, UsageChange
from protonova.services.placement.index.search import search
from protonova.services.placement.query import CandidateQuery, Conditions, Group
from protonova.services.placement.records import SHARING_TRAIT, Inventory, ProviderRecord

CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB"]
TRAITS = ["RED", "BLUE", SHARING_TRAIT]
AGGREGATES = ["agg1", "agg2"]


def plain_search(providers: list[ProviderRecord], query: CandidateQuery) -> set[tuple]:
    """Every assignment of every part to every provider, judged when it is complete."""
    found = set()
    by_id = {provider.id: provider for provider in providers}
    for root in providers:
        if root.parent or not query.root.allow(root):
            continue
        tree = [p for p in providers if p.root == root.id] if query.nested else [root]
        aggregates = {aggregate for p in tree for aggregate in p.aggregates}
        sharing = [
            p
            for p in providers
            if p.root != root.id
            and SHARING_TRAIT in p.traits
            and p.aggregates & aggregates
            and (query.nested or not p.parent)
        ]
        parts = []
        for group in query.groups:
            pool = tree + sharing if group.resources else tree
            if group.in_tree:
                pool = [p for p in tree if group.in_tree in {t.id for t in tree}]
            if group.suffix:
                parts.append((group, group.resources, pool))
            else:
                parts.extend((group, {name: n}, pool) for name, n in group.resources.items())
        for choice in itertools.product(*(pool for _, _, pool in parts)):
            if _acceptable(query, parts, choice, root, by_id):
                found.add(_key(parts, choice))
    return found


def _acceptable(query, parts, choice, root, by_id) -> bool:
    load: Counter = Counter()
    for (_, resources, _), provider in zip(parts, choice, strict=True):
        for name, amount in resources.items():
            inventory = provider.inventories.get(name)
            if inventory is None or not inventory.portions(amount):
                return False
            load[provider.id, name] += amount
    for (provider_id, name), amount in load.items():
        provider = by_id[provider_id]
        inventory = provider.inventories[name]
        if provider.used.get(name, 0) + amount > inventory.capacity or amount > inventory.max_unit:
            return False
    suffixed = [p.id for (group, _, _), p in zip(parts, choice, strict=True) if group.suffix]
    if query.isolate and len(set(suffixed)) != len(suffixed):
        return False
    for group in query.groups:
        serving = [p for (g, _, _), p in zip(parts, choice, strict=True) if g is group]
        wanted = group.conditions
        if group.suffix:
            if not all(wanted.allow(p) for p in serving):
                return False
            continue
        traits = frozenset().union(*(p.traits for p in serving))
        if not wanted.traits_allow(traits):
            return False
        spanning = root.aggregates if query.nested else frozenset()
        for p in serving:
            if wanted.forbidden_aggregates & (p.aggregates | spanning):
                return False
            own = all(c & p.aggregates for c in wanted.member_of)
            if not own and not all(c & spanning for c in wanted.member_of):
                return False
    return all(_one_above(subtree, parts, choice, by_id) for subtree in query.same_subtree)


def _one_above(suffixes, parts, choice, by_id) -> bool:
    serving = {p.id for (group, _, _), p in zip(parts, choice, strict=True) if group.suffix in suffixes}

    def line(provider_id):
        while provider_id:
            yield provider_id
            provider_id = by_id[provider_id].parent

    return any(all(top in line(other) for other in serving) for top in serving)


def _key(parts, choice) -> tuple:
    amounts: Counter = Counter()
    mappings: dict = {}
    for (group, resources, _), provider in zip(parts, choice, strict=True):
        mappings.setdefault(group.suffix, set()).add(provider.id)
        for name, amount in resources.items():
            amounts[provider.id, name] += amount
    return (
        frozenset((provider, name, n) for (provider, name), n in amounts.items()),
        frozenset((suffix, tuple(sorted(ids))) for suffix, ids in mappings.items()),
    )


inventories = st.builds(
    Inventory,
    total=st.integers(1, 8),
    reserved=st.integers(0, 1),
    min_unit=st.integers(1, 2),
    max_unit=st.sampled_from([1, 2, 4, 8]),
    step_size=st.integers(1, 2),
    allocation_ratio=st.sampled_from([1.0, 1.5]),
)


@st.composite
def clouds(draw, nested: bool) -> list[ProviderRecord]:
    count = draw(st.integers(1, 6 if not nested else 7))
    providers: list[ProviderRecord] = []
    for number in range(count):
        parent = draw(st.sampled_from([None, *providers])) if nested and providers else None
        own = draw(st.dictionaries(st.sampled_from(CLASSES), inventories, max_size=3))
        traits = draw(st.frozensets(st.sampled_from(TRAITS[: 3 if nested else 2]), max_size=3))
        providers.append(
            ProviderRecord(
                id=f"p{number}",
                name=f"p{number}",
                generation=0,
                incarnation=number,
                version=0,
                root=parent.root if parent else f"p{number}",
                parent=parent.id if parent else "",
                inventories=own,
                used={name: draw(st.integers(0, 3)) for name in own},
                traits=traits,
                aggregates=draw(st.frozensets(st.sampled_from(AGGREGATES), max_size=2)),
            )
        )
    return providers


conditions = st.builds(
    Conditions,
    required=st.lists(st.frozensets(st.sampled_from(TRAITS[:2]), min_size=1, max_size=2), max_size=1).map(
        tuple
    ),
    forbidden=st.frozensets(st.sampled_from(TRAITS[:2]), max_size=1),
    member_of=st.lists(st.frozensets(st.sampled_from(AGGREGATES), min_size=1), max_size=1).map(tuple),
    forbidden_aggregates=st.one_of(
        st.just(frozenset()), st.frozensets(st.sampled_from(AGGREGATES), max_size=1)
    ),
)
plain_conditions = st.one_of(st.just(Conditions()), st.just(Conditions()), conditions)
resources = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 3), min_size=1, max_size=3)
trees = st.sampled_from(["", "", "", "p0", "p1"])


@st.composite
def queries(draw) -> CandidateQuery:
    groups = []
    if draw(st.booleans()):
        groups.append(Group("", draw(resources), draw(plain_conditions), draw(trees)))
    for suffix in ("A", "B")[: draw(st.integers(0 if groups else 1, 2))]:
        groups.append(Group(suffix, draw(resources), draw(plain_conditions), draw(trees)))
    suffixes = [group.suffix for group in groups if group.suffix]
    same_subtree = ()
    if suffixes and draw(st.booleans()):
        if draw(st.booleans()):
            groups.append(Group("C", {}, draw(plain_conditions)))
            suffixes.append("C")
        same_subtree = (frozenset(suffixes),)
    root = draw(plain_conditions)
    return CandidateQuery(
        groups=tuple(groups),
        isolate=draw(st.booleans()),
        root=replace(root, member_of=(), forbidden_aggregates=frozenset()),
        same_subtree=same_subtree,
    )


def index_of(providers: list[ProviderRecord]) -> Index:
    index = Index()
    for provider in reversed(providers):
        index.apply(provider)
    return index


@settings(max_examples=120, deadline=None)
@given(cloud=clouds(nested=False), query=queries(), nested=st.booleans())
def test_lone_providers(cloud, query, nested):
    query = replace(query, nested=nested)
    found = search(index_of(cloud), query)
    assert len(found) == len({candidate.key() for candidate in found})
    assert {candidate.key() for candidate in found} == plain_search(cloud, query)


@settings(max_examples=200, deadline=None)
@given(cloud=clouds(nested=True), query=queries(), nested=st.booleans(), limit=st.integers(0, 3))
def test_trees(cloud, query, nested, limit):
    query = replace(query, nested=nested, same_subtree=query.same_subtree if nested else ())
    expected = plain_search(cloud, query)
    found = search(index_of(cloud), replace(query, limit=limit))
    keys = {candidate.key() for candidate in found}
    assert len(found) == len(keys)
    if limit:
        assert keys <= expected
        assert len(keys) == min(limit, len(expected))
    else:
        assert keys == expected


@settings(max_examples=60, deadline=None)
@given(clouds=st.lists(clouds(nested=True), min_size=2, max_size=4), query=queries())
def test_changing_cloud_leaves_the_index_as_if_built_anew(clouds, query):
    """Whatever came before: records replaced, providers moved between trees, providers gone."""
    index = Index()
    for version, cloud in enumerate(clouds):
        for provider in cloud:
            index.apply(replace(provider, version=version))
        for gone in set(index.ids()) - {provider.id for provider in cloud}:
            index.remove(gone)
    found = search(index, query)
    assert {candidate.key() for candidate in found} == plain_search(clouds[-1], query)


def test_older_records_are_refused_and_usage_is_adopted():
    record = ProviderRecord("p", "p", 1, 1, 5, "p", inventories={"VCPU": Inventory(4)}, used={"VCPU": 0})
    index = index_of([record])
    assert not index.apply(replace(record, version=4))
    assert index.adopt([UsageChange("p", {"VCPU": 3}, 1, 6, 2)]) == []
    query = CandidateQuery(groups=(Group("", {"VCPU": 2}),))
    assert len(search(index, query)) == 0
    # One was missed in between: the provider must be read anew; what is known already is passed over.
    assert index.adopt([UsageChange("p", {"VCPU": 1}, 1, 8, 4)]) == ["p"]
    assert index.adopt([UsageChange("p", {"VCPU": 1}, 1, 6, 2)]) == []
    # A new incarnation counts from the beginning.
    assert index.apply(replace(record, incarnation=2, version=0))
    assert len(search(index, query)) == 1


def test_index_grows():
    index = Index()
    for number in range(200):
        name = f"p{number}"
        parent = f"p{number - 1}" if number % 50 == 1 else ""
        index.apply(
            ProviderRecord(
                name,
                name,
                0,
                number,
                0,
                parent or name,
                parent=parent,
                inventories={"VCPU": Inventory(4 if number % 2 else 2)},
                traits=frozenset({"RED"} if number < 100 else ()),
            )
        )
    query = CandidateQuery(groups=(Group("", {"VCPU": 3}, Conditions(required=(frozenset({"RED"}),))),))
    served = {name for candidate in search(index, query) for name in candidate.allocations}
    assert served == {f"p{number}" for number in range(1, 100, 2)}
