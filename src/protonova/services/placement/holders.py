"""Whose allocations are that name no project or user, as those made before microversion 1.8 do."""

from __future__ import annotations

from dataclasses import dataclass

from protonova.services.runtime.config import Conf

# What callers put where they name nobody.
NIL = "00000000-0000-0000-0000-000000000000"
_NONE = frozenset({"", NIL})


@dataclass(frozen=True, slots=True)
class Nobody:
    """The project and the user that stand in."""

    project_id: str = NIL
    user_id: str = NIL

    @classmethod
    def of(cls, conf: Conf) -> Nobody:
        own = conf.placement
        return cls(own.incomplete_consumer_project_id, own.incomplete_consumer_user_id)

    def project(self, named: str) -> str:
        return self.project_id if named in _NONE else named

    def user(self, named: str) -> str:
        return self.user_id if named in _NONE else named
