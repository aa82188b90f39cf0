"""The cell database as it begins."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_BINARY = "utf8mb4_bin"
_MESSAGE = sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LONG_TEXT = (
    sa.Text()
    .with_variant(sa.Text(collation="C"), "postgresql")
    .with_variant(mysql.MEDIUMTEXT(collation=_BINARY), "mysql", "mariadb")
)


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation=_BINARY), "mysql", "mariadb")
    )


def upgrade() -> None:
    op.create_table(
        "builds",
        sa.Column("server_id", _text(36), nullable=False),
        sa.Column("build", _MESSAGE, nullable=False),
        sa.PrimaryKeyConstraint("server_id"),
    )
    op.create_table(
        "feed_changes",
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic", "key"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )
    op.create_index("feed_changes_by_revision", "feed_changes", ["topic", "revision"])
    op.create_table(
        "feed_heads",
        sa.Column("topic", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("pruned", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("topic"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "hosts",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("service_id", _text(36), nullable=False),
        sa.Column("host", _text(255), nullable=False),
        sa.Column("node", _text(255), nullable=False),
        sa.Column("node_id", _text(36), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", _text(255), nullable=False),
        sa.Column("forced_down", sa.Boolean(), nullable=False),
        sa.Column("heartbeat_at", sa.BigInteger(), nullable=False),
        sa.Column("reported_up", sa.Boolean(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("report", _MESSAGE, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("host"),
        sa.UniqueConstraint("service_id"),
    )
    op.create_index("ix_hosts_node_id", "hosts", ["node_id"])
    op.create_table(
        "operation_events",
        sa.Column("sequence", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("event", sa.String(length=128), nullable=False),
        sa.Column("direction", sa.String(length=4), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sequence"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
        sqlite_autoincrement=True,
    )
    op.create_index("operation_events_by_operation", "operation_events", ["operation_id", "sequence"])
    op.create_table(
        "operations",
        sa.Column("sequence", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("direction", sa.String(length=4), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("deadline_at", sa.BigInteger(), nullable=False),
        sa.Column("preempted", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("memory", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("context", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("project_id", sa.String(length=255), nullable=False),
        sa.Column("user_id", sa.String(length=255), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("step_started_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sequence"),
        sa.UniqueConstraint("id"),
        mysql_charset="utf8mb4",
        mysql_engine="InnoDB",
        sqlite_autoincrement=True,
    )
    op.create_index("operations_by_subject", "operations", ["subject", "sequence"])
    op.create_index("operations_unfinished", "operations", ["finished_at", "sequence"])
    op.create_table(
        "server_tags",
        sa.Column("server_id", _text(36), nullable=False),
        sa.Column("tag", _text(60), nullable=False),
        sa.PrimaryKeyConstraint("server_id", "tag"),
    )
    op.create_index("ix_server_tags_tag", "server_tags", ["tag"])
    op.create_table(
        "servers",
        sa.Column("number", _NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", _text(36), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("description", _text(255), nullable=False),
        sa.Column("hostname", _text(255), nullable=False),
        sa.Column("reservation_id", _text(255), nullable=False),
        sa.Column("launch_index", sa.Integer(), nullable=False),
        sa.Column("vm_state", sa.SmallInteger(), nullable=False),
        sa.Column("task_state", sa.SmallInteger(), nullable=False),
        sa.Column("power_state", sa.SmallInteger(), nullable=False),
        sa.Column("progress", sa.SmallInteger(), nullable=False),
        sa.Column("locked_by", sa.SmallInteger(), nullable=False),
        sa.Column("host", _text(255), nullable=False),
        sa.Column("node", _text(255), nullable=False),
        sa.Column("availability_zone", _text(255), nullable=False),
        sa.Column("flavor_id", _text(255), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("disk_gb", sa.BigInteger(), nullable=False),
        sa.Column("image_id", _text(64), nullable=False),
        sa.Column("kernel_id", _text(64), nullable=False),
        sa.Column("ramdisk_id", _text(64), nullable=False),
        sa.Column("key_name", _text(255), nullable=False),
        sa.Column("root_device_name", _text(255), nullable=False),
        sa.Column("config_drive", sa.Boolean(), nullable=False),
        sa.Column("auto_disk_config", sa.Boolean(), nullable=False),
        sa.Column("access_ip_v4", _text(64), nullable=False),
        sa.Column("access_ip_v6", _text(64), nullable=False),
        sa.Column("addresses_v4", _LONG_TEXT, nullable=False),
        sa.Column("addresses_v6", _LONG_TEXT, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("launched_at", sa.BigInteger(), nullable=False),
        sa.Column("terminated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=False),
        sa.Column("record", _MESSAGE, nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("ix_servers_created", "servers", ["deleted_at", "created_at", "id"])
    op.create_index("ix_servers_host", "servers", ["host", "deleted_at"])
    op.create_index("ix_servers_project", "servers", ["project_id", "deleted_at", "created_at", "id"])
    op.create_index("ix_servers_updated", "servers", ["updated_at"])
