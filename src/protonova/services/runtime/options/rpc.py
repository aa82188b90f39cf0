"""gRPC: certificates, deadlines, threads."""

from __future__ import annotations

from oslo_config import cfg

OPTIONS: dict[str, list[cfg.Opt]] = {
    "grpc": [
        cfg.StrOpt(
            "ca_file", default="", help="CA that both sides' certificates are checked by; empty = no TLS."
        ),
        cfg.StrOpt(
            "cert_file", default="", help="This process's certificate, shown as server and as client."
        ),
        cfg.StrOpt("key_file", default="", help="Private key of cert_file."),
        cfg.StrOpt(
            "server_name",
            default="",
            help="Name servers' certificates must carry; empty = the host part of the address called.",
        ),
        cfg.FloatOpt("deadline_seconds", default=60, min=0.1, help="Deadline of a call that names none."),
        cfg.FloatOpt(
            "wait_seconds",
            default=2,
            min=0,
            help="How long a call waits for a service that nobody answers for; 0 = fail at once.",
        ),
        cfg.IntOpt("threads", default=32, min=1, help="Calls a server answers at once, besides streams."),
        cfg.IntOpt("streams", default=1000, min=1, help="Streams a server feeds at once."),
        cfg.IntOpt("max_message_mb", default=64, min=1, help="Largest message, in MiB."),
        cfg.IntOpt(
            "keepalive_seconds", default=30, min=1, help="Seconds between keepalive pings of a connection."
        ),
    ]
}
