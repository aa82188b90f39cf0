"""Resource classes and traits that users make: made, renamed, removed.

A name that goes or changes is told to the feed of names, so that every replica forgets it; providers that show a
renamed class are told to the feed of providers.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.placement import refusals, rows, tables
from protonova.services.placement.names import (
    Names,
    Vocabulary,
    check_custom,
    standard_classes,
    standard_traits,
)
from protonova.services.runtime import errors, feeds
from protonova.services.runtime.database import Database

_classes = tables.resource_classes
_traits = tables.traits
_inventories = tables.inventories
_provider_traits = tables.provider_traits
_providers = tables.resource_providers


class CustomNames:
    """Writes both tables of names."""

    def __init__(self, db: Database, vocabulary: Vocabulary) -> None:
        self._db = db
        self._vocabulary = vocabulary

    def ensure_class(self, name: str, *, must_be_new: bool) -> bool:
        """Tells whether it was made. Raises RESOURCE_CLASS_INVALID, RESOURCE_CLASS_EXISTS."""
        check_custom(name, "RESOURCE_CLASS_INVALID")
        created = self._ensure(self._vocabulary.classes, _classes, name)
        if must_be_new and not created:
            raise _class_exists(name)
        return created

    def ensure_trait(self, name: str) -> bool:
        """Tells whether it was made. Raises TRAIT_INVALID."""
        check_custom(name, "TRAIT_INVALID")
        return self._ensure(self._vocabulary.traits, _traits, name)

    def rename_class(self, name: str, new_name: str) -> list[str]:
        """Answers the providers that show the new name. Raises RESOURCE_CLASS_NOT_FOUND, RESOURCE_CLASS_STANDARD,
        RESOURCE_CLASS_INVALID, RESOURCE_CLASS_EXISTS."""
        self._check_own_class(name)
        check_custom(new_name, "RESOURCE_CLASS_INVALID")

        def write(connection: Connection) -> list[str]:
            changed = connection.execute(
                _classes.update().where(_classes.c.name == name).values(name=new_name)
            )
            if changed.rowcount != 1:
                raise refusals.class_not_found(name)
            showing = connection.execute(
                sa.select(_providers.c.id, _providers.c.uuid)
                .join(_inventories, _inventories.c.provider_id == _providers.c.id)
                .join(_classes, _classes.c.id == _inventories.c.resource_class_id)
                .where(_classes.c.name == new_name)
                .order_by(_providers.c.id)
                .with_for_update(of=_providers)
            ).all()
            rows.touch_quietly(connection, [id_ for id_, _ in showing])
            uuids = [uuid for _, uuid in showing]
            feeds.publish(connection, tables.NAME_TOPIC, [_classes.name])
            rows.tell(connection, uuids)
            return uuids

        try:
            changed = self._db.write(write)
        except sa.exc.IntegrityError:
            raise _class_exists(new_name) from None
        self._vocabulary.classes.reload()
        return changed

    def delete_class(self, name: str) -> None:
        """Raises RESOURCE_CLASS_NOT_FOUND, RESOURCE_CLASS_STANDARD, RESOURCE_CLASS_IN_USE."""
        self._check_own_class(name)
        self._delete(
            _classes,
            name,
            refusals.class_not_found(name),
            errors.FailedPrecondition(
                f"Some provider has inventory of {name}.", reason="RESOURCE_CLASS_IN_USE", resource_class=name
            ),
        )
        self._vocabulary.classes.reload()

    def delete_trait(self, name: str) -> None:
        """Raises TRAIT_NOT_FOUND, TRAIT_STANDARD, TRAIT_IN_USE."""
        if name in standard_traits():
            raise errors.InvalidArgument(f"{name} is a standard trait.", reason="TRAIT_STANDARD", trait=name)
        self._delete(
            _traits,
            name,
            refusals.trait_not_found(name),
            errors.FailedPrecondition(
                f"Some provider has the trait {name}.", reason="TRAIT_IN_USE", trait=name
            ),
        )
        self._vocabulary.traits.reload()

    def traits(self, names: Sequence[str], prefix: str, associated: bool | None) -> list[str]:
        """Sorted; `associated` True = those some provider has, False = those none has."""
        query = sa.select(_traits.c.name)
        if names:
            query = query.where(_traits.c.name.in_(names))
        if prefix:
            query = query.where(_traits.c.name.startswith(prefix, autoescape=True))
        if associated is not None:
            used = sa.exists(
                sa.select(_provider_traits.c.trait_id).where(_provider_traits.c.trait_id == _traits.c.id)
            )
            query = query.where(used if associated else ~used)
        found = self._db.read(lambda connection: connection.execute(query).scalars().all())
        # To some databases the prefix is the same in small letters.
        return sorted(name for name in found if name.startswith(prefix))

    def _ensure(self, names: Names, table: sa.Table, name: str) -> bool:
        def write(connection: Connection) -> bool:
            there = sa.select(table.c.id).where(table.c.name == name)
            if connection.execute(there).first() is not None:
                return False
            connection.execute(table.insert().values(name=name))
            return True

        try:
            created = self._db.write(write)
        except sa.exc.IntegrityError:  # somebody else made it meanwhile
            created = False
        if created:
            names.reload()
        return created

    def _check_own_class(self, name: str) -> None:
        if name in standard_classes():
            raise errors.InvalidArgument(
                f"{name} is a standard resource class.", reason="RESOURCE_CLASS_STANDARD", resource_class=name
            )

    def _delete(self, table: sa.Table, name: str, not_found: errors.Error, in_use: errors.Error) -> None:
        def write(connection: Connection) -> None:
            if connection.execute(table.delete().where(table.c.name == name)).rowcount != 1:
                raise not_found
            feeds.publish(connection, tables.NAME_TOPIC, [table.name])

        try:
            self._db.write(write)
        except sa.exc.IntegrityError:
            raise in_use from None


def _class_exists(name: str) -> errors.AlreadyExists:
    return errors.AlreadyExists(
        f"There is a resource class {name} already.", reason="RESOURCE_CLASS_EXISTS", resource_class=name
    )
