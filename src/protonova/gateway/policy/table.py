"""How policy rules are written down: one row a rule, with who may, what it allows, and which requests ask it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from oslo_policy import policy

# The audiences of the Compute API's rules, as check strings.
ANYONE = "@"
NOBODY = "!"
ADMIN = "rule:context_is_admin"
READER = "rule:project_reader_or_admin"
MEMBER = "rule:project_member_or_admin"
MANAGER = "rule:project_manager_or_admin"
SERVICE = "rule:service_or_admin"
SAME_USER = "(rule:context_is_admin) or user_id:%(user_id)s"


@dataclass(frozen=True, init=False)
class Row:
    """One rule. ``was`` names the rule it was split from: an operator's override of that one still counts."""

    name: str
    check: str
    description: str
    requests: tuple[str, ...]
    was: str | None

    def __init__(
        self, name: str, check: str, description: str, *requests: str, was: str | None = None
    ) -> None:
        for field, value in (
            ("name", name),
            ("check", check),
            ("description", description),
            ("requests", requests),
            ("was", was),
        ):
            object.__setattr__(self, field, value)

    def default(self) -> policy.RuleDefault:
        """The rule as oslo.policy knows it."""
        if not self.requests:
            return policy.RuleDefault(self.name, self.check, description=self.description)
        deprecated = None
        if self.was and self.was != self.name:
            deprecated = policy.DeprecatedRule(
                self.was, self.check, deprecated_reason="The rule was split.", deprecated_since="21.0.0"
            )
        operations: list[Any] = [
            {"method": method, "path": path}
            for method, _, path in (request.partition(" ") for request in self.requests)
        ]
        return policy.DocumentedRuleDefault(
            self.name,
            self.check,
            self.description,
            operations,
            scope_types=["project"],
            deprecated_rule=deprecated,
        )
