"""What servers are charged for beside their flavor while they are being resized."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0005"
down_revision = "0004"


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.create_table(
        "move_charges",
        sa.Column("migration_id", sa.String(length=36), nullable=False),
        sa.Column("server_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("migration_id"),
    )
    op.create_index("ix_move_charges_server_id", "move_charges", ["server_id"], unique=False)


def downgrade() -> None:
    op.drop_table("move_charges")
