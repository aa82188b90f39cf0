"""The index follows what is committed: own writes at once, those of other replicas soon, all of it after a start.
The same feed is what watchers elsewhere get."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from protonova.placement.v1 import resource_class_pb2, trait_pb2
from protonova.placement.v1 import resource_provider_pb2 as pb
from protonova.services.runtime import errors
from tests.functional.placement.refused import refused
from tests.support.placement import Placement, group


def soon(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
    return True


def hosts(placement: Placement, vcpus: int = 1, **fields) -> set[str]:
    return {
        provider for found in placement.candidates(group("", {"VCPU": vcpus}, **fields)) for provider in found
    }


def test_own_writes_show_at_once_and_those_of_others_soon(replica, new_id):
    one, two = replica(), replica()
    host = one.provider(inventories={"VCPU": 2})
    assert hosts(one) == {host}
    assert soon(lambda: hosts(two) == {host})
    consumer = new_id()
    one.claim(consumer, {host: {"VCPU": 2}})
    assert hosts(one) == set()
    assert soon(lambda: hosts(two) == set())
    two.release(consumer)
    assert hosts(two) == {host}
    assert soon(lambda: hosts(one) == {host})
    red = {"required": [["CUSTOM_RED"]]}
    two.traits.EnsureTrait(trait_pb2.EnsureTraitRequest(name="CUSTOM_RED"))
    two.providers.ReplaceProviderTraits(pb.ReplaceProviderTraitsRequest(id=host, traits=["CUSTOM_RED"]))
    assert hosts(two, **red) == {host}
    assert soon(lambda: hosts(one, **red) == {host})
    child = one.provider(parent=host, inventories={"VCPU": 1})
    assert hosts(one) == {host, child}
    assert soon(lambda: hosts(two) == {host, child})
    two.providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=child))
    assert hosts(two) == {host}
    assert soon(lambda: hosts(one) == {host})


def test_a_stale_answer_only_costs_a_retry(replica, new_id):
    """What was free when a candidate was told may be gone: the claim says so."""
    one, two = replica(), replica()
    host = one.provider(inventories={"VCPU": 1})
    assert soon(lambda: hosts(two) == {host})
    (candidate,) = two.candidates(group("", {"VCPU": 1}))
    one.claim(new_id(), candidate)
    with refused(errors.FailedPrecondition, "CAPACITY_EXCEEDED", provider_id=host):
        two.claim(new_id(), candidate)
    assert two.used(host) == {"VCPU": 1}


def test_a_start_builds_the_index(replica, new_id):
    first = replica()
    kept = [first.provider(inventories={"VCPU": 4}) for _ in range(3)]
    gone = first.provider(inventories={"VCPU": 4})
    first.providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=gone))
    first.claim(new_id(), {kept[0]: {"VCPU": 3}})
    second = replica()
    assert hosts(second) == set(kept)
    assert hosts(second, 2) == set(kept[1:])


def test_a_start_reads_page_by_page(replica, new_id, monkeypatch):
    """However pages fall: trees lie across them, providers are gone between them."""
    first = replica()
    rack = new_id()
    root = first.provider("root", inventories={"VCPU": 4}, traits=["HW_CPU_X86_AVX"], aggregates=[rack])
    gone = [first.provider(inventories={"VCPU": 4}) for _ in range(3)]
    child = first.provider("child", parent=root, inventories={"VGPU": {"total": 4, "step_size": 2}})
    plain = [first.provider(aggregates=[rack]) for _ in range(2)]
    for id_ in gone:
        first.providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=id_))
    first.claim(new_id(), {root: {"VCPU": 3}, child: {"VGPU": 2}})

    def snapshot(placement: Placement) -> dict[str, pb.ProviderState]:
        stream = placement.providers.WatchProviders(pb.WatchProvidersRequest())
        states = {}
        for change in stream:
            if change.snapshot_end:
                stream.cancel()
                return states
            change.state.provider.ClearField("updated_at")
            states[change.state.provider.id] = change.state
        raise AssertionError("the stream ended within its snapshot")

    expected = snapshot(first)
    assert set(expected) == {root, child, *plain}
    assert dict(expected[child].usages) == {"VGPU": 2}
    for size in (1, 2, 3):
        monkeypatch.setattr("protonova.services.placement.loading._PAGE", size)
        second = replica()
        assert snapshot(second) == expected
        wanted = [group("", {"VCPU": 1}), group("gpu", {"VGPU": 2})]
        assert second.candidates(*wanted) == [{root: {"VCPU": 1}, child: {"VGPU": 2}}]
        assert second.candidates(group("", {"VCPU": 2})) == []


def test_renamed_classes_show_everywhere(replica):
    one, two = replica(), replica()
    one.classes.EnsureResourceClass(resource_class_pb2.EnsureResourceClassRequest(name="CUSTOM_OLD"))
    host = one.provider(inventories={"CUSTOM_OLD": 1})
    one.classes.RenameResourceClass(
        resource_class_pb2.RenameResourceClassRequest(name="CUSTOM_OLD", new_name="CUSTOM_NEW")
    )
    for placement in (one, two):
        assert soon(
            lambda each=placement: (
                each.candidates(group("", {"CUSTOM_NEW": 1})) == [{host: {"CUSTOM_NEW": 1}}]
            )
        )


def test_the_provider_feed(replica, new_id):
    placement = replica()
    aggregate = new_id()
    host = placement.provider(
        "host", inventories={"VCPU": 4}, traits=["HW_CPU_X86_AVX"], aggregates=[aggregate]
    )
    stream = placement.providers.WatchProviders(pb.WatchProvidersRequest())
    state = next(stream).state
    assert (state.provider.id, state.provider.name, state.provider.root_id) == (host, "host", host)
    assert (state.inventories["VCPU"].total, dict(state.usages)) == (4, {"VCPU": 0})
    assert (list(state.traits), list(state.aggregates)) == (["HW_CPU_X86_AVX"], [aggregate])
    end = next(stream)
    assert end.snapshot_end
    assert end.revision > 0
    placement.claim(new_id(), {host: {"VCPU": 3}})
    # What came right before the snapshot may be told once more.
    change = next(change for change in stream if dict(change.state.usages) == {"VCPU": 3})
    assert change.revision > end.revision
    other = placement.provider("other")
    assert next(change for change in stream if change.state.provider.id != host).state.provider.id == other
    placement.providers.DeleteResourceProvider(pb.DeleteResourceProviderRequest(id=other))
    assert next(gone_of(stream)) == other
    stream.cancel()
    resumed = placement.providers.WatchProviders(pb.WatchProvidersRequest(resume_revision=end.revision))
    assert next(gone_of(resumed)) == other
    resumed.cancel()


def gone_of(stream) -> Iterator[str]:
    for change in stream:
        if change.deleted_provider_id:
            yield change.deleted_provider_id
