"""What an operator can set of a compute agent (group `compute`)."""

from __future__ import annotations

from oslo_config import cfg

GROUP = "compute"

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
    cfg.StrOpt("availability_zone", default="nova", help="Zone of the hosts."),
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
