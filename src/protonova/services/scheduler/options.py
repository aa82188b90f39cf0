"""What an operator can set of the scheduler (groups `scheduler`, `filter_scheduler`, `metrics` and
`trusted_computing`)."""

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
        "group_patience_seconds",
        default=15.0,
        min=0.0,
        help="How long members of a server group are planned anew while others change where the group is.",
    ),
    cfg.IntOpt(
        "explained_hosts",
        default=10,
        min=0,
        help="On how many hosts a server that gets none is told why they do not take it, nearest misses first.",
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
        help="Only hosts whose traits say that they take the image's disk format are chosen.",
    ),
    cfg.BoolOpt(
        "image_metadata_prefilter",
        default=False,
        help="Only hosts whose traits say that they can make the devices and machine an image wants are chosen.",
    ),
    cfg.BoolOpt(
        "limit_tenants_to_placement_aggregate",
        default=False,
        help="Projects that aggregates name in filter_tenant_id… go to their hosts only.",
    ),
    cfg.BoolOpt(
        "placement_aggregate_required_for_tenants",
        default=False,
        help="With limit_tenants_to_placement_aggregate: projects that no aggregate names get no host.",
    ),
    cfg.BoolOpt(
        "enable_isolated_aggregate_filtering",
        default=False,
        help="Aggregates that say trait:NAME=required take only servers that require these traits.",
    ),
]

FILTER_SCHEDULER = [
    cfg.MultiStrOpt(
        "available_filters",
        default=["all"],
        help="Filters that may be enabled; 'all' = every one that comes with the scheduler. Plug-ins may always.",
    ),
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
    cfg.ListOpt(
        "weight_classes",
        default=["all"],
        help="Weighers that may be chosen; 'all' = every one that comes with the scheduler. Plug-ins are named.",
    ),
    cfg.ListOpt(
        "weighers", default=["all"], help="Weighers that rank hosts; 'all' = those of weight_classes."
    ),
    cfg.IntOpt("host_subset_size", default=1, min=1, help="One of so many best hosts is taken at random."),
    cfg.BoolOpt(
        "shuffle_best_same_weighed_hosts", default=False, help="Hosts of equal weight come in random order."
    ),
    cfg.IntOpt(
        "max_instances_per_host", default=50, min=1, help="NumInstancesFilter: servers a host may have."
    ),
    cfg.IntOpt(
        "max_io_ops_per_host",
        default=8,
        min=0,
        help="IoOpsFilter: servers of a host that may be built, moved or saved at once.",
    ),
    cfg.ListOpt(
        "isolated_images", default=[], help="IsolatedHostsFilter: ids of images with hosts of their own."
    ),
    cfg.ListOpt("isolated_hosts", default=[], help="IsolatedHostsFilter: those hosts."),
    cfg.BoolOpt(
        "restrict_isolated_hosts_to_isolated_images",
        default=True,
        help="IsolatedHostsFilter: other images do not go there.",
    ),
    cfg.StrOpt(
        "aggregate_image_properties_isolation_namespace",
        default="",
        help="AggregateImagePropertiesIsolation: only metadata that begins with it counts.",
    ),
    cfg.StrOpt(
        "aggregate_image_properties_isolation_separator", default=".", help="What stands after the namespace."
    ),
    cfg.StrOpt(
        "image_properties_default_architecture",
        default="",
        help="Architecture of images that name none; empty = any.",
    ),
    cfg.FloatOpt(
        "cpu_allocation_ratio", default=16.0, min=0.0, help="CoreFilter: VCPUs sold for one of the host."
    ),
    cfg.FloatOpt(
        "ram_allocation_ratio", default=1.5, min=0.0, help="RamFilter: memory sold for the memory there is."
    ),
    cfg.FloatOpt(
        "disk_allocation_ratio", default=1.0, min=0.0, help="DiskFilter: disk sold for the disk there is."
    ),
    cfg.FloatOpt("ram_weight_multiplier", default=1.0, help="Free memory; negative stacks."),
    cfg.FloatOpt("cpu_weight_multiplier", default=1.0, help="Free VCPUs; negative stacks."),
    cfg.FloatOpt("disk_weight_multiplier", default=1.0, help="Free disk; negative stacks."),
    cfg.FloatOpt(
        "io_ops_weight_multiplier", default=-1.0, help="Servers being built, moved, saved on the host."
    ),
    cfg.FloatOpt("build_failure_weight_multiplier", default=1000000.0, help="Recent failed builds, negated."),
    cfg.FloatOpt(
        "cross_cell_move_weight_multiplier", default=1000000.0, help="Moves: the cell the server is in."
    ),
    cfg.FloatOpt("hypervisor_version_weight_multiplier", default=1.0, help="Newer hypervisors first."),
    cfg.FloatOpt(
        "soft_affinity_weight_multiplier",
        default=1.0,
        min=0.0,
        help="Members of the server's group on the host, where the policy is soft-affinity.",
    ),
    cfg.FloatOpt(
        "soft_anti_affinity_weight_multiplier",
        default=1.0,
        min=0.0,
        help="Members of the server's group on the host, negated, where the policy is soft-anti-affinity.",
    ),
    cfg.FloatOpt(
        "pci_weight_multiplier",
        default=1.0,
        min=0.0,
        help="Free PCI devices: hosts that have many are left to servers that ask for some.",
    ),
    cfg.BoolOpt(
        "pci_in_placement",
        default=False,
        help="PCI devices are asked and claimed of placement. All agents have to report them there "
        "([pci] report_in_placement), and each alias is defined once.",
    ),
    cfg.FloatOpt(
        "num_instances_weight_multiplier", default=0.0, help="Servers on the host; negative spreads."
    ),
    cfg.FloatOpt(
        "image_props_weight_multiplier",
        default=0.0,
        help="Servers of like images on the host; negative spreads.",
    ),
    cfg.ListOpt(
        "image_props_weight_setting",
        default=[],
        help="What an equal image property counts: name=weight or name=value=weight; others then count nothing.",
    ),
]

METRICS = [
    cfg.FloatOpt("weight_multiplier", default=1.0, help="What hosts measure."),
    cfg.ListOpt("weight_setting", default=[], help="Metrics that count, each with its ratio: name=ratio."),
    cfg.BoolOpt(
        "required",
        default=True,
        help="A host that does not report one of them makes the request fail; enable MetricsFilter to leave such "
        "hosts out.",
    ),
    cfg.FloatOpt(
        "weight_of_unavailable",
        default=-10000.0,
        help="Weight of such a host where metrics are not required.",
    ),
]

TRUSTED_COMPUTING = [
    cfg.StrOpt(
        "attestation_file",
        default="",
        help="TrustedFilter: JSON file, an object of host names and 'trusted' or 'untrusted'; read again when it "
        "changes.",
    ),
]

config.register(GROUP, SCHEDULER)
config.register(FILTERS, FILTER_SCHEDULER)
config.register("metrics", METRICS)
config.register("trusted_computing", TRUSTED_COMPUTING)
