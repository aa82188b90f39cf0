"""What an operator can set of the scheduler (groups `scheduler` and `filter_scheduler`)."""

from __future__ import annotations

from oslo_config import cfg

from protonova.services.runtime import config

GROUP = "scheduler"
FILTERS = "filter_scheduler"

SCHEDULER = [
    cfg.IntOpt(
        "max_placement_results",
        default=1000,
        min=1,
        help="How many candidates placement is asked for at first; all, when none of these is good.",
    ),
    cfg.IntOpt(
        "claim_attempts",
        default=5,
        min=1,
        help="How often servers are planned anew whose claim another scheduler got ahead of.",
    ),
    cfg.FloatOpt(
        "ready_seconds",
        default=5.0,
        min=0.0,
        help="How long a starting scheduler waits for the hosts of all cells before it works with those it has.",
    ),
    cfg.FloatOpt(
        "cell_away_seconds",
        default=10.0,
        min=0.0,
        help="A cell whose conductor is not heard for longer gets no new servers.",
    ),
    cfg.BoolOpt(
        "query_placement_for_image_type_support",
        default=False,
        help="Only hosts that say they take the image's disk format are chosen.",
    ),
]

FILTER_SCHEDULER = [
    cfg.ListOpt(
        "enabled_filters",
        default=[
            "ComputeFilter",
            "ComputeCapabilitiesFilter",
            "ImagePropertiesFilter",
            "ServerGroupAntiAffinityFilter",
            "ServerGroupAffinityFilter",
        ],
        help="Filters that hosts must pass, in this order.",
    ),
    cfg.ListOpt("weighers", default=["all"], help="Weighers that rank hosts; 'all' = every one."),
    cfg.IntOpt("host_subset_size", default=1, min=1, help="One of so many best hosts is taken at random."),
    cfg.BoolOpt(
        "shuffle_best_same_weighed_hosts", default=False, help="Hosts of equal weight come in random order."
    ),
    cfg.FloatOpt("ram_weight_multiplier", default=1.0, help="Free memory; negative stacks."),
    cfg.FloatOpt("cpu_weight_multiplier", default=1.0, help="Free VCPUs; negative stacks."),
    cfg.FloatOpt("disk_weight_multiplier", default=1.0, help="Free disk; negative stacks."),
    cfg.FloatOpt(
        "io_ops_weight_multiplier", default=-1.0, help="Servers being built, moved, saved on the host."
    ),
    cfg.FloatOpt("build_failure_weight_multiplier", default=1000000.0, help="Recent failed builds, negated."),
    cfg.FloatOpt("hypervisor_version_weight_multiplier", default=1.0, help="Newer hypervisors first."),
    cfg.StrOpt(
        "image_properties_default_architecture",
        default="",
        help="Architecture of images that name none; empty = any.",
    ),
]

config.register(GROUP, SCHEDULER)
config.register(FILTERS, FILTER_SCHEDULER)
