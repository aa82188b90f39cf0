"""The services compute stands on, and the account it uses them with."""

from __future__ import annotations

from oslo_config import cfg


def _endpoint(kind: str) -> list[cfg.Opt]:
    return [
        cfg.StrOpt(
            "endpoint_override", default="", help=f"URL of the {kind} service; empty = from the catalog."
        ),
        cfg.StrOpt("interface", default="internal", help="Interface of the catalog's endpoint."),
        cfg.StrOpt("region_name", default="", help="Region of the catalog's endpoint; empty = any."),
    ]


OPTIONS: dict[str, list[cfg.Opt]] = {
    "service_auth": [
        cfg.StrOpt("auth_url", default="http://127.0.0.1:5000/v3", help="Identity service."),
        cfg.StrOpt("username", default="nova", help="Service user."),
        cfg.StrOpt("password", default="", secret=True, help="Password of the service user."),
        cfg.StrOpt("user_domain_name", default="Default", help="Domain of the service user."),
        cfg.StrOpt("project_name", default="service", help="Project of the service user."),
        cfg.StrOpt("project_domain_name", default="Default", help="Domain of that project."),
        cfg.StrOpt("cafile", default="", help="CA bundle; empty = the system's."),
        cfg.FloatOpt("timeout", default=60, min=1, help="Seconds until a call is given up."),
    ],
    "glance": _endpoint("image"),
    "neutron": _endpoint("network"),
    "cinder": _endpoint("volume"),
    "manila": [
        *_endpoint("share"),
        cfg.FloatOpt(
            "share_apply_policy_timeout",
            default=10,
            min=0.1,
            help="Seconds the share service may take to let a host reach a share, or to end that.",
        ),
    ],
}
