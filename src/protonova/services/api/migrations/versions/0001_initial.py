"""The first schema of the API database."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _message() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "build_requests",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("reservation_id", sa.String(length=36), nullable=False),
        sa.Column("operation_id", sa.String(length=36), nullable=False),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("cell_id", sa.String(length=36), nullable=True),
        sa.Column("vm_state", sa.Integer(), nullable=False),
        sa.Column("server", _message(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_build_requests_project", "build_requests", ["project_id", "created_at"], unique=False)
    op.create_index("ix_build_requests_reservation_id", "build_requests", ["reservation_id"], unique=False)
    op.create_table(
        "cells",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("conductor_target", sa.Text(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
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
    op.create_index("feed_changes_by_revision", "feed_changes", ["topic", "revision"], unique=False)
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
        "flavors",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("id", _text(255), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("root_gb", sa.BigInteger(), nullable=False),
        sa.Column("ephemeral_gb", sa.BigInteger(), nullable=False),
        sa.Column("swap_mb", sa.BigInteger(), nullable=False),
        sa.Column("rxtx_factor", sa.Float(), nullable=False),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "host_mappings",
        sa.Column("host", _text(255), nullable=False),
        sa.Column("binary_name", _text(64), nullable=False),
        sa.Column("cell_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("host", "binary_name"),
    )
    op.create_index("ix_host_mappings_cell_id", "host_mappings", ["cell_id"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("key", _text(255), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("reservation_id", sa.String(length=36), nullable=False),
        sa.Column("response", _message(), nullable=False),
        sa.Column("admin_password", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "key"),
    )
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_index(
        "ix_idempotency_keys_reservation_id", "idempotency_keys", ["reservation_id"], unique=False
    )
    op.create_table(
        "instance_mappings",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("cell_id", sa.String(length=36), nullable=True),
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("reservation_id", sa.String(length=36), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("summary", _message(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("delete_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "ix_instance_mappings_cell",
        "instance_mappings",
        ["cell_id", "project_id", "created_at"],
        unique=False,
    )
    op.create_index(
        "ix_instance_mappings_reservation_id", "instance_mappings", ["reservation_id"], unique=False
    )
    op.create_table(
        "keypairs",
        sa.Column("number", _number(), autoincrement=True, nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("type", sa.Integer(), nullable=False),
        sa.Column("public_key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=255), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("user_id", "name", name="uq_keypairs_user_name"),
    )
    op.create_table(
        "operation_events",
        sa.Column("sequence", _number(), autoincrement=True, nullable=False),
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
    op.create_index(
        "operation_events_by_operation", "operation_events", ["operation_id", "sequence"], unique=False
    )
    op.create_table(
        "operations",
        sa.Column("sequence", _number(), autoincrement=True, nullable=False),
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
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("memory", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("context", sa.JSON(), nullable=False),
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
    op.create_index("operations_by_subject", "operations", ["subject", "sequence"], unique=False)
    op.create_index("operations_unfinished", "operations", ["finished_at", "sequence"], unique=False)
    op.create_table(
        "quota_classes",
        sa.Column("class_name", _text(255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("class_name", "resource"),
    )
    op.create_table(
        "quota_usages",
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("instances", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cores", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("ram", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("key_pairs", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id"),
    )
    op.create_table(
        "quotas",
        sa.Column("project_id", _text(255), nullable=False),
        sa.Column("user_id", _text(255), nullable=False),
        sa.Column("resource", sa.String(length=64), nullable=False),
        sa.Column("hard_limit", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project_id", "user_id", "resource"),
    )
    op.create_table(
        "flavor_access",
        sa.Column("flavor_number", _number(), nullable=False),
        sa.Column("project_id", _text(255), nullable=False),
        sa.ForeignKeyConstraint(["flavor_number"], ["flavors.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flavor_number", "project_id"),
    )
    op.create_index("ix_flavor_access_project_id", "flavor_access", ["project_id"], unique=False)
    op.create_table(
        "flavor_extra_specs",
        sa.Column("flavor_number", _number(), nullable=False),
        sa.Column("key", _text(255), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["flavor_number"], ["flavors.number"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("flavor_number", "key"),
    )


def downgrade() -> None:
    for table in (
        "flavor_extra_specs",
        "flavor_access",
        "quotas",
        "quota_usages",
        "quota_classes",
        "operations",
        "operation_events",
        "keypairs",
        "instance_mappings",
        "idempotency_keys",
        "host_mappings",
        "flavors",
        "feed_heads",
        "feed_changes",
        "cells",
        "build_requests",
    ):
        op.drop_table(table)
