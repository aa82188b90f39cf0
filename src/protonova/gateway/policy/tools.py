"""What oslo.policy's command line tools ask for: an enforcer with the Compute API's rules."""

from __future__ import annotations

import sys

from oslo_policy import policy

from protonova.gateway import options as _options  # noqa: F401 - registers oslo.policy's options
from protonova.gateway.policy import compute_rules
from protonova.services.runtime import config


def enforcer() -> policy.Enforcer:
    """For ``oslopolicy-checker --namespace protonova`` and its siblings."""
    # The tools take their own options from the command line; ours come from the files named there.
    arguments = [argument for argument in sys.argv[1:] if argument.startswith("--config-file=")]
    made = policy.Enforcer(config.load(arguments))
    made.register_defaults(compute_rules())
    return made
