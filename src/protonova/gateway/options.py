"""Options of the gateway beyond where it listens, and those of the libraries it checks tokens and rights with."""

from __future__ import annotations

from keystonemiddleware.auth_token import _opts as token_options
from oslo_config import cfg
from oslo_policy import opts as policy_options

from protonova.services.runtime import config

OPTIONS: dict[str, list[cfg.Opt]] = {
    "gateway": [
        cfg.IntOpt("threads", default=32, min=1, help="Requests a process answers at once."),
        cfg.StrOpt(
            "companions_url",
            default="",
            help="Where the companions answer: /identity, /image, /network, /volume and /share are passed on "
            "to there. Empty = they are not served.",
        ),
        cfg.StrOpt(
            "placement_policy_file",
            default="placement-policy.yaml",
            help="Overrides of the Placement API's policy rules. [oslo_policy] policy_file is the Compute API's.",
        ),
    ],
}

for _group, _options in (*OPTIONS.items(), *policy_options.list_opts(), *token_options.list_opts()):
    config.register(_group, _options)


def list_opts() -> list[tuple[str, list[cfg.Opt]]]:
    """For `oslo-config-generator --namespace protonova-gateway`."""
    return list(OPTIONS.items())
