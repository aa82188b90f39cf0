"""A share service in memory, with the surface of the runtime's adapter."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from protonova.services.runtime import errors
from protonova.services.runtime.openstack.share import Access, Rule, Share


class FakeShares:
    def __init__(self) -> None:
        self.shares: dict[str, Share] = {}
        self.rules: dict[tuple[str, Access], Rule] = {}
        # (share, server) of every lock.
        self.locks: set[tuple[str, str]] = set()
        self.errors: dict[str, list[errors.Error]] = defaultdict(list)
        # Called when the named method has acted, before it answers.
        self.after: dict[str, Callable[[], object]] = {}
        # What a new rule is, and becomes when it is looked at.
        self.begins, self.becomes = "applying", "active"

    def add(self, **fields: Any) -> Share:
        id_ = str(uuid.uuid4())
        made = Share(id_, "available", "NFS", "project", f"192.0.2.9:/shares/{id_}")
        self.shares[id_] = replace(made, **fields)
        return self.shares[id_]

    def reached_by(self, share_id: str) -> set[str]:
        return {access.to for known, access in self.rules if known == share_id}

    def locked_for(self, share_id: str) -> set[str]:
        return {server for known, server in self.locks if known == share_id}

    def get(self, share_id: str) -> Share:
        self._enter("get")
        self._there(share_id)
        return self.shares[share_id]

    def rule(self, share_id: str, access: Access) -> Rule | None:
        self._enter("rule")
        self._there(share_id)
        rule = self.rules.get((share_id, access))
        if rule is not None and rule.state == "applying":
            self.rules[share_id, access] = replace(rule, state=self.becomes)
        return rule

    def allow(self, share_id: str, access: Access) -> None:
        self._enter("allow")
        self._there(share_id)
        self.rules.setdefault((share_id, access), Rule(str(uuid.uuid4()), self.begins, True))
        self._leave("allow")

    def deny(self, share_id: str, rule: Rule) -> None:
        self._enter("deny")
        self.rules = {key: known for key, known in self.rules.items() if known.id != rule.id}
        self._leave("deny")

    def lock(self, share_id: str, server_id: str) -> None:
        self._enter("lock")
        self._there(share_id)
        self.locks.add((share_id, server_id))
        self._leave("lock")

    def unlock(self, share_id: str, server_id: str) -> None:
        self._enter("unlock")
        self.locks.discard((share_id, server_id))
        self._leave("unlock")

    def _there(self, share_id: str) -> None:
        if share_id not in self.shares:
            raise errors.NotFound("There is no such share.", reason="EXTERNAL_NOT_FOUND")

    def _enter(self, method: str) -> None:
        if self.errors[method]:
            raise self.errors[method].pop(0)

    def _leave(self, method: str) -> None:
        if method in self.after:
            self.after.pop(method)()
