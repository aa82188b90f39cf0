"""Names of resource classes and traits, and their numbers, in memory.

The tables `resource_classes` and `traits` own them. Numbers never change what they stand for, and names go or
change so rarely that a copy is kept: it is read anew when somebody asks for a name or number it does not have,
and when the feed of names tells that one went or got another name. Whatever a stale copy says, the foreign keys
of the database keep numbers that are gone from being used.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

import sqlalchemy as sa

from protonova.services.placement import refusals, tables
from protonova.services.runtime import errors
from protonova.services.runtime.database import Database, insert_ignore

_CUSTOM = re.compile(r"CUSTOM_[A-Z0-9_]+")
_LONGEST = 255


class Names:
    """One table of names."""

    def __init__(self, db: Database, table: sa.Table) -> None:
        self._db = db
        self._table = table
        self._numbers: Mapping[str, int] = {}
        self._names: Mapping[int, str] = {}

    def reload(self) -> None:
        rows = self._db.read(
            lambda connection: connection.execute(sa.select(self._table.c.id, self._table.c.name)).all()
        )
        self._numbers = {row.name: row.id for row in rows}
        self._names = {row.id: row.name for row in rows}

    def add(self, names: Iterable[str]) -> None:
        """Makes sure that names are there: one query when they are."""
        self.reload()
        missing = [{"name": name} for name in sorted(set(names) - self._numbers.keys())]
        if missing:
            self._db.write(lambda connection: insert_ignore(connection, self._table, missing))
            self.reload()

    def number(self, name: str) -> int | None:
        found = self._numbers.get(name)
        if found is None:
            self.reload()
            found = self._numbers.get(name)
        return found

    def name(self, number: int) -> str | None:
        found = self._names.get(number)
        if found is None:
            self.reload()
            found = self._names.get(number)
        return found

    def all(self) -> list[str]:
        """Everything there is now, sorted."""
        self.reload()
        return sorted(self._numbers)


class Vocabulary:
    """Both tables of names."""

    def __init__(self, db: Database) -> None:
        self.classes = Names(db, tables.resource_classes)
        self.traits = Names(db, tables.traits)

    def synchronize(self) -> None:
        """Makes sure of the standard names; cheap when nothing is missing."""
        self.classes.add(standard_classes())
        self.traits.add(standard_traits())

    def reload(self) -> None:
        self.classes.reload()
        self.traits.reload()

    def class_number(self, name: str) -> int:
        """Raises RESOURCE_CLASS_NOT_FOUND."""
        number = self.classes.number(name)
        if number is None:
            raise refusals.class_not_found(name)
        return number

    def trait_number(self, name: str) -> int:
        """Raises TRAIT_NOT_FOUND."""
        number = self.traits.number(name)
        if number is None:
            raise refusals.trait_not_found(name)
        return number

    def class_name(self, number: int) -> str:
        return self.classes.name(number) or f"unknown-{number}"

    def trait_name(self, number: int) -> str:
        return self.traits.name(number) or f"unknown-{number}"


@cache
def standard_classes() -> frozenset[str]:
    import os_resource_classes

    return frozenset(os_resource_classes.STANDARDS)


@cache
def standard_traits() -> frozenset[str]:
    import os_traits

    return frozenset(os_traits.get_traits())


def check_custom(name: str, reason: str) -> None:
    """Raises InvalidArgument with the reason unless a user may make such a name."""
    if not _CUSTOM.fullmatch(name) or len(name) > _LONGEST:
        raise errors.InvalidArgument(
            f"'{name}' is not CUSTOM_ followed by upper-case letters, digits and underscores"
            f" (at most {_LONGEST} characters).",
            reason=reason,
            name=name,
        )
