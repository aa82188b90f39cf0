"""A project's servers are found in the order of their names."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("ix_servers_name", "servers", ["project_id", "deleted_at", "name", "id"])
