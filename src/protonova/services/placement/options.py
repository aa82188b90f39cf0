"""What an operator can set of placement (group `placement`), besides its addresses and its database."""

from __future__ import annotations

from oslo_config import cfg

from protonova.services.placement import holders
from protonova.services.runtime import config

GROUP = "placement"

OPTIONS = [
    cfg.BoolOpt(
        "randomize_allocation_candidates",
        default=False,
        help="A limited answer is a random sample of all candidates instead of the first ones.",
    ),
    cfg.IntOpt(
        "max_allocation_candidates",
        default=-1,
        min=-1,
        help="Candidates that are looked at before any limit, at most; -1 = all.",
    ),
    cfg.StrOpt(
        "allocation_candidates_generation_strategy",
        default="depth-first",
        choices=("depth-first", "breadth-first"),
        help="Whether the trees of providers are exhausted one after another, or take turns.",
    ),
    cfg.IntOpt(
        "allocation_conflict_retry_count",
        default=10,
        min=1,
        help="How often a write of allocations that others got ahead of is tried.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_project_id",
        default=holders.NIL,
        help="Project of consumers whose allocations name none, as those made before microversion 1.8.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_user_id",
        default=holders.NIL,
        help="User of consumers whose allocations name none.",
    ),
]

config.register(GROUP, OPTIONS)
