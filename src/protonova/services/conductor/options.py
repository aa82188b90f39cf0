"""What an operator can set of a conductor (groups `conductor` and DEFAULT)."""

from __future__ import annotations

from oslo_config import cfg

from protonova.services.runtime import config

GROUP = "conductor"

OPTIONS = [
    cfg.FloatOpt(
        "up_check_interval",
        default=2.0,
        min=0.05,
        help="Seconds between two looks for hosts whose heartbeat has ceased.",
    ),
    cfg.FloatOpt(
        "registration_interval",
        default=30.0,
        min=0.05,
        help="Seconds between two registrations of this cell with the api service.",
    ),
    cfg.FloatOpt(
        "guest_timeout", default=180.0, min=1.0, help="Seconds a guest may take to start, reboot or go away."
    ),
    cfg.FloatOpt("spawn_timeout", default=1800.0, min=1.0, help="Seconds a host may take to make a guest."),
    cfg.FloatOpt("network_timeout", default=300.0, min=1.0, help="Seconds the ports of a server may take."),
    cfg.FloatOpt("volume_timeout", default=600.0, min=1.0, help="Seconds the volumes of a server may take."),
    cfg.FloatOpt(
        "volume_poll_interval",
        default=1.0,
        min=0.01,
        help="Seconds between two looks at a volume being made.",
    ),
    cfg.FloatOpt(
        "cleanup_timeout",
        default=86400.0,
        min=1.0,
        help="Seconds for which it is tried to give back what a server held in other services, before an "
        "operator is needed.",
    ),
    cfg.BoolOpt(
        "delete_without_agent",
        default=True,
        help="Delete servers whose host is down at once; the agent removes the guest when it comes back. "
        "False: a delete waits for the host, and fails when it stays away.",
    ),
]

CELL_WIDE = [
    cfg.StrOpt(
        "instance_name_template",
        default="instance-%08x",
        help="How hypervisors call a guest: a template for the server's number, or with %(uuid)s for its id.",
    ),
    cfg.IntOpt(
        "shutdown_timeout",
        default=60,
        min=0,
        help="Seconds a guest may take to shut down by itself before it is cut off; the image property "
        "os_shutdown_timeout takes precedence.",
    ),
    cfg.IntOpt(
        "reboot_timeout",
        default=120,
        min=0,
        help="Seconds a soft reboot may take before it becomes a hard one.",
    ),
    cfg.BoolOpt(
        "enable_new_services", default=True, help="Whether hosts that report for the first time get servers."
    ),
]

config.register(GROUP, OPTIONS)
config.register("DEFAULT", CELL_WIDE)
