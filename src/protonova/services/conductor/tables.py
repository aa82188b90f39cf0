"""The cell database.

A server is one message, `servers.record`; the other columns of its row are an index of that message, written with
it, for filters, sorting and compare-and-set. Hosts are kept the same way: `hosts.report` is what the agent said
last, the columns beside it are the cell's own. Operations, their events and feeds are the runtime's tables.

Texts compare by code point in every database, because lists are merged over cells that may not use the same one.
Times are microseconds since the epoch by the database's clock, 0 = never.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

from protonova.services.runtime import feeds, operations

metadata = sa.MetaData()

operation_tables = operations.tables(metadata)
feed_tables = feeds.tables(metadata)

SERVER_TOPIC = "servers"
HOST_TOPIC = "hosts"

_BINARY_COLLATION = "utf8mb4_bin"


def text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.String(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, collation=_BINARY_COLLATION), "mysql", "mariadb")
    )


def long_text() -> sa.types.TypeEngine[str]:
    return (
        sa.Text()
        .with_variant(sa.Text(collation="C"), "postgresql")
        .with_variant(mysql.MEDIUMTEXT(collation=_BINARY_COLLATION), "mysql", "mariadb")
    )


def message() -> sa.types.TypeEngine[bytes]:
    return sa.LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


def number() -> sa.types.TypeEngine[int]:
    """SQLite counts up rows by columns declared INTEGER only."""
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, length: int = 255) -> sa.Column[str]:
    return sa.Column(name, text(length), nullable=False, default="")


def _integer(name: str, kind: type[sa.Integer] = sa.Integer) -> sa.Column[int]:
    return sa.Column(name, kind, nullable=False, default=0)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False, default=False)


def _time(name: str) -> sa.Column[int]:
    return _integer(name, sa.BigInteger)


servers = sa.Table(
    "servers",
    metadata,
    sa.Column("number", number(), primary_key=True, autoincrement=True),
    sa.Column("id", text(36), nullable=False, unique=True),
    _integer("generation", sa.BigInteger),
    _text("project_id"),
    _text("user_id"),
    _text("name"),
    _text("description"),
    _text("hostname"),
    _text("reservation_id"),
    _integer("launch_index"),
    _integer("vm_state", sa.SmallInteger),
    _integer("task_state", sa.SmallInteger),
    _integer("power_state", sa.SmallInteger),
    _integer("progress", sa.SmallInteger),
    _integer("locked_by", sa.SmallInteger),
    _text("host"),
    _text("node"),
    _text("availability_zone"),
    _text("flavor_id"),
    _integer("vcpus"),
    _integer("memory_mb", sa.BigInteger),
    _integer("disk_gb", sa.BigInteger),
    _text("image_id", 64),
    _text("kernel_id", 64),
    _text("ramdisk_id", 64),
    _text("key_name"),
    _text("root_device_name"),
    _flag("config_drive"),
    _flag("auto_disk_config"),
    _text("access_ip_v4", 64),
    _text("access_ip_v6", 64),
    # Fixed addresses, one a line.
    sa.Column("addresses_v4", long_text(), nullable=False, default=""),
    sa.Column("addresses_v6", long_text(), nullable=False, default=""),
    _time("created_at"),
    _time("updated_at"),
    _time("launched_at"),
    _time("terminated_at"),
    _time("deleted_at"),
    sa.Column("record", message(), nullable=False),
    sa.Index("ix_servers_project", "project_id", "deleted_at", "created_at", "id"),
    sa.Index("ix_servers_name", "project_id", "deleted_at", "name", "id"),
    sa.Index("ix_servers_created", "deleted_at", "created_at", "id"),
    sa.Index("ix_servers_host", "host", "deleted_at"),
    sa.Index("ix_servers_updated", "updated_at"),
    # Has all that most other lists are sorted and filtered by, so that a page is chosen without looking at rows.
    # What filters compare comes late, lest it be taken for lists that another index has in their order.
    sa.Index(
        "ix_servers_sorted",
        "deleted_at",
        "project_id",
        "updated_at",
        "launched_at",
        "host",
        "vm_state",
        "task_state",
        "power_state",
        "id",
    ),
)

# Which server has which tag. The tags of a server stand in its record as well.
server_tags = sa.Table(
    "server_tags",
    metadata,
    sa.Column("server_id", text(36), primary_key=True),
    sa.Column("tag", text(60), primary_key=True),
    sa.Index("ix_server_tags_tag", "tag"),
)

# What only the build of a server needs (passwords and files among it); gone once the build is over.
builds = sa.Table(
    "builds",
    metadata,
    sa.Column("server_id", text(36), primary_key=True),
    sa.Column("build", message(), nullable=False),
)

# Who holds one of these may look at a server's console. `guest_host` is where the guest was then, `host` and the
# ports are where it shows itself.
console_tokens = sa.Table(
    "console_tokens",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("server_id", text(36), nullable=False),
    sa.Column("type", text(32), nullable=False),
    sa.Column("guest_host", text(255), nullable=False),
    sa.Column("host", text(255), nullable=False),
    sa.Column("port", sa.Integer, nullable=False),
    sa.Column("tls_port", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Index("ix_console_tokens_expires", "expires_at"),
    sa.Index("ix_console_tokens_server", "server_id"),
)

# That the servers of a host were counted over a period.
usage_audits = sa.Table(
    "usage_audits",
    metadata,
    sa.Column("host", text(255), primary_key=True),
    sa.Column("period_begin", sa.BigInteger, primary_key=True),
    sa.Column("period_end", sa.BigInteger, primary_key=True),
    sa.Column("servers", sa.BigInteger, nullable=False),
    sa.Column("errors", sa.BigInteger, nullable=False),
    sa.Column("message", text(255), nullable=False),
    sa.Column("done_at", sa.BigInteger, nullable=False),
    sa.Index("ix_usage_audits_period", "period_end", "period_begin"),
)

# A host with its hypervisor node and its compute service: one of each.
hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("number", number(), primary_key=True, autoincrement=True),
    sa.Column("service_id", text(36), nullable=False, unique=True),
    sa.Column("host", text(255), nullable=False, unique=True),
    _text("node"),
    sa.Column("node_id", text(36), nullable=False, index=True),
    _flag("disabled"),
    _text("disabled_reason"),
    _flag("forced_down"),
    # The newest heartbeat, and whether watchers of the host feed were told that the host is up.
    _time("heartbeat_at"),
    _flag("reported_up"),
    # Builds in a row that the host refused.
    sa.Column("failed_builds", sa.Integer, nullable=False, default=0, server_default="0"),
    _integer("generation", sa.BigInteger),
    _time("created_at"),
    sa.Column("report", message(), nullable=False),
    sa.Index("ix_hosts_failed_builds", "failed_builds"),
)

# Moves of servers. The message is the record, the columns beside it what lists and steps look for; what is asked of
# a move while it runs stands apart, because others than its operation write it.
migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("number", number(), primary_key=True, autoincrement=True),
    sa.Column("id", text(36), nullable=False, unique=True),
    sa.Column("server_id", text(36), nullable=False),
    _integer("generation", sa.BigInteger),
    _integer("type", sa.SmallInteger),
    _integer("status", sa.SmallInteger),
    _text("source_host"),
    _text("dest_host"),
    _text("project_id"),
    _text("user_id"),
    _flag("abort_requested"),
    _flag("force_requested"),
    # The server is in another cell now: shown to nobody.
    sa.Column("away", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    _time("created_at"),
    _time("updated_at"),
    sa.Column("record", message(), nullable=False),
    sa.Index("ix_migrations_server", "server_id", "status"),
    sa.Index("ix_migrations_created", "created_at", "number"),
    sa.Index("ix_migrations_source", "source_host", "status"),
    sa.Index("ix_migrations_dest", "dest_host", "status"),
    # Users may hold a number for long.
    sqlite_autoincrement=True,
)
