"""The rows of feeds, and how changes get into them.

`feed_heads` has the newest revision of each topic; whoever publishes changes that row, so that transactions
which publish to one topic commit one after another, and revisions appear in the order of commits.
`feed_changes` has one row a key: its newest revision, and whether it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.engine import Connection

from protonova.services.runtime import database
from protonova.services.runtime.feeds import wake


@dataclass(frozen=True)
class FeedTables:
    heads: sa.Table
    changes: sa.Table


def tables(metadata: sa.MetaData) -> FeedTables:
    """Adds the two tables to the owner's metadata."""
    return FeedTables(
        sa.Table(
            "feed_heads",
            metadata,
            sa.Column("topic", sa.String(64), primary_key=True),
            sa.Column("revision", sa.BigInteger, nullable=False),
            # Deletions up to this revision are forgotten: who resumes from before needs a snapshot.
            sa.Column("pruned", sa.BigInteger, nullable=False),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        ),
        sa.Table(
            "feed_changes",
            metadata,
            sa.Column("topic", sa.String(64), primary_key=True),
            sa.Column("key", sa.String(128), primary_key=True),
            sa.Column("revision", sa.BigInteger, nullable=False),
            sa.Column("deleted", sa.Boolean, nullable=False),
            sa.Column("changed_at", sa.BigInteger, nullable=False),
            sa.Index("feed_changes_by_revision", "topic", "revision"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
        ),
    )


# Every database that has feeds has them under these names.
_TABLES = tables(sa.MetaData())
_PER_STATEMENT = 500


def publish(connection: Connection, topic: str, keys: Iterable[str], deleted: bool = False) -> None:
    """Tells that keys are new or changed, or deleted. Must be the last statement of its transaction (several
    publishes may follow each other): it holds up all others who publish to the topic until the commit."""
    changed = list(dict.fromkeys(keys))
    if not changed:
        return
    last = _advance_head(connection, topic, len(changed))
    first = last - len(changed) + 1
    statement = _UPSERTS[connection.dialect.name]
    rows = [
        {"topic": topic, "key": key, "revision": first + place, "deleted": deleted}
        for place, key in enumerate(changed)
    ]
    for start in range(0, len(rows), _PER_STATEMENT):
        connection.execute(statement, rows[start : start + _PER_STATEMENT])
    database.after_commit(connection, lambda: wake.tell(topic))


def _advance_head(connection: Connection, topic: str, count: int) -> int:
    """Raises a topic's revision by `count`; returns the new one."""
    result = connection.execute(
        _HEADS[connection.dialect.name], {"topic": topic, "revision": count, "pruned": 0}
    )
    if connection.dialect.name in ("postgresql", "sqlite"):
        return int(result.scalar_one())
    # A row that was there told its new revision as the last insert id; one that is new begins with it.
    return result.lastrowid or count


def _heads() -> dict[str, sa.Executable]:
    heads = _TABLES.heads
    found: dict[str, sa.Executable] = {}
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite)):
        insert = dialect.insert(heads)
        found[name] = insert.on_conflict_do_update(
            index_elements=["topic"], set_={"revision": heads.c.revision + insert.excluded.revision}
        ).returning(heads.c.revision)
    insert_mysql = mysql.insert(heads)
    found["mysql"] = found["mariadb"] = insert_mysql.on_duplicate_key_update(
        revision=sa.func.last_insert_id(heads.c.revision + insert_mysql.inserted.revision)
    )
    return found


def _upserts() -> dict[str, sa.Executable]:
    changes = _TABLES.changes
    names: Sequence[str] = ("revision", "deleted", "changed_at")
    found: dict[str, sa.Executable] = {}
    for name, dialect in (("postgresql", postgresql), ("sqlite", sqlite)):
        insert = dialect.insert(changes).values(changed_at=database.now())
        found[name] = insert.on_conflict_do_update(
            index_elements=["topic", "key"], set_={column: insert.excluded[column] for column in names}
        )
    insert_mysql = mysql.insert(changes).values(changed_at=database.now())
    found["mysql"] = found["mariadb"] = insert_mysql.on_duplicate_key_update(
        {column: insert_mysql.inserted[column] for column in names}
    )
    return found


_HEADS = _heads()
_UPSERTS = _upserts()
