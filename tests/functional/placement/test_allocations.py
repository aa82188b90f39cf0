"""What consumers hold: claims, generations, usages, reshapes."""

from __future__ import annotations

import pytest

from protonova.placement.v1 import allocation_pb2 as pb
from protonova.placement.v1 import resource_provider_pb2
from protonova.services.runtime import errors
from tests.functional.placement.refused import refused
from tests.support.placement import Placement, consumer_message

SIZES = {"VCPU": 8, "MEMORY_MB": 1000}


def shown(placement: Placement, consumer: str) -> pb.GetAllocationsResponse:
    return placement.allocations.GetAllocations(pb.GetAllocationsRequest(consumer_id=consumer))


def test_a_claim_is_held_counted_and_released(placement: Placement, new_id):
    host, consumer = placement.provider(inventories=SIZES), new_id()
    placement.claim(consumer, {host: {"VCPU": 3, "MEMORY_MB": 10}}, project="p1", user="u1", check="NEW")
    answer = shown(placement, consumer)
    assert (answer.consumer.project_id, answer.consumer.user_id) == ("p1", "u1")
    assert (answer.consumer.consumer_type, answer.consumer.generation) == ("INSTANCE", 1)
    assert dict(answer.provider_generations) == {host: 2}
    assert answer.updated_at.seconds > 1_600_000_000
    assert placement.held(consumer) == {host: {"VCPU": 3, "MEMORY_MB": 10}}
    assert placement.used(host) == {"VCPU": 3, "MEMORY_MB": 10}
    of_provider = placement.allocations.ListProviderAllocations(
        pb.ListProviderAllocationsRequest(provider_id=host)
    )
    (one,) = of_provider.allocations
    assert (of_provider.provider_generation, one.consumer_id, one.consumer_generation) == (2, consumer, 1)
    assert dict(one.resources.amounts) == {"VCPU": 3, "MEMORY_MB": 10}
    placement.release(consumer)
    assert placement.held(consumer) == {}
    assert placement.used(host) == {"VCPU": 0, "MEMORY_MB": 0}
    # A release does not raise the generation.
    assert placement.generation(host) == 2
    with refused(errors.NotFound, "ALLOCATION_NOT_FOUND", consumer_id=consumer):
        placement.release(consumer)
    with refused(errors.NotFound, "PROVIDER_NOT_FOUND"):
        placement.allocations.ListProviderAllocations(pb.ListProviderAllocationsRequest(provider_id=new_id()))


def test_a_claim_replaces_everything(placement: Placement, new_id):
    first, second = placement.provider(inventories=SIZES), placement.provider(inventories=SIZES)
    consumer = new_id()
    placement.claim(consumer, {first: {"VCPU": 3}, second: {"MEMORY_MB": 5}})
    placement.claim(consumer, {second: {"VCPU": 8}}, project="other", type_="MIGRATION")
    assert placement.held(consumer) == {second: {"VCPU": 8}}
    assert placement.used(first) == {"VCPU": 0, "MEMORY_MB": 0}
    assert placement.used(second) == {"VCPU": 8, "MEMORY_MB": 0}
    assert (placement.generation(first), placement.generation(second)) == (3, 3)
    answer = shown(placement, consumer).consumer
    assert (answer.generation, answer.project_id, answer.consumer_type) == (2, "other", "MIGRATION")
    placement.claim(consumer, {})
    assert placement.held(consumer) == {}
    assert shown(placement, consumer).consumer.generation == 0
    # Nothing where nothing was is no change.
    placement.claim(consumer, {}, check="NEW")
    assert placement.generation(second) == 4


def test_generations_of_consumers(placement: Placement, new_id):
    host, consumer = placement.provider(inventories=SIZES), new_id()
    one = {host: {"VCPU": 1}}
    with refused(errors.Aborted, "CONCURRENT_UPDATE", consumer_id=consumer):
        placement.claim(consumer, one, check="EXACT", generation=1)
    placement.claim(consumer, one, check="NEW")
    for fields in ({"check": "NEW"}, {"check": "EXACT", "generation": 2}, {"check": "EXACT"}):
        with refused(errors.Aborted, "CONCURRENT_UPDATE", consumer_id=consumer):
            placement.claim(consumer, one, **fields)
    placement.claim(consumer, one, check="EXACT", generation=1)
    assert shown(placement, consumer).consumer.generation == 2
    placement.claim(consumer, {}, check="EXACT", generation=2)
    placement.claim(consumer, one, check="NEW")
    assert shown(placement, consumer).consumer.generation == 1


@pytest.mark.parametrize(
    ("amounts", "reason"),
    [
        ({"VCPU": 5}, "CAPACITY_EXCEEDED"),
        ({"VCPU": 2**40}, "ALLOCATION_INVALID"),
        ({"MEMORY_MB": 3}, "ALLOCATION_INVALID"),
        ({"MEMORY_MB": 34}, "ALLOCATION_INVALID"),
        ({"MEMORY_MB": 5}, "ALLOCATION_INVALID"),
        ({"DISK_GB": 1}, "ALLOCATION_INVALID"),
        ({"VCPU": 0}, "ALLOCATION_INVALID"),
    ],
)
def test_claims_that_are_refused(placement: Placement, new_id, amounts, reason):
    host = placement.provider(
        inventories={
            "VCPU": {"total": 4, "reserved": 1, "allocation_ratio": 1.4},
            "MEMORY_MB": {"total": 100, "min_unit": 4, "max_unit": 32, "step_size": 2},
        }
    )
    consumer = new_id()
    (name,) = amounts
    with refused(errors.FailedPrecondition, reason, provider_id=host, resource_class=name):
        placement.claim(consumer, {host: {"VCPU": 1, **amounts}})
    assert placement.held(consumer) == {}
    assert placement.generation(host) == 1
    placement.claim(consumer, {host: {"VCPU": 4, "MEMORY_MB": 4}})


def test_unknown_names_are_refused(placement: Placement, new_id):
    host = placement.provider(inventories=SIZES)
    with refused(errors.NotFound, "PROVIDER_NOT_FOUND"):
        placement.claim(new_id(), {host: {"VCPU": 1}, new_id(): {"VCPU": 1}})
    with refused(errors.NotFound, "RESOURCE_CLASS_NOT_FOUND", resource_class="CUSTOM_NEVER"):
        placement.claim(new_id(), {host: {"CUSTOM_NEVER": 1}})
    assert placement.used(host) == {"VCPU": 0, "MEMORY_MB": 0}


def test_many_consumers_are_one_change(placement: Placement, new_id):
    first, second = placement.provider(inventories=SIZES), placement.provider(inventories={"VCPU": 2})
    a, b, c = new_id(), new_id(), new_id()
    placement.claim_many({a: {first: {"VCPU": 4}}, b: {first: {"VCPU": 4}}})
    assert placement.generation(first) == 3
    with refused(errors.FailedPrecondition, "CAPACITY_EXCEEDED", provider_id=second):
        placement.claim_many({c: {second: {"VCPU": 2}}, a: {first: {"VCPU": 1}, second: {"VCPU": 1}}})
    assert placement.held(c) == {}
    # What one gives up another may take in the same change.
    placement.claim_many({a: {}, b: {second: {"VCPU": 2}}, c: {first: {"VCPU": 8}}})
    assert placement.used(first)["VCPU"] == 8
    assert placement.used(second)["VCPU"] == 2
    with refused(errors.InvalidArgument, "ALLOCATION_INVALID"):
        placement.allocations.ReplaceAllocations(
            pb.ReplaceAllocationsRequest(consumers=[consumer_message(a, {}), consumer_message(a, {})])
        )


def usages(placement: Placement, project: str, user: str = "", type_: str = "") -> dict:
    answer = placement.allocations.GetUsages(
        pb.GetUsagesRequest(project_id=project, user_id=user, consumer_type=type_)
    )
    return {group.consumer_type: (group.consumer_count, dict(group.resources)) for group in answer.groups}


def test_usages_of_projects(placement: Placement, new_id):
    host, project = placement.provider(inventories=SIZES), new_id()
    for user, type_, vcpus in (
        ("u1", "INSTANCE", 1),
        ("u1", "MIGRATION", 2),
        ("u2", "INSTANCE", 3),
        ("u2", "", 1),
    ):
        placement.claim(
            new_id(), {host: {"VCPU": vcpus, "MEMORY_MB": 10}}, project=project, user=user, type_=type_
        )
    instances, migrations = (2, {"VCPU": 4, "MEMORY_MB": 20}), (1, {"VCPU": 2, "MEMORY_MB": 10})
    unknown = (1, {"VCPU": 1, "MEMORY_MB": 10})
    everything = {"INSTANCE": instances, "MIGRATION": migrations, "unknown": unknown}
    assert usages(placement, project) == everything
    assert usages(placement, project, type_="all") == {"all": (4, {"VCPU": 7, "MEMORY_MB": 40})}
    assert usages(placement, project, type_="unknown") == {"unknown": unknown}
    assert usages(placement, project, type_="MIGRATION") == {"MIGRATION": migrations}
    assert usages(placement, project, "u1", "INSTANCE") == {"INSTANCE": (1, {"VCPU": 1, "MEMORY_MB": 10})}
    assert usages(placement, new_id()) == {}


def reshape(placement: Placement, inventories, consumers) -> None:
    """`inventories`: generation and totals by provider."""
    placement.allocations.Reshape(
        pb.ReshapeRequest(
            inventories=[
                pb.ReshapeInventory(
                    provider_id=provider,
                    generation=generation,
                    inventories={
                        name: resource_provider_pb2.Inventory(total=total) for name, total in totals.items()
                    },
                )
                for provider, (generation, totals) in inventories.items()
            ],
            consumers=[consumer_message(id_, held) for id_, held in consumers.items()],
        )
    )


def test_a_reshape_moves_inventory_and_allocations_together(placement: Placement, new_id):
    host = placement.provider(inventories={"VCPU": 8, "VGPU": 2})
    child = placement.provider("", parent=host)
    consumer = new_id()
    placement.claim(consumer, {host: {"VCPU": 2, "VGPU": 2}})
    before = placement.generation(host)
    moved = {consumer: {host: {"VCPU": 2}, child: {"VGPU": 2}}}
    shapes = {host: (before, {"VCPU": 8}), child: (0, {"VGPU": 2})}
    with refused(errors.FailedPrecondition, "INVENTORY_IN_USE", provider_id=host, resource_class="VGPU"):
        reshape(placement, shapes, {})
    with refused(errors.Aborted, "CONCURRENT_UPDATE", provider_id=host):
        reshape(placement, {**shapes, host: (before - 1, {"VCPU": 8})}, moved)
    with refused(errors.NotFound, "PROVIDER_NOT_FOUND"):
        reshape(placement, {**shapes, new_id(): (0, {"VCPU": 8})}, moved)
    with refused(errors.FailedPrecondition, "CAPACITY_EXCEEDED", provider_id=child):
        reshape(placement, {**shapes, child: (0, {"VGPU": 1})}, moved)
    assert placement.held(consumer) == {host: {"VCPU": 2, "VGPU": 2}}
    reshape(placement, shapes, moved)
    assert placement.held(consumer) == moved[consumer]
    assert placement.used(host) == {"VCPU": 2}
    assert placement.used(child) == {"VGPU": 2}
    assert (placement.generation(host), placement.generation(child)) == (before + 1, 1)


@pytest.mark.parametrize("named", ["", "00000000-0000-0000-0000-000000000000"])
def test_consumers_that_name_nobody_are_those_of_the_configured(sqlite_placement, new_id, named):
    placement = sqlite_placement(
        placement__incomplete_consumer_project_id="lost", placement__incomplete_consumer_user_id="found"
    )
    host, consumer, other = placement.provider(inventories=SIZES), new_id(), new_id()
    placement.claim(consumer, {host: {"VCPU": 1}}, project=named, user=named, type_="")
    placement.claim(other, {host: {"VCPU": 2}}, project="p1", user=named, type_="")
    answers = [shown(placement, each).consumer for each in (consumer, other)]
    assert [(each.project_id, each.user_id) for each in answers] == [("lost", "found"), ("p1", "found")]
    assert usages(placement, "lost") == {"unknown": (1, {"VCPU": 1})}
    placement.release(consumer)
    assert usages(placement, "lost") == {}
