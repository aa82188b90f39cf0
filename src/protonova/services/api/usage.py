"""What is used of quotas, as counters that change with what they count.

A counter is raised by one conditional statement (`used + n <= limit`) in the transaction that writes the counted
record, and lowered in the transaction that removes it: it can neither be overdrawn by a race nor drift. Rows are
always taken in the order project, then user, so that two transactions cannot wait for each other.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

from sqlalchemy import BigInteger, Connection, Update, bindparam, or_, select, update

from protonova.services.api import tables
from protonova.services.runtime import database, errors

COUNTED = ("instances", "cores", "ram", "key_pairs", "server_groups")
_usages = tables.quota_usages
_LABELS = {
    "ram": "ram (MiB)",
    "key_pairs": "key pairs",
    "server_groups": "server groups",
    "server_group_members": "members of a server group",
}


def per_server(vcpus: int, memory_mb: int) -> dict[str, int]:
    """What one server counts for."""
    return {"instances": 1, "cores": vcpus, "ram": memory_mb}


def times(amounts: Mapping[str, int], count: int) -> dict[str, int]:
    return {resource: amount * count for resource, amount in amounts.items()}


def read(connection: Connection, project_id: str, user_id: str = "", *, lock: bool = False) -> dict[str, int]:
    """Counters of a project, of a user within it, or (empty project) of a user everywhere."""
    query = select(*(_usages.c[name] for name in COUNTED)).where(
        _usages.c.project_id == project_id, _usages.c.user_id == user_id
    )
    row = connection.execute(query.with_for_update() if lock else query).first()
    return dict(zip(COUNTED, row, strict=True)) if row else dict.fromkeys(COUNTED, 0)


def charge(
    connection: Connection,
    project_id: str,
    user_id: str,
    amounts: Mapping[str, int],
    limits: Mapping[str, int],
) -> None:
    """Raises the counters of one row, all or none. Raises QUOTA_EXCEEDED."""
    values: dict[str, int | str] = {"of_project": project_id, "of_user": user_id}
    for resource, amount in amounts.items():
        values[f"more_{resource}"] = amount
        values[f"most_{resource}"] = limits[resource]
    for _ in range(3):
        if connection.execute(_raise(tuple(amounts)), values).rowcount == 1:
            return
        database.insert_ignore(connection, _usages, [{"project_id": project_id, "user_id": user_id}])
        used = read(connection, project_id, user_id, lock=True)
        for resource, amount in amounts.items():
            if amount and 0 <= limits[resource] < used[resource] + amount:
                raise exceeded(
                    resource, limits[resource], used[resource], amount, user_id if project_id else ""
                )
    raise errors.Aborted("The quota counters changed meanwhile.", reason="CONCURRENT_UPDATE")


@functools.cache
def _raise(resources: tuple[str, ...]) -> Update:
    """Raises counters of one row as far as they stay within their limits. A raise by nothing always fits."""
    fits, raised = [], {}
    for resource in resources:
        more = bindparam(f"more_{resource}", type_=BigInteger)
        most = bindparam(f"most_{resource}", type_=BigInteger)
        raised[resource] = _usages.c[resource] + more
        fits.append(or_(most < 0, more == 0, _usages.c[resource] + more <= most))
    row = (_usages.c.project_id == bindparam("of_project"), _usages.c.user_id == bindparam("of_user"))
    return update(_usages).where(*row, *fits).values(raised)


def affordable(
    connection: Connection,
    project_id: str,
    user_id: str,
    amounts: Mapping[str, int],
    limits: Mapping[str, int],
    at_most: int,
) -> int:
    """How many times `amounts` fits below the limits of one row, up to `at_most`. The row stays locked."""
    database.insert_ignore(connection, _usages, [{"project_id": project_id, "user_id": user_id}])
    used = read(connection, project_id, user_id, lock=True)
    counts = [
        max(0, limits[resource] - used[resource]) // amount
        for resource, amount in amounts.items()
        if amount > 0 and limits[resource] >= 0
    ]
    return min([at_most, *counts])


def give_back(connection: Connection, totals: Mapping[tuple[str, str], Mapping[str, int]]) -> None:
    """Lowers counters by (project, user). The caller has just removed the counted records, so none goes twice."""
    lowered: dict[tuple[str, str], dict[str, int]] = {}
    for (project_id, user_id), amounts in totals.items():
        for owner in {(project_id, ""), (project_id, user_id)} if project_id else {("", user_id)}:
            into = lowered.setdefault(owner, dict.fromkeys(COUNTED, 0))
            for resource, amount in amounts.items():
                into[resource] += amount
    statement = (
        update(_usages)
        .where(_usages.c.project_id == bindparam("of_project"), _usages.c.user_id == bindparam("of_user"))
        .values({name: _usages.c[name] - bindparam(f"less_{name}") for name in COUNTED})
    )
    for (project_id, user_id), amounts in sorted(lowered.items()):
        less = {f"less_{name}": amounts[name] for name in COUNTED}
        connection.execute(statement, {"of_project": project_id, "of_user": user_id, **less})


def exceeded(resource: str, limit: int, used: int, requested: int, user_id: str = "") -> errors.QuotaExceeded:
    facts = {"resource": resource, "limit": str(limit), "used": str(used), "requested": str(requested)}
    if user_id:
        facts["user_id"] = user_id
    return errors.QuotaExceeded(
        f"Quota exceeded for {_LABELS.get(resource, resource)}: requested {requested}, "
        f"but already used {used} of {limit}.",
        reason="QUOTA_EXCEEDED",
        **facts,
    )
