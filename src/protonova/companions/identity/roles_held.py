"""Which roles somebody holds on a target: given directly, through a group, or implied by another role.

A role of a domain counts only by what it implies.
"""

import sqlite3

_HELD = """
WITH RECURSIVE held (role_id) AS (
    SELECT role_id FROM assignments
     WHERE target_kind = ?1 AND target_id = ?2
       AND ((actor_kind = 'user' AND actor_id = ?3)
            OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?3)))
    UNION
    SELECT implied_id FROM implied_roles JOIN held ON prior_id = role_id
)
SELECT roles.id, roles.name FROM held JOIN roles ON roles.id = held.role_id
 WHERE roles.domain_id IS NULL ORDER BY roles.name
"""

_TARGETS = """
SELECT DISTINCT target_id FROM assignments
 WHERE target_kind = ?1
   AND ((actor_kind = 'user' AND actor_id = ?2)
        OR (actor_kind = 'group' AND actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?2)))
"""

_IMPLIED = """
WITH RECURSIVE held (role_id) AS (
    SELECT ? UNION SELECT implied_id FROM implied_roles JOIN held ON prior_id = role_id
)
SELECT role_id FROM held
"""


def held(db: sqlite3.Connection, user_id: str, kind: str, target_id: str) -> list[dict[str, str]]:
    return db.execute(_HELD, (kind, target_id, user_id)).fetchall()


def targets(db: sqlite3.Connection, user_id: str, kind: str) -> list[str]:
    return [row["target_id"] for row in db.execute(_TARGETS, (kind, user_id))]


def effective(db: sqlite3.Connection, role_id: str) -> list[str]:
    """The role and all that follow from it, as far as they count."""
    chain = implied(db, role_id)
    marks = ", ".join("?" * len(chain))
    rows = db.execute(f"SELECT id FROM roles WHERE domain_id IS NULL AND id IN ({marks})", chain)  # noqa: S608
    return [row["id"] for row in rows]


def implied(db: sqlite3.Connection, role_id: str) -> list[str]:
    """The role itself and all that follow from it."""
    return [row["role_id"] for row in db.execute(_IMPLIED, (role_id,))]
