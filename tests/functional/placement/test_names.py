"""Resource classes and traits."""

from __future__ import annotations

import pytest

from protonova.placement.v1 import resource_class_pb2 as class_pb
from protonova.placement.v1 import trait_pb2 as trait_pb
from protonova.services.runtime import errors
from tests.functional.placement.refused import refused
from tests.support.placement import Placement


def ensure_class(placement: Placement, name: str, **fields) -> bool:
    request = class_pb.EnsureResourceClassRequest(name=name, **fields)
    return placement.classes.EnsureResourceClass(request).created


def delete_class(placement: Placement, name: str) -> None:
    placement.classes.DeleteResourceClass(class_pb.DeleteResourceClassRequest(name=name))


def rename_class(placement: Placement, name: str, new_name: str) -> None:
    placement.classes.RenameResourceClass(class_pb.RenameResourceClassRequest(name=name, new_name=new_name))


def classes(placement: Placement) -> list[str]:
    return list(placement.classes.ListResourceClasses(class_pb.ListResourceClassesRequest()).names)


def ensure_trait(placement: Placement, name: str) -> bool:
    return placement.traits.EnsureTrait(trait_pb.EnsureTraitRequest(name=name)).created


def delete_trait(placement: Placement, name: str) -> None:
    placement.traits.DeleteTrait(trait_pb.DeleteTraitRequest(name=name))


def traits(placement: Placement, **fields) -> list[str]:
    return list(placement.traits.ListTraits(trait_pb.ListTraitsRequest(**fields)).traits)


def test_classes(placement: Placement):
    assert {"VCPU", "MEMORY_MB", "DISK_GB", "PCPU"} <= set(classes(placement))
    assert ensure_class(placement, "CUSTOM_ONE")
    assert not ensure_class(placement, "CUSTOM_ONE")
    with refused(errors.AlreadyExists, "RESOURCE_CLASS_EXISTS"):
        ensure_class(placement, "CUSTOM_ONE", must_be_new=True)
    assert ensure_class(placement, "CUSTOM_TWO", must_be_new=True)
    provider = placement.provider(inventories={"CUSTOM_ONE": 1})
    with refused(errors.FailedPrecondition, "RESOURCE_CLASS_IN_USE"):
        delete_class(placement, "CUSTOM_ONE")
    with refused(errors.AlreadyExists, "RESOURCE_CLASS_EXISTS"):
        rename_class(placement, "CUSTOM_ONE", "CUSTOM_TWO")
    rename_class(placement, "CUSTOM_ONE", "CUSTOM_THREE")
    assert placement.used(provider) == {"CUSTOM_THREE": 0}
    delete_class(placement, "CUSTOM_TWO")
    custom = [name for name in classes(placement) if name.startswith("CUSTOM_")]
    assert custom == ["CUSTOM_THREE"]
    for call in (delete_class, lambda p, name: rename_class(p, name, "CUSTOM_FOUR")):
        with refused(errors.NotFound, "RESOURCE_CLASS_NOT_FOUND"):
            call(placement, "CUSTOM_TWO")
        with refused(errors.InvalidArgument, "RESOURCE_CLASS_STANDARD"):
            call(placement, "VCPU")


@pytest.mark.parametrize("name", ["", "VCPU", "NEW", "CUSTOM_", "CUSTOM_a", "CUSTOM_" + "A" * 249])
def test_names_that_users_may_not_make(placement: Placement, name):
    with refused(errors.InvalidArgument, "RESOURCE_CLASS_INVALID"):
        ensure_class(placement, name)
    with refused(errors.InvalidArgument, "TRAIT_INVALID"):
        ensure_trait(placement, name)


def test_traits(placement: Placement):
    assert len(traits(placement)) >= 370
    assert ensure_trait(placement, "CUSTOM_RED")
    assert not ensure_trait(placement, "CUSTOM_RED")
    ensure_trait(placement, "CUSTOM_R_D")
    assert traits(placement, prefix="CUSTOM_R") == ["CUSTOM_RED", "CUSTOM_R_D"]
    assert traits(placement, prefix="CUSTOM_R_") == ["CUSTOM_R_D"]
    assert traits(placement, names=["CUSTOM_RED", "HW_CPU_X86_AVX", "NO"]) == ["CUSTOM_RED", "HW_CPU_X86_AVX"]
    placement.provider(traits=["CUSTOM_RED"])
    assert traits(placement, prefix="CUSTOM_", associated=True) == ["CUSTOM_RED"]
    assert traits(placement, prefix="CUSTOM_", associated=False) == ["CUSTOM_R_D"]
    with refused(errors.FailedPrecondition, "TRAIT_IN_USE"):
        delete_trait(placement, "CUSTOM_RED")
    delete_trait(placement, "CUSTOM_R_D")
    with refused(errors.NotFound, "TRAIT_NOT_FOUND"):
        delete_trait(placement, "CUSTOM_R_D")
    with refused(errors.InvalidArgument, "TRAIT_STANDARD"):
        delete_trait(placement, "HW_CPU_X86_AVX")
