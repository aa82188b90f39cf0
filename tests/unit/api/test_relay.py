"""Calls that are carried as bytes: both contracts must mean the same by them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor

from protonova.conductor import v1 as conductor
from protonova.services.api import main
from protonova.services.api.relay import carried

_POOL = descriptor_pool.Default()
for _module in pkgutil.iter_modules(conductor.__path__, f"{conductor.__name__}."):
    importlib.import_module(_module.name)


def _carried() -> list[tuple[str, str]]:
    """(service, method) of all servicers of the api process."""
    return [
        (base.__name__.removesuffix("Servicer"), method)
        for servicer in vars(main).values()
        if inspect.isclass(servicer)
        for base in servicer.__mro__
        if base.__module__.startswith("protonova.api.v1.")
        for method, how in vars(servicer).items()
        if isinstance(how, carried)
    ]


def _fields(message: Descriptor) -> dict[str, tuple[int, int, bool, bool, str]]:
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.has_presence,
            field.message_type.full_name.replace(".conductor.", ".api.") if field.message_type else "",
        )
        for field in message.fields
    }


def test_some_are_carried() -> None:
    assert ("ServerService", "StopServer") in _carried()


@pytest.mark.parametrize(("service", "method"), _carried())
def test_both_sides_have_the_same_fields(service: str, method: str) -> None:
    own = _POOL.FindServiceByName(f"protonova.api.v1.{service}").methods_by_name[method]
    other = _POOL.FindServiceByName(f"protonova.conductor.v1.{service}").methods_by_name[method]
    pairs = [(own.input_type, other.input_type), (own.output_type, other.output_type)]
    for mine, theirs in pairs:
        assert _fields(mine) == _fields(theirs)
        # Messages inside may be of either contract: they are held to the same.
        pairs += [
            (mine.fields_by_name[name].message_type, theirs.fields_by_name[name].message_type)  # type: ignore[misc]
            for name, (*_, inner) in _fields(mine).items()
            if inner.startswith("protonova.api.")
        ]
