"""Options only this service reads."""

from __future__ import annotations

from oslo_config import cfg

from protonova.services.runtime import config

config.register(
    "DEFAULT",
    [
        cfg.IntOpt(
            "max_local_block_devices",
            default=3,
            help="Local disks a create request may name; 0 = none (boot from volume only), negative = no limit.",
        ),
        cfg.BoolOpt("force_config_drive", default=False, help="Give every new server a config drive."),
        cfg.IntOpt("password_length", default=12, min=0, help="Length of generated administrator passwords."),
        cfg.StrOpt("default_schedule_zone", default="", help="Zone of requests that name none; empty = any."),
    ],
)
# In the group where the field has it, though every hypervisor gets its rescue image from here.
config.register(
    "libvirt",
    [
        cfg.StrOpt(
            "rescue_image_id",
            default="",
            help="Image servers are rescued with when none is named; empty = each with its own.",
        )
    ],
)
config.register(
    "api",
    [
        cfg.FloatOpt(
            "cell_timeout",
            default=10,
            min=0.1,
            help="Seconds a list waits for a cell before going on without it.",
        ),
        cfg.FloatOpt("image_cache_seconds", default=5, min=0, help="How long an image's record is trusted."),
        cfg.FloatOpt("host_cache_seconds", default=5, min=0, help="How long the list of hosts is trusted."),
        cfg.FloatOpt(
            "build_timeout", default=60, min=1, help="Seconds scheduling or a hand-over is tried for."
        ),
        cfg.FloatOpt(
            "cleanup_timeout",
            default=86400.0,
            min=1.0,
            help="Seconds for which claims of a failed build are given back, and a silent cell is asked which "
            "servers it has after all, before an operator is needed.",
        ),
        cfg.FloatOpt(
            "aggregate_mend_seconds",
            default=5.0,
            min=0.1,
            help="How often hosts of aggregates that placement does not know to be in them are looked after.",
        ),
        cfg.FloatOpt(
            "aggregate_compare_seconds",
            default=600.0,
            min=0.1,
            help="How often placement's aggregates are compared with what they should be.",
        ),
        cfg.FloatOpt(
            "lost_move_seconds",
            default=60.0,
            min=0.1,
            help="How long after a resize was charged its cell is asked whether it knows of it: longer than a call "
            "may be on its way.",
        ),
        cfg.IntOpt(
            "mapping_cache_size", default=200_000, min=1, help="Servers whose cell a process remembers."
        ),
        cfg.IntOpt(
            "idempotency_key_seconds", default=86_400, min=1, help="How long a repeated create is recognised."
        ),
    ],
)
