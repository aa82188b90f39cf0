"""The audiences all other rules of the Compute API are written with."""

from __future__ import annotations

from oslo_policy import policy

_ADMIN_API = policy.DeprecatedRule(
    "rule:admin_api", "is_admin:True", deprecated_reason="Roles say more.", deprecated_since="21.0.0"
)
_ADMIN_OR_OWNER = policy.DeprecatedRule(
    "rule:admin_or_owner",
    "is_admin:True or project_id:%(project_id)s",
    deprecated_reason="Roles say more.",
    deprecated_since="21.0.0",
)


def _rule(
    name: str, check: str, description: str, deprecated: policy.DeprecatedRule | None = None
) -> policy.RuleDefault:
    return policy.RuleDefault(name, check, description=description, deprecated_rule=deprecated)


RULES = (
    _rule("context_is_admin", "role:admin", "Who is an administrator of everything."),
    _rule(
        "admin_or_owner",
        "is_admin:True or project_id:%(project_id)s",
        "Administrators and everybody in the project. Kept for old overrides.",
    ),
    _rule("admin_api", "is_admin:True", "Administrators. Kept for old overrides."),
    _rule(
        "project_manager_api",
        "role:manager and project_id:%(project_id)s",
        "Managers of the project.",
        _ADMIN_API,
    ),
    _rule(
        "project_member_api",
        "role:member and project_id:%(project_id)s",
        "Members of the project.",
        _ADMIN_OR_OWNER,
    ),
    _rule(
        "project_reader_api",
        "role:reader and project_id:%(project_id)s",
        "Readers of the project.",
        _ADMIN_OR_OWNER,
    ),
    _rule("service_api", "role:service", "Other OpenStack services.", _ADMIN_API),
    _rule(
        "project_manager_or_admin",
        "rule:project_manager_api or rule:context_is_admin",
        "Managers of the project and administrators.",
        _ADMIN_API,
    ),
    _rule(
        "project_member_or_admin",
        "rule:project_member_api or rule:context_is_admin",
        "Members of the project and administrators.",
        _ADMIN_OR_OWNER,
    ),
    _rule(
        "project_reader_or_admin",
        "rule:project_reader_api or rule:context_is_admin",
        "Readers of the project and administrators.",
        _ADMIN_OR_OWNER,
    ),
    _rule(
        "service_or_admin",
        "rule:service_api or rule:context_is_admin",
        "Other OpenStack services and administrators.",
        _ADMIN_API,
    ),
)
