"""What a conductor does again and again by itself."""

from __future__ import annotations

from functools import partial

from oslo_config import cfg

from protonova.services.conductor import actions
from protonova.services.conductor.cell import Cell
from protonova.services.conductor.hosts.sweeper import sweep
from protonova.services.conductor.moves.confirmer import confirm_due
from protonova.services.conductor.servers import rescued, shelved
from protonova.services.conductor.servers.healing import Healer
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
    healer = Healer(cell, partial(beginnings.action, actions.REFRESH_NETWORK))
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
            "rescued-servers",
            "Brings back servers that were rescued longer than rescue_timeout ago.",
            own.rescue_check_interval if conf.rescue_timeout > 0 else 0,
            lambda: _bring_back(cell, beginnings),
        ),
        Work(
            "network-info",
            "Reads the network info of servers anew where the network service says something else.",
            _heal_interval(conf),
            healer.heal,
        ),
        Work(
            "usage-audit",
            "Counts the servers of each host over the last whole instance_usage_audit_period.",
            own.usage_audit_check_interval if conf.instance_usage_audit else 0,
            lambda: audits.audit(cell),
        ),
    )


def _bring_back(cell: Cell, beginnings: Beginnings) -> int:
    """None where the time of rescues is not limited, also when told to."""
    if cell.conf.rescue_timeout <= 0:
        return 0
    return rescued.bring_back(
        cell, lambda server_id, check: beginnings.action(actions.UNRESCUE, server_id, alter=check)
    )


def _heal_interval(conf: cfg.ConfigOpts) -> float:
    """0 = only when told to."""
    if conf.heal_instance_info_cache_interval < 0:
        return 0
    return float(conf.heal_instance_info_cache_interval or _USUAL_POLL)


def _offload_interval(conf: cfg.ConfigOpts) -> float:
    """0 = only when told to: they leave at once, or never, or the operator wants it so."""
    if conf.shelved_offload_time <= 0 or conf.shelved_poll_interval < 0:
        return 0
    return float(conf.shelved_poll_interval or _USUAL_POLL)
