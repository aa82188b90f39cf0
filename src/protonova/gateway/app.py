"""Wires the gateway: ``Gateway(conf)`` holds its WSGI applications, ``create(conf)`` answers with the whole one.

The Compute API is at /v2.1 and /v2 of the whole application, the Placement API at /placement; the latter is also
an application by itself, to be served at the root of an address of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protonova.gateway import compute, openapi, placement
from protonova.gateway import options as _options  # noqa: F401 - registers the gateway's options
from protonova.gateway.auth import Authenticator
from protonova.gateway.compute.dispatcher import ComputeDispatcher
from protonova.gateway.front import Application, Front
from protonova.gateway.operation import Registry
from protonova.gateway.placement.dispatcher import PlacementDispatcher
from protonova.gateway.placement.front import PlacementFront
from protonova.gateway.policy import compute_rules, placement_rules
from protonova.gateway.policy.enforcer import Enforcer
from protonova.gateway.services import Services


class Gateway:
    """The applications of one process, over the same channels."""

    def __init__(
        self,
        conf: Any,
        mounts: Mapping[str, Application] | None = None,
        protect: Callable[[Application, Any], Application] = Authenticator,
    ) -> None:
        self.services = Services(conf)
        self.placement = self._placement(conf, protect)
        registry = Registry(compute.RESOURCES)
        policy = Enforcer(conf, compute_rules())
        dispatcher = ComputeDispatcher(conf, registry, policy, self.services)
        self.compute = Front(
            protect(dispatcher.flask("protonova.compute"), conf),
            registry.collections,
            {"placement": self.placement, **(mounts or {})},
            openapi.documents(registry),
            dispatcher.settings.public_url,
        )

    def _placement(self, conf: Any, protect: Callable[[Application, Any], Application]) -> Application:
        policy = Enforcer(conf, placement_rules(), conf.gateway.placement_policy_file, "admin_api")
        dispatcher = PlacementDispatcher(conf, Registry(placement.RESOURCES), policy, self.services)
        application = dispatcher.flask("protonova.placement")
        return PlacementFront(application.wsgi_app, protect(application, conf))

    def close(self) -> None:
        self.services.close()


def create(conf: Any, mounts: Mapping[str, Application] | None = None) -> Application:
    """The whole gateway as one WSGI application."""
    return Gateway(conf, mounts).compute
