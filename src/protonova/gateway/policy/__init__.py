"""Who may do what: the rules of both REST APIs as tables, and the enforcer that asks them.

Operators override rules in ``policy.yaml`` (Placement's in ``placement-policy.yaml``); samples come from
``oslopolicy-sample-generator --namespace protonova`` (and ``protonova-placement``).
"""

from __future__ import annotations

from oslo_policy import policy

from protonova.gateway.policy import (
    compute_actions,
    compute_base,
    compute_proxies,
    compute_resources,
    compute_servers,
    placement,
)


def compute_rules() -> list[policy.RuleDefault]:
    """All rules of the Compute API."""
    tables = (compute_servers, compute_actions, compute_resources, compute_proxies)
    return [*compute_base.RULES, *(row.default() for table in tables for row in table.ROWS)]


def placement_rules() -> list[policy.RuleDefault]:
    """All rules of the Placement API."""
    return [row.default() for row in (*placement.BASE, *placement.ROWS)]
