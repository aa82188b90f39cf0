"""Providers, inventories, consumers, allocations, names, and the feeds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

from protonova.services.runtime import feeds

revision = "0001"
down_revision = None


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key() -> sa.Column[int]:
    return sa.Column("id", _number(), primary_key=True, autoincrement=True)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False)


def _reference(name: str, target: str) -> sa.Column[int]:
    return sa.Column(name, _number(), sa.ForeignKey(target), primary_key=True, nullable=False)


def upgrade() -> None:
    for table, column, length in (
        ("resource_classes", "name", 255),
        ("traits", "name", 255),
        ("aggregates", "uuid", 36),
    ):
        op.create_table(
            table,
            _key(),
            sa.Column(column, _text(length), nullable=False, unique=True),
            sqlite_autoincrement=True,
        )
    op.create_table(
        "resource_providers",
        _key(),
        sa.Column("uuid", _text(36), nullable=False, unique=True),
        sa.Column("name", _text(200), nullable=False, unique=True),
        _count("generation"),
        _count("version"),
        sa.Column("root_id", _number(), sa.ForeignKey("resource_providers.id"), nullable=True),
        sa.Column("parent_id", _number(), sa.ForeignKey("resource_providers.id"), nullable=True),
        _count("created_at"),
        _count("updated_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_resource_providers_root_id", "resource_providers", ["root_id"])
    op.create_index("ix_resource_providers_parent_id", "resource_providers", ["parent_id"])
    op.create_table(
        "inventories",
        _reference("provider_id", "resource_providers.id"),
        _reference("resource_class_id", "resource_classes.id"),
        _count("total"),
        _count("reserved"),
        _count("min_unit"),
        _count("max_unit"),
        _count("step_size"),
        sa.Column("allocation_ratio", sa.Double, nullable=False),
        _count("capacity"),
        _count("used"),
    )
    op.create_index("inventories_resource_class_id", "inventories", ["resource_class_id"])
    for name, target in (("trait", "traits.id"), ("aggregate", "aggregates.id")):
        table = f"provider_{name}s"
        op.create_table(
            table, _reference("provider_id", "resource_providers.id"), _reference(f"{name}_id", target)
        )
        op.create_index(f"{table}_{name}_id", table, [f"{name}_id"])
    op.create_table(
        "consumers",
        _key(),
        sa.Column("uuid", _text(36), nullable=False, unique=True),
        _count("generation"),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("type", _text(255), nullable=False),
        _count("updated_at"),
        sqlite_autoincrement=True,
    )
    op.create_index("consumers_project_id_user_id", "consumers", ["project_id", "user_id"])
    op.create_table(
        "allocations",
        _reference("consumer_id", "consumers.id"),
        sa.Column("provider_id", _number(), primary_key=True, nullable=False),
        sa.Column("resource_class_id", _number(), primary_key=True, nullable=False),
        _count("used"),
        sa.ForeignKeyConstraint(
            ["provider_id", "resource_class_id"],
            ["inventories.provider_id", "inventories.resource_class_id"],
            name="allocations_inventory",
        ),
    )
    op.create_index(
        "allocations_provider_id_resource_class_id", "allocations", ["provider_id", "resource_class_id"]
    )
    tree_lock = op.create_table(
        "tree_lock",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        _count("turn"),
    )
    op.bulk_insert(tree_lock, [{"id": 1, "turn": 0}])
    shared = sa.MetaData()
    feeds.tables(shared)
    shared.create_all(op.get_bind())
