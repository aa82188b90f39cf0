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
    cfg.FloatOpt(
        "snapshot_timeout",
        default=7200.0,
        min=1.0,
        help="Seconds a host may take to copy a root disk, and as many to send it to the image service.",
    ),
    cfg.FloatOpt("network_timeout", default=300.0, min=1.0, help="Seconds the ports of a server may take."),
    cfg.FloatOpt("volume_timeout", default=600.0, min=1.0, help="Seconds the volumes of a server may take."),
    cfg.FloatOpt(
        "detach_timeout",
        default=300.0,
        min=1.0,
        help="Seconds a host may take to get a disk or an interface back from a guest. More than its "
        "[libvirt] device_detach_attempts times device_detach_timeout.",
    ),
    cfg.FloatOpt(
        "volume_swap_timeout",
        default=3900.0,
        min=1.0,
        help="Seconds swapping a volume may take. More than a host's [libvirt] volume_swap_timeout.",
    ),
    cfg.FloatOpt(
        "answer_timeout",
        default=45.0,
        min=0.0,
        help="Seconds a caller who wants to know what came of a change waits for it; it goes on in any case.",
    ),
    cfg.FloatOpt(
        "schedule_timeout",
        default=120.0,
        min=1.0,
        help="Seconds to find a destination for a server to be moved.",
    ),
    cfg.FloatOpt(
        "live_migration_timeout",
        default=86400.0,
        min=1.0,
        help="Seconds for which a live migration may wait for its turn and run.",
    ),
    cfg.FloatOpt(
        "confirm_check_interval",
        default=10.0,
        min=0.05,
        help="Seconds between two looks for resized servers to be confirmed (resize_confirm_window).",
    ),
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
    cfg.FloatOpt(
        "reclaim_check_interval",
        default=60.0,
        min=0.05,
        help="Seconds between two looks for softly deleted servers whose time is over.",
    ),
    cfg.FloatOpt(
        "rescue_check_interval",
        default=60.0,
        min=0.05,
        help="Seconds between two looks for rescued servers whose time is over (rescue_timeout).",
    ),
    cfg.FloatOpt(
        "usage_audit_check_interval",
        default=60.0,
        min=0.05,
        help="Seconds between two looks whether hosts are to be audited (instance_usage_audit).",
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
    cfg.IntOpt(
        "reclaim_instance_interval",
        default=0,
        help="Seconds for which a deleted server can be restored; then it is gone. 0 or less: it is gone at once.",
    ),
    cfg.ListOpt(
        "non_inheritable_image_properties",
        default=["cache_in_nova", "bittorrent"],
        help="Properties of the image a server came from that images made of the server do not get.",
    ),
    cfg.IntOpt(
        "shelved_offload_time",
        default=0,
        help="Seconds after which a shelved server leaves its host; 0 = at once, negative = only when told to.",
    ),
    cfg.IntOpt(
        "shelved_poll_interval",
        default=3600,
        help="Seconds between two looks for shelved servers that are to leave; 0 = 60, negative = never.",
    ),
    cfg.IntOpt(
        "rescue_timeout",
        default=0,
        min=0,
        help="Seconds after which a rescued server is brought back by itself; 0 = never.",
    ),
    cfg.IntOpt(
        "instance_build_timeout",
        default=0,
        min=0,
        help="Seconds a build may take in its cell, all its hosts together, before it is undone and the server is "
        "in ERROR; 0 = as long as its steps may take.",
    ),
    cfg.IntOpt(
        "heal_instance_info_cache_interval",
        default=60,
        help="Seconds between two looks whether the network info of some servers is old; 0 = 60, negative = never.",
    ),
    cfg.BoolOpt(
        "instance_usage_audit",
        default=False,
        help="Whether the servers of each host are counted at the end of each instance_usage_audit_period.",
    ),
    cfg.BoolOpt(
        "enable_new_services", default=True, help="Whether hosts that report for the first time get servers."
    ),
]

MOVES = [
    cfg.BoolOpt(
        "allow_resize_to_same_host",
        default=False,
        help="Whether a resized server may stay on its host, beside what it was there.",
    ),
    cfg.IntOpt(
        "migrate_max_retries",
        default=-1,
        min=-1,
        help="Other destinations that a resize or a cold migration tries when one refuses; -1 = all that the "
        "scheduler names.",
    ),
    cfg.IntOpt(
        "resize_confirm_window",
        default=0,
        min=0,
        help="Seconds after which a resized server is confirmed by itself; 0 = never.",
    ),
    cfg.IntOpt(
        "max_concurrent_live_migrations",
        default=1,
        min=0,
        help="Live migrations from one host at the same time, the others are queued; 0 = any number.",
    ),
]

IMAGE_CACHE = [
    cfg.IntOpt(
        "precache_concurrency",
        default=1,
        min=1,
        help="Hosts of a cell that fetch images for an aggregate at the same time.",
    ),
]

DISKS = [
    cfg.IntOpt(
        "max_disk_devices_to_attach",
        default=-1,
        min=-1,
        help="Most disks of a server; attaching one more is refused. -1 = no limit.",
    ),
]
VOLUMES = [
    cfg.BoolOpt(
        "cross_az_attach",
        default=True,
        help="Whether servers get volumes of other availability zones than their own.",
    ),
]

config.register(GROUP, OPTIONS)
config.register("compute", DISKS)
config.register("cinder", VOLUMES)
config.register("image_cache", IMAGE_CACHE)
config.register("DEFAULT", CELL_WIDE)
config.register("DEFAULT", MOVES)
