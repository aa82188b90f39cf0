"""Servers that were deleted softly keep their mapping and give their quota back."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column(
        "instance_mappings",
        sa.Column("uncharged", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
