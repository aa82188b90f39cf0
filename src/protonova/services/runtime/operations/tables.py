"""The rows of operations and of their events, as they stand beside the owner's own tables.

This package alone writes them; the owner reads them, for example to show what was done to a server. An
operation is unfinished while `finished_at` is null. Who may go on with it is told by `owner`, `generation`
and `lease_until` together: a compare-and-set on the generation decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

# States. The first three are under way, `stuck` waits for an operator, the rest are ends.
PENDING = "pending"
RUNNING = "running"
UNDOING = "undoing"
STUCK = "stuck"
DONE = "done"
FAILED = "failed"
PREEMPTED = "preempted"

# Directions.
DO = "do"
UNDO = "undo"

_Number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True)
class OperationTables:
    operations: sa.Table
    events: sa.Table


def tables(metadata: sa.MetaData) -> OperationTables:
    """Adds the two tables to the owner's metadata."""
    operations = sa.Table(
        "operations",
        metadata,
        # Their order: operations of one subject run one after another by it.
        sa.Column("sequence", _Number, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("kind", sa.String(64), nullable=False),
        # What users see it as: "create", "stop"…; empty = not shown.
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(128), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        # The step to do (or undo) next, counted anew in each round.
        sa.Column("step", sa.String(64), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("round", sa.Integer, nullable=False),
        # How many replicas have begun the present step.
        sa.Column("attempt", sa.Integer, nullable=False),
        # Raised by each take-over: the fencing token.
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String(128), nullable=False),
        sa.Column("lease_until", sa.BigInteger, nullable=False),
        sa.Column("not_before", sa.BigInteger, nullable=False),
        sa.Column("deadline_at", sa.BigInteger, nullable=False),
        sa.Column("preempted", sa.Boolean, nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("memory", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("error", sa.JSON(none_as_null=True)),
        sa.Column("context", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("project_id", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("step_started_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Index("operations_by_subject", "subject", "sequence"),
        sa.Index("operations_unfinished", "finished_at", "sequence"),
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
    events = sa.Table(
        "operation_events",
        metadata,
        sa.Column("sequence", _Number, primary_key=True, autoincrement=True),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("step", sa.String(64), nullable=False),
        # The name users see; empty = for operators only.
        sa.Column("event", sa.String(128), nullable=False),
        sa.Column("direction", sa.String(4), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
        # "Success" or "Error".
        sa.Column("result", sa.String(16), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Index("operation_events_by_operation", "operation_id", "sequence"),
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
    )
    return OperationTables(operations, events)
