"""All of Identity put together: importing this module registers every handler at the blueprint."""

from protonova.companions.identity import (
    application_credentials,
    assignments,
    auth,
    catalog,
    discovery,
    domains,
    groups,
    projects,
    roles,
    users,
)
from protonova.companions.identity.routes import blueprint
from protonova.companions.identity.schema import SCHEMA
from protonova.companions.identity.seed import seed

__all__ = [
    "SCHEMA",
    "application_credentials",
    "assignments",
    "auth",
    "blueprint",
    "catalog",
    "discovery",
    "domains",
    "groups",
    "projects",
    "roles",
    "seed",
    "users",
]
