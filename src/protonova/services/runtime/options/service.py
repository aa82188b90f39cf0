"""Where each service listens and is called, and the few options that more than one of them reads."""

from __future__ import annotations

from oslo_config import cfg


def _target(default: str, who: str) -> cfg.Opt:
    return cfg.StrOpt(
        "target",
        default=default,
        help=f"Address callers reach the {who} at: host:port, several separated by commas, or unix:<path>.",
    )


def _listen(default: str) -> cfg.Opt:
    return cfg.StrOpt("listen", default=default, help="Address to bind; port 0 = any free one.")


def _workers(default: int) -> cfg.Opt:
    return cfg.IntOpt("workers", default=default, min=1, help="Operations worked on at once.")


OPTIONS: dict[str, list[cfg.Opt]] = {
    "api": [
        _target("127.0.0.1:8780", "api service"),
        _listen("127.0.0.1:8780"),
        _workers(64),
        cfg.IntOpt(
            "max_limit", default=1000, min=0, help="Ceiling and default of the page size of every list."
        ),
        cfg.StrOpt("compute_link_prefix", default="", help="Start of links, instead of the address called."),
        cfg.StrOpt("glance_link_prefix", default="", help="Start of links to images."),
        cfg.BoolOpt(
            "list_records_by_skipping_down_cells",
            default=True,
            help="Lists go on without the cells that cannot be reached.",
        ),
        cfg.BoolOpt("enable_instance_password", default=True, help="Whether answers carry adminPass."),
        cfg.StrOpt("dhcp_domain", default="novalocal", help="Domain of host names in the metadata."),
    ],
    "conductor": [_target("127.0.0.1:8781", "conductor"), _listen("127.0.0.1:8781"), _workers(64)],
    "scheduler": [
        _target("127.0.0.1:8782", "scheduler"),
        _listen("127.0.0.1:8782"),
        cfg.IntOpt(
            "max_attempts",
            default=3,
            min=1,
            help="Hosts tried for a server that is new or on the move: the chosen one and its alternates.",
        ),
    ],
    "placement": [_target("127.0.0.1:8783", "placement service"), _listen("127.0.0.1:8783")],
    "gateway": [
        cfg.StrOpt("listen", default="127.0.0.1:8774", help="Address of the Compute API."),
        cfg.StrOpt("placement_listen", default="127.0.0.1:8778", help="Address of the Placement API."),
        cfg.StrOpt("public_url", default="", help="URL clients reach the Compute API at, for links."),
    ],
}
