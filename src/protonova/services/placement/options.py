"""What an operator can set of placement (group `placement`), besides its addresses and its database."""

from __future__ import annotations

from oslo_config import cfg

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
    cfg.StrOpt(
        "incomplete_consumer_project_id",
        default="00000000-0000-0000-0000-000000000000",
        help="The project of consumers that are written without one, as before version 1.8.",
    ),
    cfg.StrOpt(
        "incomplete_consumer_user_id",
        default="00000000-0000-0000-0000-000000000000",
        help="The user of consumers that are written without one.",
    ),
    cfg.IntOpt(
        "allocation_conflict_retry_count",
        default=10,
        min=1,
        help="How often a write of allocations that others got ahead of is tried.",
    ),
]

config.register(GROUP, OPTIONS)
