"""Host aggregates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "aggregates",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "aggregate_hosts",
        sa.Column("aggregate_number", _number(), nullable=False),
        sa.Column("host", _text(255), nullable=False),
        sa.Column("node_id", sa.String(length=36), nullable=False),
        sa.Column("mirrored", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["aggregate_number"], ["aggregates.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("aggregate_number", "host"),
    )
    op.create_index("ix_aggregate_hosts_host", "aggregate_hosts", ["host"], unique=False)
    op.create_table(
        "aggregate_metadata",
        sa.Column("aggregate_number", _number(), nullable=False),
        sa.Column("key", _text(255), nullable=False),
        sa.Column("value", _text(255), nullable=False),
        sa.ForeignKeyConstraint(["aggregate_number"], ["aggregates.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("aggregate_number", "key"),
    )


def downgrade() -> None:
    for table in ("aggregate_metadata", "aggregate_hosts", "aggregates"):
        op.drop_table(table)
