"""Audits of usage."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0006"
down_revision = "0005"


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.create_table(
        "usage_audits",
        sa.Column("host", _text(255), primary_key=True),
        sa.Column("period_begin", sa.BigInteger, primary_key=True),
        sa.Column("period_end", sa.BigInteger, primary_key=True),
        sa.Column("servers", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("message", _text(255), nullable=False),
        sa.Column("done_at", sa.BigInteger, nullable=False),
        sa.Index("ix_usage_audits_period", "period_end", "period_begin"),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
