"""``protonova placement``: the service in the foreground, and what an operator does about its database.

Without a subcommand all that follows goes to the service unread, as for every other service.
"""

from __future__ import annotations

from protonova.cli.lazy import Table, service_group

_COMMANDS: Table = {
    "db": ("database", "database", "Schema and data of the placement database."),
    "upgrade": ("upgrade", "upgrade", "Check that the database is as this release expects it."),
    "heal": ("heal", "heal", "Mend what contradicts itself or the cloud."),
}

placement = service_group(
    "placement", _COMMANDS, "Run placement in the foreground, or look after its database."
)
