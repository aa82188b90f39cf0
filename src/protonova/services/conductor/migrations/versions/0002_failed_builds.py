"""Hosts remember how many builds in a row they have refused."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("hosts", sa.Column("failed_builds", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_hosts_failed_builds", "hosts", ["failed_builds"])
