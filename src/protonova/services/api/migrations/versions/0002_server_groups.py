"""Server groups: their members and the hosts these have been given, and a counter of groups."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"


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
        "server_groups",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("policy", sa.Integer(), nullable=False),
        sa.Column("max_server_per_host", sa.Integer(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_server_groups_project_id", "server_groups", ["project_id"], unique=False)
    op.create_table(
        "server_group_members",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("group_number", _number(), nullable=False),
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.ForeignKeyConstraint(["group_number"], ["server_groups.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("server_id"),
    )
    op.create_index("ix_server_group_members_group", "server_group_members", ["group_number"], unique=False)
    op.create_table(
        "server_group_places",
        sa.Column("group_number", _number(), nullable=False),
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("host", _text(255), nullable=False),
        sa.ForeignKeyConstraint(["group_number"], ["server_groups.number"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["server_id"], ["server_group_members.server_id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("server_id", "host"),
    )
    op.create_index("ix_server_group_places_group", "server_group_places", ["group_number"], unique=False)
    op.add_column(
        "quota_usages", sa.Column("server_groups", sa.BigInteger(), server_default="0", nullable=False)
    )


def downgrade() -> None:
    op.drop_column("quota_usages", "server_groups")
    for table in ("server_group_places", "server_group_members", "server_groups"):
        op.drop_table(table)
