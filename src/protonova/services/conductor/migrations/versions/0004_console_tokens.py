"""Tokens of consoles."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0004"
down_revision = "0003"


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.create_table(
        "console_tokens",
        sa.Column("token_hash", sa.String(64), primary_key=True),
        sa.Column("server_id", _text(36), nullable=False),
        sa.Column("type", _text(32), nullable=False),
        sa.Column("guest_host", _text(255), nullable=False),
        sa.Column("host", _text(255), nullable=False),
        sa.Column("port", sa.Integer, nullable=False),
        sa.Column("tls_port", sa.Integer, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Index("ix_console_tokens_expires", "expires_at"),
        sa.Index("ix_console_tokens_server", "server_id"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
