"""Limits of projects, users and classes: what may be used at most. -1 = no limit.

What is set for a user within a project wins over what is set for the project, that over the class `default`, and
that over the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

from oslo_config import cfg
from sqlalchemy import Connection, bindparam, case, literal_column, or_, select, union_all

from protonova.services.api import tables

# Resources, in the order they are told, with their option in the group [quota]. What other services count today has
# none: its limits are kept for those who set them, and hold nobody back.
OPTIONS: Mapping[str, str | None] = {
    "instances": "instances",
    "cores": "cores",
    "ram": "ram",
    "metadata_items": "metadata_items",
    "key_pairs": "key_pairs",
    "server_groups": "server_groups",
    "server_group_members": "server_group_members",
    "injected_files": "injected_files",
    "injected_file_content_bytes": "injected_file_content_bytes",
    "injected_file_path_bytes": "injected_file_path_length",
    "fixed_ips": None,
    "floating_ips": None,
    "security_groups": None,
    "security_group_rules": None,
}
# Resources a project's users can be limited in one by one.
PER_USER = frozenset({"instances", "cores", "ram", "key_pairs", "server_groups", "server_group_members"})
PER_USER |= {resource for resource, option in OPTIONS.items() if option is None}
DEFAULT_CLASS = "default"

_quotas, _classes = tables.quotas, tables.quota_classes
_OF_USER = 2
_OF_CLASS = select(_classes.c.resource, _classes.c.hard_limit).where(
    _classes.c.class_name == bindparam("of_class")
)
# Whose limit each row is: of the default class (0), the project (1), the user within it (2).
_OF_PROJECT = union_all(
    select(literal_column("0").label("rank"), _classes.c.resource, _classes.c.hard_limit).where(
        _classes.c.class_name == DEFAULT_CLASS
    ),
    select(
        case((_quotas.c.user_id == "", literal_column("1")), else_=literal_column("2")).label("rank"),
        _quotas.c.resource,
        _quotas.c.hard_limit,
    ).where(
        _quotas.c.project_id == bindparam("of_project"),
        or_(_quotas.c.user_id == "", _quotas.c.user_id == bindparam("of_user")),
    ),
)


class Limits:
    """Reads limits, each by one query in the caller's transaction."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def of_class(self, connection: Connection, class_name: str) -> dict[str, int]:
        limits = self._configured()
        rows = connection.execute(_OF_CLASS, {"of_class": class_name})
        limits.update({resource: limit for resource, limit in rows if resource in limits})
        return limits

    def of(self, connection: Connection, project_id: str, user_id: str = "") -> tuple[Mapping[str, int], ...]:
        """Limits of the project as a whole, and of the user within it."""
        project = self._configured()
        own: dict[str, int] = {}
        rows = connection.execute(_OF_PROJECT, {"of_project": project_id, "of_user": user_id}).all()
        for rank, resource, limit in sorted(rows):
            if resource in project:
                (own if int(rank) == _OF_USER else project)[resource] = limit
        return project, {**project, **own}

    def _configured(self) -> dict[str, int]:
        return {
            resource: -1 if option is None else int(self._conf.quota[option])
            for resource, option in OPTIONS.items()
        }
