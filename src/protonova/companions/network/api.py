"""All of Network put together: importing this module registers every handler at the blueprint."""

from protonova.companions.network import (
    binding,
    discovery,
    floatingips,
    networks,
    ports,
    quotas,
    routers,
    security_group_rules,
    security_groups,
    subnets,
    tags,
)
from protonova.companions.network.routes import blueprint
from protonova.companions.network.schema import SCHEMA

__all__ = [
    "SCHEMA",
    "binding",
    "blueprint",
    "discovery",
    "floatingips",
    "networks",
    "ports",
    "quotas",
    "routers",
    "security_group_rules",
    "security_groups",
    "subnets",
    "tags",
]
