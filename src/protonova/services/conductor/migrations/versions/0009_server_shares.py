"""Shares of servers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0009"
down_revision = "0008"


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.create_table(
        "server_shares",
        sa.Column("server_id", _text(36), primary_key=True),
        sa.Column("share_id", _text(36), primary_key=True),
        sa.Column("needs_access", sa.Boolean, nullable=False),
        sa.Index("ix_server_shares_share", "share_id"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
