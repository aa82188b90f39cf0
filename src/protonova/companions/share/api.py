"""All of Share put together: importing this module registers every handler at the blueprint."""

from protonova.companions.share import access, discovery, locks, shares
from protonova.companions.share.directories import ShareDirectories
from protonova.companions.share.routes import blueprint
from protonova.companions.share.schema import SCHEMA
from protonova.companions.share.shares import start

__all__ = [
    "SCHEMA",
    "ShareDirectories",
    "access",
    "blueprint",
    "discovery",
    "locks",
    "shares",
    "start",
]
