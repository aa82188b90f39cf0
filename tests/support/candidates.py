"""Small random clouds and requests, and a search that tries every assignment: what the index is held to."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

from hypothesis import strategies as st

from protonova.services.placement.index.candidate import Answer
from protonova.services.placement.index.index import Index
from protonova.services.placement.query import CandidateQuery, Conditions, Group
from protonova.services.placement.records import SHARING_TRAIT, Inventory, ProviderRecord

CLASSES = ["VCPU", "MEMORY_MB", "DISK_GB"]
TRAITS = ["RED", "BLUE", SHARING_TRAIT]
AGGREGATES = ["agg1", "agg2"]
# More would only make the plain search slow.
_MOST_PARTS = 4


def keys(answer: Answer) -> set[tuple]:
    """What was found; nothing may be told twice."""
    found = {candidate.key() for candidate in answer}
    assert len(found) == len(answer)
    return found


def index_of(providers: list[ProviderRecord]) -> Index:
    """Built in an order in which children come before their parents."""
    index = Index()
    for provider in reversed(providers):
        index.apply(provider)
    return index


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
    reserved=st.integers(0, 2),
    min_unit=st.integers(1, 2),
    max_unit=st.sampled_from([1, 2, 4, 8]),
    step_size=st.integers(1, 2),
    allocation_ratio=st.sampled_from([0.5, 1.0, 1.5]),
)
holdings = st.dictionaries(st.sampled_from(CLASSES), inventories, max_size=3)
trait_sets = st.frozensets(st.sampled_from(TRAITS), max_size=3)
aggregate_sets = st.frozensets(st.sampled_from(AGGREGATES), max_size=2)
usages = st.fixed_dictionaries({name: st.sampled_from([0, 0, 1, 3]) for name in CLASSES})


@st.composite
def providers(draw, number: int, parent: ProviderRecord | None) -> ProviderRecord:
    own = draw(holdings)
    used = draw(usages)
    return ProviderRecord(
        id=f"p{number}",
        name=f"p{number}",
        generation=0,
        incarnation=number,
        version=0,
        root=parent.root if parent else f"p{number}",
        parent=parent.id if parent else "",
        inventories=own,
        used={name: used[name] for name in own},
        traits=draw(trait_sets),
        aggregates=draw(aggregate_sets),
    )


@st.composite
def clouds(draw, nested: bool = True) -> list[ProviderRecord]:
    """Trees and lone providers; without `nested` only lone ones, with whom nothing is shared."""
    found: list[ProviderRecord] = []
    for number in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([None, *found])) if nested and found else None
        made = draw(providers(number, parent))
        found.append(made if nested else replace(made, traits=made.traits - {SHARING_TRAIT}))
    return found


trait_choices = st.frozensets(st.sampled_from(TRAITS[:2]), min_size=1)
some_conditions = st.builds(
    Conditions,
    required=st.lists(trait_choices, max_size=2).map(tuple),
    forbidden=st.frozensets(st.sampled_from(TRAITS), max_size=1),
    member_of=st.lists(st.frozensets(st.sampled_from(AGGREGATES), min_size=1), max_size=2).map(tuple),
    forbidden_aggregates=st.frozensets(st.sampled_from(AGGREGATES), max_size=1),
)
conditions = st.one_of(st.just(Conditions()), st.just(Conditions()), some_conditions)
amounts = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 3), min_size=1, max_size=3)
trees = st.sampled_from(["", "", "", "p0", "p1", "nowhere"])


@st.composite
def queries(draw) -> CandidateQuery:
    """Of the whole grammar."""
    groups: list[Group] = []
    room = _MOST_PARTS
    if draw(st.booleans()):
        groups.append(Group("", draw(amounts), draw(conditions), draw(trees)))
        room -= len(groups[0].resources)
    for suffix in ("A", "B", "C")[: draw(st.integers(0 if groups else 1, min(room, 3)))]:
        groups.append(Group(suffix, draw(amounts), draw(conditions), draw(trees)))
    suffixes = [group.suffix for group in groups if group.suffix]
    subtrees: list[frozenset[str]] = []
    if suffixes and draw(st.booleans()):
        if len(suffixes) < room and draw(st.booleans()):
            groups.append(Group("D", {}, draw(conditions), draw(trees)))
            suffixes.append("D")
        subtrees.append(frozenset(suffixes))
        if len(suffixes) > 2 and draw(st.booleans()):
            subtrees = [frozenset(suffixes[:2]), frozenset(suffixes[1:])]
    root = draw(conditions)
    return CandidateQuery(
        groups=tuple(groups),
        isolate=draw(st.booleans()),
        root=replace(root, member_of=(), forbidden_aggregates=frozenset()),
        same_subtree=tuple(subtrees),
    )
