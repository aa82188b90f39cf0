"""Filters and weighers: those that come with the scheduler, and those of installed packages.

A package adds its own by entry points in `protonova.scheduler.filters` and `protonova.scheduler.weighers`: a name
and the class. They are loaded when an operator names them, and never because they are there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TypeVar, cast

from protonova.services.runtime import errors

T = TypeVar("T")

# What stands for everything that comes with the scheduler, in our words and in those of older configurations.
_ALL = frozenset({"all", "nova.scheduler.filters.all_filters", "nova.scheduler.weights.all_weighers"})


def find(name: str, built_in: Mapping[str, type[T]], group: str, base: type) -> type[T] | None:
    """The class of a name, None when there is none. Raises PLUGIN_INVALID."""
    if (known := built_in.get(name)) is not None:
        return known
    entries = tuple(metadata.entry_points(group=group, name=name))
    if not entries:
        return None
    try:
        found = entries[0].load()
    except Exception as error:
        raise _invalid(name, entries[0].value, f"cannot be loaded: {error}") from error
    if not isinstance(found, type) or not issubclass(found, base):
        raise _invalid(name, entries[0].value, f"is no {base.__name__}")
    return cast(type[T], found)


def named(options: Iterable[str], built_in: Iterable[str]) -> list[str]:
    """The names an option lists, "all" spelled out, each once; of a class with its module, the class."""
    found: list[str] = []
    for text in (part.strip() for option in options for part in option.split(",")):
        if text in _ALL:
            found.extend(built_in)
        elif text:
            found.append(text.rpartition(".")[2])
    return list(dict.fromkeys(found))


def _invalid(name: str, value: str, what: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"The plug-in {name} ({value}) {what}.", reason="PLUGIN_INVALID", plugin=name
    )
