"""Asks oslo.policy, and remembers its answers until the operator's policy file changes."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oslo_policy import policy

from protonova.gateway.faults import Fault

# The policy file is looked at no more often than this.
_LOOK_SECONDS = 1.0
_MOST_REMEMBERED = 20_000


class Enforcer:
    """The rules of one API with the operator's overrides."""

    def __init__(
        self,
        conf: Any,
        rules: Iterable[policy.RuleDefault],
        policy_file: str | None = None,
        admin_rule: str = "context_is_admin",
    ) -> None:
        self._conf = conf
        self._admin_rule = admin_rule
        self._policy_file = policy_file
        self._enforcer = policy.Enforcer(conf, policy_file=policy_file)
        self._enforcer.suppress_deprecation_warnings = True
        self._enforcer.register_defaults(list(rules))
        self._enforcer.load_rules()
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, Any, tuple[tuple[str, str], ...]], bool] = {}
        self._by_user: dict[str, bool] = {}
        self._seen = self._fingerprint()
        self._looked = time.monotonic()

    def allows(self, rule: str, identity: Any, target: Mapping[str, str]) -> bool:
        """Whether the holder of an identity may do what a rule guards to a target."""
        now = time.monotonic()
        if now - self._looked > _LOOK_SECONDS:
            self._look(now)
        key = (rule, identity, tuple(target.items()))
        answer = self._answers.get(key)
        if answer is None:
            answer = self._ask(rule, identity, target)
            if len(self._answers) >= _MOST_REMEMBERED:
                self._answers.clear()
            self._answers[key] = answer
        return answer

    def looks_at_user(self, rule: str) -> bool:
        """Whether a rule, as it is now, compares the caller with the user who owns the target."""
        found = self._by_user.get(rule)
        if found is None:
            with self._lock:
                found = self._by_user[rule] = self._mentions_user(rule, set())
        return found

    def _mentions_user(self, rule: str, seen: set[str]) -> bool:
        if rule in seen or rule not in self._enforcer.rules:
            return False
        seen.add(rule)
        written = str(self._enforcer.rules[rule])
        if "%(user_id)s" in written:
            return True
        return any(self._mentions_user(name, seen) for name in re.findall(r"rule:([\w:.-]+)", written))

    def is_admin(self, identity: Any) -> bool:
        """Whether an identity is an administrator of everything."""
        return self.allows(self._admin_rule, identity, {})

    @staticmethod
    def refusal(rule: str) -> Fault:
        return Fault(403, f"Policy doesn't allow {rule} to be performed.")

    def _ask(self, rule: str, identity: Any, target: Mapping[str, str]) -> bool:
        credentials = {
            "user_id": identity.user_id,
            "project_id": identity.project_id,
            "roles": list(identity.roles),
            "service_roles": list(identity.service_roles),
            "system_scope": identity.system_scope or None,
            "user_domain_id": identity.user_domain_id,
            "project_domain_id": identity.project_domain_id,
            "is_admin": rule != self._admin_rule and self.is_admin(identity),
        }
        # One at a time: the enforcer reloads its files as a side effect.
        with self._lock:
            try:
                return bool(self._enforcer.enforce(rule, dict(target), credentials))
            except policy.InvalidScope:
                return False

    def _look(self, now: float) -> None:
        self._looked = now
        seen = self._fingerprint()
        if seen != self._seen:
            with self._lock:
                self._enforcer.load_rules(force_reload=True)
            self._seen = seen
            self._answers.clear()
            self._by_user.clear()

    def _fingerprint(self) -> tuple[tuple[str, int], ...]:
        settings = self._conf.oslo_policy
        found = []
        for name in (self._policy_file or settings.policy_file, *settings.policy_dirs):
            path = self._conf.find_file(name) or name
            paths = sorted(Path(path).glob("*")) if os.path.isdir(path) else [Path(path)]
            for each in paths:
                try:
                    found.append((str(each), each.stat().st_mtime_ns))
                except OSError:
                    continue
        return tuple(found)
