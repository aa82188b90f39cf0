"""What an operator can set of a compute agent (group `compute`)."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "compute"

IMAGE_CACHE = [
    cfg.IntOpt(
        "manager_interval",
        default=2400,
        min=-1,
        help="Seconds between two looks for images that no guest of a host needs; 0 = the usual, -1 = never.",
    ),
    cfg.BoolOpt("remove_unused_base_images", default=True, help="Whether those images are removed."),
    cfg.IntOpt(
        "remove_unused_original_minimum_age_seconds",
        default=86400,
        min=0,
        help="Seconds for which an image stays after its last use; never less than ten minutes.",
    ),
]

CELL_WIDE = [
    cfg.StrOpt(
        "my_shared_fs_storage_ip",
        default="",
        help="Address from which this host mounts shares, as the share service is told; empty = my_ip.",
    ),
    cfg.IntOpt(
        "volume_usage_poll_interval",
        default=0,
        min=0,
        help="Seconds between two looks at what guests read from volumes and write to them, which metrics then "
        "tell; 0 = only when told to.",
    ),
]

OPTIONS = [
    cfg.ListOpt(
        "hosts",
        default=[],
        help="Names of the hosts this agent serves. Empty: the one named by [DEFAULT]/host.",
    ),
    cfg.StrOpt(
        "driver", default="auto", choices=("auto", "libvirt", "fake"), help="Virt driver of the hosts."
    ),
    cfg.StrOpt("listen", default="127.0.0.1:0", help="Address the agent's gRPC server binds."),
    cfg.StrOpt(
        "advertise",
        default="",
        help="Address the cell's conductors call this agent at. Empty: the one that was bound.",
    ),
    cfg.StrOpt(
        "availability_zone",
        default="",
        help="Zone of the hosts while no aggregate says another; empty = default_availability_zone.",
    ),
    cfg.ListOpt(
        "monitors",
        default=[],
        help="Metrics that are measured and told with each heartbeat: names, or their beginnings such as "
        "'cpu' for all of cpu.*.",
    ),
    cfg.FloatOpt("report_interval", default=10.0, min=0.05, help="Seconds between two heartbeats."),
    cfg.FloatOpt(
        "inventory_interval", default=60.0, min=0.05, help="Seconds between two looks at the hardware."
    ),
    cfg.FloatOpt(
        "sync_power_state_interval",
        default=60.0,
        min=0.05,
        help="Seconds between two full reports of all guests.",
    ),
    cfg.FloatOpt(
        "orphan_confirm_seconds",
        default=5.0,
        min=0.0,
        help="How long a guest without a server is left alone before its cell is asked again.",
    ),
    cfg.StrOpt(
        "running_deleted_instance_action",
        default="reap",
        choices=("reap", "stop", "log", "ignore"),
        help="What happens to a guest of ours that no server owns.",
    ),
    cfg.FloatOpt(
        "journal_retention_hours",
        default=48.0,
        min=1.0,
        help="How long the agent remembers operations. Longer than any operation may last.",
    ),
]
