"""The API database: the global facts of a region, and the index that leads to a server's cell.

Owned by this service alone. What a server *is* belongs to the conductor of its cell; here stands only where it
is (`instance_mappings`), what it counts for in quotas, and, until it has a cell, what was asked (`build_requests`).
Times are microseconds since the epoch by the database's clock.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    types,
)
from sqlalchemy.dialects import mysql

from protonova.services.runtime import feeds, operations

metadata = MetaData()

CELLS_TOPIC = "cells"
BUILDS_TOPIC = "builds"
AGGREGATES_TOPIC = "aggregates"


def _text(length: int) -> types.TypeEngine[str]:
    """Text compared byte by byte on every database, so that two names differing in case are two names."""
    return (
        String(length)
        .with_variant(String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _number() -> types.TypeEngine[int]:
    """A number the database counts up by itself."""
    return BigInteger().with_variant(Integer(), "sqlite")


def _message() -> types.TypeEngine[bytes]:
    """A serialized contract message, up to 16 MiB."""
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


cells = Table(
    "cells",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", _text(255), nullable=False),
    Column("conductor_target", Text, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

# Where a host was last seen, to name the hosts of a cell that does not answer.
host_mappings = Table(
    "host_mappings",
    metadata,
    Column("host", _text(255), primary_key=True),
    Column("binary_name", _text(64), primary_key=True),
    Column("cell_id", String(36), nullable=False, index=True),
)

instance_mappings = Table(
    "instance_mappings",
    metadata,
    Column("id", String(36), primary_key=True),
    # Set when the cell has taken the server over, and when another one has.
    Column("cell_id", String(36)),
    # When it was last switched from one cell to another.
    Column("switched_at", BigInteger),
    Column("project_id", _text(255), nullable=False),
    Column("user_id", _text(255), nullable=False),
    Column("reservation_id", String(36), nullable=False, index=True),
    # What the server was charged for.
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
    # While it is deleted softly it counts for nothing.
    Column("uncharged", Boolean, nullable=False, default=False, server_default=false()),
    # A Server with the few fields shown while its cell does not answer.
    Column("summary", _message(), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    # A deletion asked for while the server was being handed to its cell.
    Column("delete_requested_at", BigInteger),
    # Set once, together with the return of the quota.
    Column("deleted_at", BigInteger),
    Index("ix_instance_mappings_switched", "switched_at"),
    Index("ix_instance_mappings_cell", "cell_id", "project_id", "created_at"),
)

# What servers were charged for beside that, while they are being resized: one row a move.
move_charges = Table(
    "move_charges",
    metadata,
    Column("migration_id", String(36), primary_key=True),
    Column("server_id", String(36), nullable=False, index=True),
    Column("project_id", _text(255), nullable=False),
    Column("user_id", _text(255), nullable=False),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
)

build_requests = Table(
    "build_requests",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("reservation_id", String(36), nullable=False, index=True),
    Column("operation_id", String(36), nullable=False),
    Column("project_id", _text(255), nullable=False),
    # The cell it is being handed to; from then on only that operation may remove the row.
    Column("cell_id", String(36)),
    Column("vm_state", Integer, nullable=False),
    Column("server", _message(), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("ix_build_requests_project", "project_id", "created_at"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("project_id", _text(255), primary_key=True),
    Column("key", _text(255), primary_key=True),
    Column("request_hash", String(64), nullable=False),
    Column("reservation_id", String(36), nullable=False, index=True),
    Column("response", _message(), nullable=False),
    # Empty as soon as the servers are built.
    Column("admin_password", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
)

flavors = Table(
    "flavors",
    metadata,
    Column("number", _number(), primary_key=True, autoincrement=True),
    Column("id", _text(255), nullable=False, unique=True),
    Column("name", _text(255), nullable=False, unique=True),
    Column("description", Text),
    Column("vcpus", Integer, nullable=False),
    Column("memory_mb", BigInteger, nullable=False),
    Column("root_gb", BigInteger, nullable=False),
    Column("ephemeral_gb", BigInteger, nullable=False),
    Column("swap_mb", BigInteger, nullable=False),
    Column("rxtx_factor", Float, nullable=False),
    Column("is_public", Boolean, nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger),
)

flavor_extra_specs = Table(
    "flavor_extra_specs",
    metadata,
    Column("flavor_number", _number(), ForeignKey("flavors.number", ondelete="CASCADE"), primary_key=True),
    Column("key", _text(255), primary_key=True),
    Column("value", Text, nullable=False),
)

flavor_access = Table(
    "flavor_access",
    metadata,
    Column("flavor_number", _number(), ForeignKey("flavors.number", ondelete="CASCADE"), primary_key=True),
    Column("project_id", _text(255), primary_key=True, index=True),
)

keypairs = Table(
    "keypairs",
    metadata,
    Column("number", _number(), primary_key=True, autoincrement=True),
    Column("user_id", _text(255), nullable=False),
    Column("name", _text(255), nullable=False),
    Column("type", Integer, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("fingerprint", String(255), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    UniqueConstraint("user_id", "name", name="uq_keypairs_user_name"),
)

# Limits set for a project (empty user) or for a user within one.
quotas = Table(
    "quotas",
    metadata,
    Column("project_id", _text(255), primary_key=True),
    Column("user_id", _text(255), primary_key=True),
    Column("resource", String(64), primary_key=True),
    Column("hard_limit", BigInteger, nullable=False),
)

quota_classes = Table(
    "quota_classes",
    metadata,
    Column("class_name", _text(255), primary_key=True),
    Column("resource", String(64), primary_key=True),
    Column("hard_limit", BigInteger, nullable=False),
)

# What is used: one row a project (empty user), one for each user within it, and one a user (empty project)
# for what users own across projects. A counter changes only in the transaction of the record it counts.
quota_usages = Table(
    "quota_usages",
    metadata,
    Column("project_id", _text(255), primary_key=True),
    Column("user_id", _text(255), primary_key=True),
    Column("instances", BigInteger, nullable=False, server_default="0"),
    Column("cores", BigInteger, nullable=False, server_default="0"),
    Column("ram", BigInteger, nullable=False, server_default="0"),
    Column("key_pairs", BigInteger, nullable=False, server_default="0"),
    Column("server_groups", BigInteger, nullable=False, server_default="0"),
)

server_groups = Table(
    "server_groups",
    metadata,
    Column("number", _number(), primary_key=True, autoincrement=True),
    Column("id", String(36), nullable=False, unique=True),
    Column("project_id", _text(255), nullable=False, index=True),
    Column("user_id", _text(255), nullable=False),
    Column("name", _text(255), nullable=False),
    Column("policy", Integer, nullable=False),
    # As the user said it; NULL = one.
    Column("max_server_per_host", Integer),
    # Raised by every change of the places.
    Column("generation", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

# Living members, numbered as they joined. A server is in one group at most.
server_group_members = Table(
    "server_group_members",
    metadata,
    Column("number", _number(), primary_key=True, autoincrement=True),
    Column("group_number", _number(), ForeignKey("server_groups.number", ondelete="CASCADE"), nullable=False),
    Column("server_id", String(36), nullable=False, unique=True),
    # Whose limit of members it counts for.
    Column("user_id", _text(255), nullable=False),
    Index("ix_server_group_members_group", "group_number"),
)

# Hosts that members are on, go to or come from.
server_group_places = Table(
    "server_group_places",
    metadata,
    Column("group_number", _number(), ForeignKey("server_groups.number", ondelete="CASCADE"), nullable=False),
    Column(
        "server_id",
        String(36),
        ForeignKey("server_group_members.server_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("host", _text(255), primary_key=True),
    Index("ix_server_group_places_group", "group_number"),
)

aggregates = Table(
    "aggregates",
    metadata,
    Column("number", _number(), primary_key=True, autoincrement=True),
    # Also the id of its mirror in placement.
    Column("id", String(36), nullable=False, unique=True),
    Column("name", _text(255), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger),
    # A number is never used again: clients may still hold it.
    sqlite_autoincrement=True,
)

aggregate_hosts = Table(
    "aggregate_hosts",
    metadata,
    Column(
        "aggregate_number", _number(), ForeignKey("aggregates.number", ondelete="CASCADE"), primary_key=True
    ),
    Column("host", _text(255), primary_key=True, index=True),
    # The provider that has the aggregate in placement, or is about to; empty = none was found yet.
    Column("node_id", String(36), nullable=False),
    # Whether it has it by what is known here.
    Column("mirrored", Boolean, nullable=False),
)

aggregate_metadata = Table(
    "aggregate_metadata",
    metadata,
    Column(
        "aggregate_number", _number(), ForeignKey("aggregates.number", ondelete="CASCADE"), primary_key=True
    ),
    Column("key", _text(255), primary_key=True),
    Column("value", _text(255), nullable=False),
)

operation_tables = operations.tables(metadata)
feed_tables = feeds.tables(metadata)
