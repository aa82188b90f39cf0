"""When a server was last switched to another cell."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("instance_mappings", sa.Column("switched_at", sa.BigInteger()))
    op.create_index("ix_instance_mappings_switched", "instance_mappings", ["switched_at"])
