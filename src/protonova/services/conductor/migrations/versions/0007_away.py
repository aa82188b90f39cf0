"""Migrations that are kept for a server that is in another cell now."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("migrations", sa.Column("away", sa.Boolean(), nullable=False, server_default=sa.false()))
