"""The placement database.

Rows refer to each other by number; UUIDs and names are looked up once, at the edge. `resource_providers.generation`
is the public one that writers compare; `version` is our own and counts every change of what a provider is or has,
so that copies in memory can be put in order. `inventories.used` is the sum of the allocations of its row, kept by
the same transactions that write them: it lets the database itself refuse an over-commit with one condition.
`inventories.capacity` is what may be used of it, derived from the other columns when they are written.

An allocation refers to its inventory, so that no inventory goes while anything is allocated of it.
Times are microseconds since the epoch by the database's clock.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from protonova.services.runtime import feeds

metadata = sa.MetaData()

feed_tables = feeds.tables(metadata)

PROVIDER_TOPIC = "providers"
NAME_TOPIC = "names"


def _text(length: int) -> sa.types.TypeEngine[str]:
    """Text that compares by code point in every database."""
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _number() -> sa.types.TypeEngine[int]:
    """SQLite counts up rows by columns declared INTEGER only."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key() -> sa.Column[int]:
    return sa.Column("id", _number(), primary_key=True, autoincrement=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, default=0)


def _reference(name: str, target: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, _number(), sa.ForeignKey(target), primary_key=primary_key, nullable=False)


resource_classes = sa.Table(
    "resource_classes",
    metadata,
    _key(),
    sa.Column("name", _text(255), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

traits = sa.Table(
    "traits",
    metadata,
    _key(),
    sa.Column("name", _text(255), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

aggregates = sa.Table(
    "aggregates",
    metadata,
    _key(),
    sa.Column("uuid", _text(36), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

resource_providers = sa.Table(
    "resource_providers",
    metadata,
    _key(),
    sa.Column("uuid", _text(36), nullable=False, unique=True),
    sa.Column("name", _text(200), nullable=False, unique=True),
    _count("generation"),
    _count("version"),
    # The row's own number at the root; null only between the two statements that make one.
    sa.Column("root_id", _number(), sa.ForeignKey("resource_providers.id"), nullable=True, index=True),
    sa.Column("parent_id", _number(), sa.ForeignKey("resource_providers.id"), nullable=True, index=True),
    _count("created_at"),
    _count("updated_at"),
    sqlite_autoincrement=True,
)

inventories = sa.Table(
    "inventories",
    metadata,
    _reference("provider_id", "resource_providers.id", primary_key=True),
    _reference("resource_class_id", "resource_classes.id", primary_key=True),
    _count("total"),
    _count("reserved"),
    _count("min_unit"),
    _count("max_unit"),
    _count("step_size"),
    sa.Column("allocation_ratio", sa.Double, nullable=False),
    _count("capacity"),
    _count("used"),
    sa.Index("inventories_resource_class_id", "resource_class_id"),
)

provider_traits = sa.Table(
    "provider_traits",
    metadata,
    _reference("provider_id", "resource_providers.id", primary_key=True),
    _reference("trait_id", "traits.id", primary_key=True),
    sa.Index("provider_traits_trait_id", "trait_id"),
)

provider_aggregates = sa.Table(
    "provider_aggregates",
    metadata,
    _reference("provider_id", "resource_providers.id", primary_key=True),
    _reference("aggregate_id", "aggregates.id", primary_key=True),
    sa.Index("provider_aggregates_aggregate_id", "aggregate_id"),
)

consumers = sa.Table(
    "consumers",
    metadata,
    _key(),
    sa.Column("uuid", _text(36), nullable=False, unique=True),
    _count("generation"),
    sa.Column("project_id", _text(255), nullable=False),
    sa.Column("user_id", _text(255), nullable=False),
    # Empty = unknown.
    sa.Column("type", _text(255), nullable=False),
    _count("updated_at"),
    sa.Index("consumers_project_id_user_id", "project_id", "user_id"),
    sqlite_autoincrement=True,
)

allocations = sa.Table(
    "allocations",
    metadata,
    _reference("consumer_id", "consumers.id", primary_key=True),
    sa.Column("provider_id", _number(), primary_key=True),
    sa.Column("resource_class_id", _number(), primary_key=True),
    _count("used"),
    sa.ForeignKeyConstraint(
        ["provider_id", "resource_class_id"],
        ["inventories.provider_id", "inventories.resource_class_id"],
        name="allocations_inventory",
    ),
    sa.Index("allocations_provider_id_resource_class_id", "provider_id", "resource_class_id"),
)

# One row, locked by whoever changes the shape of trees.
tree_lock = sa.Table(
    "tree_lock",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    _count("turn"),
)
