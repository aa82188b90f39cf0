"""Migrations: servers on their way from one host to another."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0003"
down_revision = "0002"


def _text(name: str, length: int = 255) -> sa.Column[str]:
    kind = (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    op.create_table(
        "migrations",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        _text("id", 36),
        _text("server_id", 36),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        sa.Column("status", sa.SmallInteger, nullable=False),
        _text("source_host"),
        _text("dest_host"),
        _text("project_id"),
        _text("user_id"),
        sa.Column("abort_requested", sa.Boolean, nullable=False),
        sa.Column("force_requested", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column(
            "record", sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb"), nullable=False
        ),
        sa.UniqueConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_migrations_server", "migrations", ["server_id", "status"])
    op.create_index("ix_migrations_created", "migrations", ["created_at", "number"])
    op.create_index("ix_migrations_source", "migrations", ["source_host", "status"])
    op.create_index("ix_migrations_dest", "migrations", ["dest_host", "status"])


def downgrade() -> None:
    op.drop_table("migrations")
