"""Consoles: which there are, where hypervisors show them, and where users are sent to see them."""

from __future__ import annotations

from oslo_config import cfg


def _screen(what: str, *, enabled: bool) -> list[cfg.Opt]:
    return [
        cfg.BoolOpt("enabled", default=enabled, help=f"Whether guests have a {what} console."),
        cfg.StrOpt(
            "server_listen", default="127.0.0.1", help=f"Address {what} consoles of guests listen on."
        ),
        cfg.StrOpt(
            "server_proxyclient_address",
            default="127.0.0.1",
            help="This host's address as the console proxy reaches it.",
        ),
    ]


OPTIONS: dict[str, list[cfg.Opt]] = {
    "consoleauth": [
        cfg.IntOpt("token_ttl", default=600, min=0, help="Seconds a console's token is good for."),
    ],
    "vnc": [
        *_screen("VNC", enabled=True),
        cfg.StrOpt(
            "novncproxy_base_url",
            default="http://127.0.0.1:6080/vnc_auto.html",
            help="Where users see VNC consoles.",
        ),
    ],
    "spice": [
        *_screen("SPICE", enabled=False),
        cfg.StrOpt(
            "html5proxy_base_url",
            default="http://127.0.0.1:6082/spice_auto.html",
            help="Where users see SPICE consoles.",
        ),
        cfg.StrOpt(
            "spice_direct_proxy_base_url",
            default="http://127.0.0.1:13002/nova",
            help="Where SPICE clients are told how to connect directly.",
        ),
    ],
    "serial_console": [
        cfg.BoolOpt("enabled", default=False, help="Whether guests have a serial console over the network."),
        cfg.StrOpt("base_url", default="ws://127.0.0.1:6083/", help="Where users see serial consoles."),
        cfg.StrOpt(
            "port_range",
            default="10000:20000",
            help="Ports of a host for serial consoles: first:beyond last.",
        ),
        cfg.StrOpt(
            "proxyclient_address",
            default="127.0.0.1",
            help="Address serial consoles listen on and the console proxy reaches them at.",
        ),
    ],
}
