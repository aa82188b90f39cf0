"""Where a process lives: its host, its files, its databases, its Redis, what it tells of itself."""

from __future__ import annotations

import socket

from oslo_config import cfg

from protonova.services.runtime.audit_period import FORM

_DATABASE_URL = (
    "Database URL: sqlite:///<path>, postgresql+psycopg://user:password@host/name or "
    "mysql+pymysql://user:password@host/name."
)


def _database(default: str) -> list[cfg.Opt]:
    return [
        cfg.StrOpt("connection", default=default, secret=True, help=_DATABASE_URL),
        cfg.IntOpt("pool_size", default=10, min=1, help="Connections kept open by a process."),
        cfg.IntOpt("max_overflow", default=40, min=0, help="Further connections at peaks."),
        cfg.FloatOpt("pool_timeout", default=30, min=0, help="Seconds to wait for a free connection."),
        cfg.BoolOpt(
            "sync_on_startup", default=True, help="Bring the schema up to date when the service starts."
        ),
    ]


OPTIONS: dict[str, list[cfg.Opt]] = {
    "DEFAULT": [
        cfg.HostAddressOpt(
            "host", default=socket.gethostname(), sample_default="<hostname>", help="Name of this host."
        ),
        cfg.HostAddressOpt("my_ip", default="127.0.0.1", help="Address of this host towards the others."),
        cfg.StrOpt("state_path", default="/var/lib/protonova", help="Directory of all embedded data."),
        cfg.StrOpt("log_dir", default="", help="Directory for log files; empty = standard error."),
        cfg.BoolOpt("debug", default=False, mutable=True, help="Log more; read again on SIGHUP."),
        cfg.ListOpt(
            "default_log_levels",
            default=[
                "keystoneauth=WARNING",
                "keystonemiddleware=WARNING",
                "urllib3=WARNING",
                "alembic=WARNING",
            ],
            help="logger=LEVEL pairs.",
        ),
        cfg.FloatOpt(
            "graceful_shutdown_timeout",
            default=10,
            min=0,
            help="Seconds a stopping process lets running calls and steps end.",
        ),
        cfg.FloatOpt(
            "keep_deleted_days",
            default=0,
            min=0,
            help="Days for which deleted servers, with all that was ever done to them, stay in the databases; then "
            "nobody can list them any more. 0 = for ever.",
        ),
        cfg.StrOpt(
            "instance_usage_audit_period",
            default="month",
            regex=FORM,
            help="Period of usage audits: hour, day, month or year (UTC), from an offset on: hour@MINUTE, "
            "day@HOUR, month@DAY (at most 28), year@MONTH.",
        ),
        cfg.IntOpt("service_down_time", default=60, help="A heartbeat older than this (seconds) means down."),
        cfg.IntOpt("report_interval", default=10, min=1, help="Seconds between heartbeats."),
        cfg.StrOpt(
            "default_availability_zone", default="nova", help="Zone of hosts that are in no zoned aggregate."
        ),
        cfg.StrOpt(
            "internal_service_availability_zone",
            default="internal",
            help="Zone of services that are not compute services.",
        ),
    ],
    "api_database": _database("sqlite:///$state_path/api.sqlite"),
    "database": _database("sqlite:///$state_path/cell.sqlite"),
    "placement_database": _database("sqlite:///$state_path/placement.sqlite"),
    "cell": [
        cfg.StrOpt("id", default="", help="UUID of this cell; empty = derived from its name."),
        cfg.StrOpt("name", default="cell1", help="Name of this cell."),
    ],
    "redis": [
        cfg.StrOpt(
            "url",
            default="",
            secret=True,
            help="redis://, rediss:// or unix:// URL; empty = an embedded one, seen by this process only.",
        ),
        cfg.StrOpt("prefix", default="protonova", help="First part of every key and channel name."),
    ],
    "telemetry": [
        cfg.StrOpt("metrics_listen", default="127.0.0.1", help="Address Prometheus metrics are served on."),
        cfg.PortOpt("metrics_port", default=0, help="Port of Prometheus metrics; 0 = not served."),
        cfg.StrOpt(
            "otlp_endpoint", default="", help="OTLP/gRPC address traces are sent to; empty = no traces."
        ),
        cfg.FloatOpt(
            "sample_ratio", default=1.0, min=0, max=1, help="Share of new traces that are recorded."
        ),
    ],
    "operations": [
        cfg.IntOpt("workers", default=64, min=1, help="Steps a process works on at once."),
        cfg.FloatOpt("lease_seconds", default=10, min=0.1, help="How long a silent replica keeps its work."),
        cfg.FloatOpt("poll_seconds", default=1, min=0.05, help="How often orphaned work is looked for."),
    ],
}
