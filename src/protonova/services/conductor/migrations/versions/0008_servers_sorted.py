"""Lists of servers are sorted by what stands in an index."""

from alembic import op

revision = "0008"
down_revision = "0007"

_COLUMNS = [
    "deleted_at",
    "project_id",
    "updated_at",
    "launched_at",
    "host",
    "vm_state",
    "task_state",
    "power_state",
    "id",
]


def upgrade() -> None:
    op.create_index("ix_servers_sorted", "servers", _COLUMNS)
