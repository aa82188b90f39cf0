"""The errors of placement, one maker each, so that reason and facts are the same wherever one arises."""

from __future__ import annotations

from protonova.services.runtime import errors


def provider_not_found(provider_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no resource provider {provider_id}.", reason="PROVIDER_NOT_FOUND", provider_id=provider_id
    )


def provider_changed(provider_id: str) -> errors.Aborted:
    return errors.Aborted(
        f"Resource provider {provider_id} was changed meanwhile: its generation is another one.",
        reason="CONCURRENT_UPDATE",
        provider_id=provider_id,
    )


def consumer_changed(consumer_id: str, expected: str, found: str) -> errors.Aborted:
    return errors.Aborted(
        f"Consumer {consumer_id} was changed meanwhile: expected generation {expected}, it is {found}.",
        reason="CONCURRENT_UPDATE",
        consumer_id=consumer_id,
    )


def contended() -> errors.Aborted:
    return errors.Aborted(
        "Other writers kept changing the same allocations meanwhile.", reason="CONCURRENT_UPDATE"
    )


def class_not_found(name: str) -> errors.NotFound:
    return errors.NotFound(
        f"There is no resource class {name}.", reason="RESOURCE_CLASS_NOT_FOUND", resource_class=name
    )


def trait_not_found(name: str) -> errors.NotFound:
    return errors.NotFound(f"There is no trait {name}.", reason="TRAIT_NOT_FOUND", trait=name)


def inventory_not_found(provider_id: str, name: str) -> errors.NotFound:
    return errors.NotFound(
        f"Resource provider {provider_id} has no inventory of {name}.",
        reason="INVENTORY_NOT_FOUND",
        provider_id=provider_id,
        resource_class=name,
    )


def inventory_in_use(provider_id: str, name: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Inventory of {name} on resource provider {provider_id} is in use.",
        reason="INVENTORY_IN_USE",
        provider_id=provider_id,
        resource_class=name,
    )


def capacity_exceeded(provider_id: str, name: str, asked: int, free: int) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"Resource provider {provider_id} has {max(free, 0)} of {name} free, {asked} more are asked.",
        reason="CAPACITY_EXCEEDED",
        provider_id=provider_id,
        resource_class=name,
    )


def allocation_invalid(provider_id: str, name: str, why: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(
        f"An allocation of {name} on resource provider {provider_id} is not possible: {why}.",
        reason="ALLOCATION_INVALID",
        provider_id=provider_id,
        resource_class=name,
    )


def allocation_not_found(consumer_id: str) -> errors.NotFound:
    return errors.NotFound(
        f"Consumer {consumer_id} holds nothing.", reason="ALLOCATION_NOT_FOUND", consumer_id=consumer_id
    )


def query_too_hard() -> errors.InvalidArgument:
    return errors.InvalidArgument(
        "The groups can be combined in too many ways: the search was given up before it found a candidate, though"
        " there may be one. Fewer groups, or more conditions on them, make it shorter.",
        reason="QUERY_TOO_HARD",
    )
