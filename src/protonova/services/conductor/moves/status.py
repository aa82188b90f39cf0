"""Which statuses of a migration mean what."""

from __future__ import annotations

from protonova.common.v1.migration_pb2 import MigrationStatus, MigrationType

COLD = (MigrationType.MIGRATION_TYPE_RESIZE, MigrationType.MIGRATION_TYPE_MIGRATION)
LIVE = MigrationType.MIGRATION_TYPE_LIVE_MIGRATION
EVACUATION = MigrationType.MIGRATION_TYPE_EVACUATION


def _statuses(*names: str) -> frozenset[int]:
    return frozenset(MigrationStatus.Value(f"MIGRATION_STATUS_{name.upper()}") for name in names)


# Nothing comes of these any more.
ENDED = _statuses("confirmed", "reverted", "completed", "cancelled", "failed", "error")
# Both hosts may have something of the server.
UNDER_WAY = _statuses(
    "accepted",
    "queued",
    "preparing",
    "running",
    "pre_migrating",
    "migrating",
    "post_migrating",
    "finished",
    "confirming",
    "reverting",
)
# The server is on its destination.
ARRIVED = _statuses("finished", "confirming")
# Live migrations as users see them in progress.
LIVE_IN_PROGRESS = _statuses("queued", "preparing", "running", "post_migrating")
# Live migrations that a host's limit counts.
LIVE_AT_WORK = _statuses("preparing", "running", "post_migrating")
# The source may have a guest that nobody has removed yet.
LEFT_BEHIND = _statuses("done")


def type_name(number: MigrationType.ValueType) -> str:
    """As users spell it: `live-migration`."""
    return MigrationType.Name(number).removeprefix("MIGRATION_TYPE_").lower().replace("_", "-")


def status_name(number: MigrationStatus.ValueType) -> str:
    """As users spell it: `pre-migrating`."""
    return MigrationStatus.Name(number).removeprefix("MIGRATION_STATUS_").lower().replace("_", "-")


TYPES = {type_name(number): number for number in MigrationType.values()}
STATUSES = {status_name(number): number for number in MigrationStatus.values()}
