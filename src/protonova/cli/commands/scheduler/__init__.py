"""``protonova scheduler``: the service in the foreground, and what an operator asks of it.

Without a subcommand all that follows goes to the service unread, as for every other service.
"""

from __future__ import annotations

from protonova.cli.lazy import Table, service_group

_COMMANDS: Table = {
    "explain": ("explain", "explain", "Say where a server would go now, and why not elsewhere."),
}

scheduler = service_group(
    "scheduler", _COMMANDS, "Run the scheduler in the foreground, or ask why it decides as it does."
)
