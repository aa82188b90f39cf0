"""Providers, their trees, and what hangs on them."""

from __future__ import annotations

import pytest

from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.placement.refused import refused
from tests.support.placement import Placement


def show(placement: Placement, provider: str) -> pb.ResourceProvider:
    return placement.providers.GetResourceProvider(pb.GetResourceProviderRequest(id=provider)).provider


def update(placement: Placement, provider: str, name: str, **fields) -> pb.ResourceProvider:
    request = pb.UpdateResourceProviderRequest(id=provider, name=name, **fields)
    return placement.providers.UpdateResourceProvider(request).provider


def delete(placement: Placement, provider: str) -> None:
    placement.providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=provider))


def found(placement: Placement, **fields) -> set[str]:
    request = pb.ListResourceProvidersRequest(**fields)
    return {each.id for each in placement.providers.ListResourceProviders(request).providers}


def traits(placement: Placement, provider: str, names: list[str], generation: int | None = None):
    request = pb.ReplaceProviderTraitsRequest(id=provider, traits=names, generation=generation)
    return placement.providers.ReplaceProviderTraits(request)


def aggregates(placement: Placement, provider: str, uuids: list[str], generation: int | None = None):
    request = pb.ReplaceProviderAggregatesRequest(id=provider, aggregates=uuids, generation=generation)
    return placement.providers.ReplaceProviderAggregates(request)


def test_a_provider_is_made_shown_renamed_and_removed(placement: Placement, new_id):
    id_, name = new_id(), new_id()
    made = placement.providers.CreateResourceProvider(
        pb.CreateResourceProviderRequest(id=id_, name=name)
    ).provider
    assert (made.id, made.name, made.generation, made.parent_id, made.root_id) == (id_, name, 0, "", id_)
    assert made.updated_at.seconds > 1_600_000_000
    assert show(placement, id_) == made
    renamed = update(placement, id_, f"{name}-2")
    assert (renamed.name, renamed.generation) == (f"{name}-2", 0)
    delete(placement, id_)
    for call in (show, delete):
        with refused(errors.NotFound, "PROVIDER_NOT_FOUND", provider_id=id_):
            call(placement, id_)


def test_an_id_is_made_where_none_is_given(placement: Placement, new_id):
    request = pb.CreateResourceProviderRequest(name=new_id())
    assert len(placement.providers.CreateResourceProvider(request).provider.id) == 36


def test_names_and_ids_are_unique(placement: Placement, new_id):
    name = new_id()
    first = placement.provider(name)
    other = placement.provider()
    for fields in ({"name": name}, {"name": new_id(), "id": first}):
        with refused(errors.AlreadyExists, "DUPLICATE_NAME"):
            placement.providers.CreateResourceProvider(pb.CreateResourceProviderRequest(**fields))
    with refused(errors.AlreadyExists, "DUPLICATE_NAME"):
        update(placement, other, name)
    assert placement.provider(name.upper())


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_names_have_bounds(placement: Placement, name):
    with refused(errors.InvalidArgument, "PROVIDER_INVALID"):
        placement.providers.CreateResourceProvider(pb.CreateResourceProviderRequest(name=name))


def test_trees(placement: Placement, new_id):
    root = placement.provider()
    child = placement.provider("", parent=root)
    leaf = placement.provider("", parent=child)
    other = placement.provider()
    assert (show(placement, leaf).parent_id, show(placement, leaf).root_id) == (child, root)
    assert found(placement, in_tree=child) == {root, child, leaf}
    assert found(placement, in_tree=new_id()) == set()
    with refused(errors.FailedPrecondition, "PROVIDER_HAS_CHILDREN"):
        delete(placement, child)
    with refused(errors.InvalidArgument, "PARENT_NOT_FOUND"):
        placement.provider(new_id(), parent=new_id())
    for below in (child, leaf):
        with refused(errors.InvalidArgument, "PROVIDER_LOOP"):
            update(placement, child, child, change_parent=True, parent_id=below)
    own = new_id()
    with refused(errors.InvalidArgument, "PROVIDER_LOOP"):
        placement.providers.CreateResourceProvider(
            pb.CreateResourceProviderRequest(id=own, name=own, parent_id=own)
        )
    # The whole subtree goes along.
    moved = update(placement, child, child, change_parent=True, parent_id=other)
    assert (moved.parent_id, moved.root_id, moved.generation) == (other, other, 0)
    assert show(placement, leaf).root_id == other
    assert found(placement, in_tree=other) == {other, child, leaf}
    assert update(placement, child, child, change_parent=True).root_id == child
    assert show(placement, leaf).root_id == child


def test_older_callers_give_a_parent_once(placement: Placement):
    first, second, child = placement.provider(), placement.provider(), placement.provider()
    for parent in (first, first):
        update(placement, child, child, change_parent=True, parent_id=parent, first_parent_only=True)
    for parent in (second, ""):
        with refused(errors.FailedPrecondition, "REPARENT_REFUSED"):
            update(placement, child, child, change_parent=True, parent_id=parent, first_parent_only=True)


def test_a_provider_in_use_stays(placement: Placement, new_id):
    provider = placement.provider(inventories={"VCPU": 4}, traits=["HW_CPU_X86_AVX"], aggregates=[new_id()])
    consumer = new_id()
    placement.claim(consumer, {provider: {"VCPU": 1}})
    with refused(errors.FailedPrecondition, "PROVIDER_IN_USE"):
        delete(placement, provider)
    placement.release(consumer)
    delete(placement, provider)


def test_inventories_change_by_class_or_whole(placement: Placement):
    provider = placement.provider()
    full = {
        "total": 10,
        "reserved": 2,
        "min_unit": 2,
        "max_unit": 8,
        "step_size": 2,
        "allocation_ratio": 1.5,
    }
    answer = placement.set_inventories(provider, {"VCPU": full, "DISK_GB": 5}, generation=0)
    assert answer.generation == 1
    assert answer.inventories["VCPU"] == pb.Inventory(**full)
    assert answer.inventories["DISK_GB"] == pb.Inventory(
        total=5, min_unit=1, max_unit=2147483647, step_size=1, allocation_ratio=1.0
    )
    placement.set_inventories(provider, {"MEMORY_MB": 7}, "ADD")
    placement.set_inventories(provider, {"VCPU": 3}, "UPDATE", generation=2)
    answer = placement.set_inventories(provider, {"DISK_GB": 0}, "REMOVE")
    assert {name: own.total for name, own in answer.inventories.items()} == {"VCPU": 3, "MEMORY_MB": 7}
    shown = placement.providers.GetInventories(pb.GetInventoriesRequest(id=provider))
    assert (shown.generation, shown.inventories) == (4, answer.inventories)
    assert not placement.set_inventories(provider, {}).inventories


@pytest.mark.parametrize(
    ("change", "inventories", "kind", "reason"),
    [
        ("ADD", {"VCPU": 1}, errors.AlreadyExists, "INVENTORY_EXISTS"),
        ("UPDATE", {"DISK_GB": 1}, errors.NotFound, "INVENTORY_NOT_FOUND"),
        ("REMOVE", {"DISK_GB": 1}, errors.NotFound, "INVENTORY_NOT_FOUND"),
        ("REPLACE_ALL", {"CUSTOM_NEVER": 1}, errors.NotFound, "RESOURCE_CLASS_NOT_FOUND"),
        ("REPLACE_ALL", {"VCPU": 0}, errors.InvalidArgument, "INVENTORY_INVALID"),
        ("REPLACE_ALL", {"VCPU": 2147483648}, errors.InvalidArgument, "INVENTORY_INVALID"),
        ("ADD", {"DISK_GB": {"total": 1, "reserved": 2}}, errors.InvalidArgument, "INVENTORY_INVALID"),
        ("ADD", {"DISK_GB": {"total": 1, "min_unit": -1}}, errors.InvalidArgument, "INVENTORY_INVALID"),
        (
            "ADD",
            {"DISK_GB": {"total": 1, "allocation_ratio": -1}},
            errors.InvalidArgument,
            "INVENTORY_INVALID",
        ),
        (
            "ADD",
            {"DISK_GB": {"total": 1, "allocation_ratio": 1e39}},
            errors.InvalidArgument,
            "INVENTORY_INVALID",
        ),
        ("UNSPECIFIED", {"DISK_GB": 1}, errors.InvalidArgument, "INVENTORY_INVALID"),
    ],
)
def test_inventories_that_are_refused(placement: Placement, change, inventories, kind, reason):
    provider = placement.provider(inventories={"VCPU": 1})
    with refused(kind, reason):
        placement.set_inventories(provider, inventories, change)
    assert placement.generation(provider) == 1


def test_everything_may_be_reserved_where_allowed(placement: Placement):
    provider = placement.provider()
    all_reserved = {"VCPU": {"total": 2, "reserved": 2}}
    with refused(errors.InvalidArgument, "INVENTORY_INVALID", resource_class="VCPU"):
        placement.set_inventories(provider, all_reserved, allow_full_reservation=False)
    placement.set_inventories(provider, all_reserved)


def test_inventory_in_use_shrinks_but_stays(placement: Placement, new_id):
    provider = placement.provider(inventories={"VCPU": 4, "MEMORY_MB": 100})
    consumer = new_id()
    placement.claim(consumer, {provider: {"VCPU": 3}})
    for change, inventories in (("REMOVE", {"VCPU": 0}), ("REPLACE_ALL", {"MEMORY_MB": 1})):
        with refused(errors.FailedPrecondition, "INVENTORY_IN_USE", resource_class="VCPU"):
            placement.set_inventories(provider, inventories, change)
    placement.set_inventories(provider, {"VCPU": 2}, "UPDATE")
    with refused(errors.FailedPrecondition, "CAPACITY_EXCEEDED"):
        placement.claim(new_id(), {provider: {"VCPU": 1}})
    # What is not more than before is taken, however little there is.
    placement.claim(consumer, {provider: {"VCPU": 3, "MEMORY_MB": 1}})
    placement.claim(consumer, {provider: {"VCPU": 2}})


def test_generations_are_compared(placement: Placement, new_id):
    provider = placement.provider(inventories={"VCPU": 4})
    placement.claim(new_id(), {provider: {"VCPU": 1}})
    assert placement.generation(provider) == 2
    calls = (
        lambda generation: placement.set_inventories(provider, {"VCPU": 5}, generation=generation),
        lambda generation: traits(placement, provider, ["HW_CPU_X86_AVX"], generation),
        lambda generation: aggregates(placement, provider, [new_id()], generation),
    )
    for expected, call in enumerate(calls, start=3):
        with refused(errors.Aborted, "CONCURRENT_UPDATE", provider_id=provider):
            call(expected - 2)
        assert call(expected - 1).generation == expected


def test_traits_and_aggregates_are_replaced_whole(placement: Placement, new_id):
    provider = placement.provider()
    answer = traits(placement, provider, ["HW_CPU_X86_AVX2", "HW_CPU_X86_AVX"])
    assert (answer.generation, list(answer.traits)) == (1, ["HW_CPU_X86_AVX", "HW_CPU_X86_AVX2"])
    # The same again is no change.
    assert traits(placement, provider, ["HW_CPU_X86_AVX", "HW_CPU_X86_AVX2"], 1).generation == 1
    assert traits(placement, provider, [], 1).generation == 2
    with refused(errors.NotFound, "TRAIT_NOT_FOUND", trait="CUSTOM_NEVER"):
        traits(placement, provider, ["CUSTOM_NEVER"])
    first, second = sorted((new_id(), new_id()))
    answer = aggregates(placement, provider, [second, first], 2)
    assert (answer.generation, list(answer.aggregates)) == (3, [first, second])
    # Without a generation it is not raised.
    assert aggregates(placement, provider, [second]).generation == 3
    shown = placement.providers.GetProviderAggregates(pb.GetProviderAggregatesRequest(id=provider))
    assert (shown.generation, list(shown.aggregates)) == (3, [second])


def test_lists_are_filtered(placement: Placement, new_id):
    aggregate, other = new_id(), new_id()
    one = placement.provider(
        inventories={"VCPU": {"total": 8, "max_unit": 4, "step_size": 2}, "DISK_GB": 10},
        traits=["HW_CPU_X86_AVX", "HW_CPU_X86_SSE"],
        aggregates=[aggregate],
    )
    two = placement.provider(
        inventories={"VCPU": 8}, traits=["HW_CPU_X86_SSE"], aggregates=[aggregate, other]
    )
    three = placement.provider(inventories={"VCPU": 8}, aggregates=[other])
    placement.claim(new_id(), {three: {"VCPU": 7}})
    trait = lambda *names: pb.TraitCondition(any_of=names)  # noqa: E731
    member = lambda *uuids: pb.AggregateCondition(any_of=uuids)  # noqa: E731
    everyone = member(aggregate, other)
    for fields, expected in (
        ({}, {one, two, three}),
        ({"name": one}, {one}),
        ({"id": two}, {two}),
        ({"id": new_id()}, set()),
        ({"resources": {"VCPU": 2}}, {one, two}),
        ({"resources": {"VCPU": 1}}, {two, three}),
        ({"resources": {"VCPU": 6}}, {two}),
        ({"resources": {"VCPU": 2, "DISK_GB": 10}}, {one}),
        ({"resources": {"VGPU": 1}}, set()),
        ({"required_traits": [trait("HW_CPU_X86_SSE")]}, {one, two}),
        ({"required_traits": [trait("HW_CPU_X86_SSE"), trait("HW_CPU_X86_AVX")]}, {one}),
        ({"required_traits": [trait("HW_CPU_X86_AVX", "HW_CPU_X86_SSE")]}, {one, two}),
        ({"forbidden_traits": ["HW_CPU_X86_AVX"]}, {two, three}),
        ({"member_of": [member(aggregate)]}, {one, two}),
        ({"member_of": [member(aggregate), member(other)]}, {two}),
        ({"forbidden_aggregates": [other]}, {one}),
        ({"member_of": [member(new_id())]}, set()),
    ):
        fields = {**fields, "member_of": [*fields.get("member_of", []), everyone]}
        assert found(placement, **fields) == expected, fields
    with refused(errors.NotFound, "TRAIT_NOT_FOUND"):
        found(placement, required_traits=[trait("NO_SUCH")])
    with refused(errors.NotFound, "RESOURCE_CLASS_NOT_FOUND"):
        found(placement, resources={"NO_SUCH": 1})
    with refused(errors.InvalidArgument, "QUERY_INVALID", parameter="resources"):
        found(placement, resources={"VCPU": 0})


@pytest.mark.parametrize(
    "call",
    [
        lambda p, id_: p.set_inventories(id_, {}),
        lambda p, id_: traits(p, id_, []),
        lambda p, id_: aggregates(p, id_, []),
        lambda p, id_: update(p, id_, "name"),
        lambda p, id_: p.used(id_),
        lambda p, id_: p.providers.GetInventories(pb.GetInventoriesRequest(id=id_)),
        lambda p, id_: p.providers.GetProviderTraits(pb.GetProviderTraitsRequest(id=id_)),
        lambda p, id_: p.providers.GetProviderAggregates(pb.GetProviderAggregatesRequest(id=id_)),
    ],
)
def test_providers_that_are_not_there(placement: Placement, new_id, call):
    id_ = new_id()
    with refused(errors.NotFound, "PROVIDER_NOT_FOUND", provider_id=id_):
        call(placement, id_)
