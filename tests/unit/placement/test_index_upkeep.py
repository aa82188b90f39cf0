"""Whatever became of a cloud, and in whatever order the index was told: it answers as one that is built anew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from protonova.services.placement.index.index import Index, UsageChange
from protonova.services.placement.index.search import search
from protonova.services.placement.query import CandidateQuery, Conditions, Group
from protonova.services.placement.records import Inventory, ProviderRecord
from tests.support.candidates import (
    aggregate_sets,
    clouds,
    holdings,
    index_of,
    keys,
    plain_search,
    providers,
    queries,
    trait_sets,
)


class Changing:
    """A cloud, and the index that is told of every change of it."""

    def __init__(self, data, cloud: list[ProviderRecord]) -> None:
        self._draw = data.draw
        self.known = {provider.id: provider for provider in cloud}
        self.index = index_of(cloud)
        self._next = len(cloud)

    def add(self) -> None:
        parent = self._draw(st.sampled_from([None, *self.known.values()]))
        made = self._draw(providers(self._next, parent))
        self._next += 1
        self._tell([made])

    def remove(self) -> None:
        parents = {provider.parent for provider in self.known.values()}
        gone = self._draw(st.sampled_from([id_ for id_ in self.known if id_ not in parents]))
        del self.known[gone]
        self.index.remove(gone)

    def move(self) -> None:
        """A provider goes below another, or becomes a root, with all that is below it."""
        chosen = self._one()
        moving = [chosen]
        for provider in moving:
            moving += [other for other in self.known.values() if other.parent == provider.id]
        others = [provider for provider in self.known.values() if provider not in moving]
        parent = self._draw(st.sampled_from([None, *others]))
        root = parent.root if parent else chosen.id
        changed = [replace(provider, root=root) for provider in moving]
        changed[0] = replace(changed[0], parent=parent.id if parent else "")
        self._tell(self._draw(st.permutations(changed)))

    def inventories(self) -> None:
        own = self._draw(holdings)
        used = {name: self._draw(st.integers(0, 3)) for name in own}
        self._tell([replace(self._one(), inventories=own, used=used)])

    def usage(self) -> None:
        before = self._one()
        used = {name: self._draw(st.integers(0, 4)) for name in before.inventories}
        after = replace(before, used={**before.used, **used}, version=before.version + 1)
        self.known[after.id] = after
        assert self.index.adopt([UsageChange(after.id, used, after.incarnation, after.version, 0)]) == []

    def traits(self) -> None:
        self._tell([replace(self._one(), traits=self._draw(trait_sets))])

    def aggregates(self) -> None:
        self._tell([replace(self._one(), aggregates=self._draw(aggregate_sets))])

    def _one(self) -> ProviderRecord:
        return self._draw(st.sampled_from(list(self.known.values())))

    def _tell(self, changed: list[ProviderRecord]) -> None:
        for provider in changed:
            newer = replace(provider, version=provider.version + 1)
            self.known[newer.id] = newer
            assert self.index.apply(newer)


CHANGES = [
    Changing.add,
    Changing.remove,
    Changing.move,
    Changing.inventories,
    Changing.usage,
    Changing.traits,
    Changing.aggregates,
]


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(
    data=st.data(), cloud=clouds(), query=queries(), changes=st.lists(st.sampled_from(CHANGES), max_size=8)
)
def test_changed_index_is_as_one_built_anew(data, cloud, query, changes):
    cloud_now = Changing(data, cloud)
    for change in changes:
        if cloud_now.known and not (change is Changing.add and len(cloud_now.known) > 6):
            change(cloud_now)
    now = list(cloud_now.known.values())
    found = keys(search(cloud_now.index, query))
    assert found == keys(search(index_of(now), query))
    assert found == plain_search(now, query)


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
