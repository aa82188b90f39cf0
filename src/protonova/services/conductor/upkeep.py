"""What a conductor does again and again by itself."""

from __future__ import annotations

from functools import partial

from oslo_config import cfg

from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.sweeper import sweep
from protonova.services.conductor.moves.confirmer import confirm_due
from protonova.services.conductor.servers import shelved
from protonova.services.conductor.servers.purge import purge
from protonova.services.conductor.servers.reclaim import Reclaimer
from protonova.services.conductor.service.begin import Beginnings
from protonova.services.conductor.service.moves import Moves
from protonova.services.conductor.usage import audits
from protonova.services.runtime.upkeep import Upkeep, Work

# Seconds, where an operator asks for the usual.
_USUAL_POLL = 60
_PURGE = 3600


def upkeep(cell: Cell, beginnings: Beginnings, moves: Moves) -> Upkeep:
    conf, own = cell.conf, cell.conf.conductor
    reclaimer = Reclaimer(cell.db, cell.servers, conf.reclaim_instance_interval, beginnings.reclaim)
    return Upkeep(
        Work(
            "down-hosts",
            "Tells of hosts whose heartbeat has ceased.",
            own.up_check_interval,
            lambda: len(sweep(cell.hosts)),
        ),
        Work(
            "reclaim-servers",
            "Deletes servers whose soft deletion is older than reclaim_instance_interval.",
            own.reclaim_check_interval if conf.reclaim_instance_interval > 0 else 0,
            lambda: len(reclaimer.reclaim()),
        ),
        Work(
            "confirm-resizes",
            "Confirms resized servers that have waited for resize_confirm_window.",
            own.confirm_check_interval if conf.resize_confirm_window > 0 else 0,
            lambda: len(confirm_due(cell, moves.confirm)),
        ),
        Work(
            "offload-shelved",
            "Has shelved servers leave their host when their time there is over.",
            _offload_interval(conf),
            lambda: shelved.offload(cell, partial(beginnings.action, actions.OFFLOAD)),
        ),
        Work(
            "purge-deleted",
            "Forgets servers that were deleted keep_deleted_days ago, and what was done to them.",
            _PURGE if conf.keep_deleted_days else 0,
            lambda: purge(cell.db, conf.keep_deleted_days),
        ),
        Work(
            "usage-audit",
            "Counts the servers of each host over the last whole instance_usage_audit_period.",
            own.usage_audit_check_interval if conf.instance_usage_audit else 0,
            lambda: audits.audit(cell),
        ),
    )


def _offload_interval(conf: cfg.ConfigOpts) -> float:
    """0 = only when told to: they leave at once, or never, or the operator wants it so."""
    if conf.shelved_offload_time <= 0 or conf.shelved_poll_interval < 0:
        return 0
    return float(conf.shelved_poll_interval or _USUAL_POLL)
