"""One request, as handlers see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protonova.gateway.links import Links
from protonova.gateway.policy.enforcer import Enforcer
from protonova.gateway.schema import View
from protonova.gateway.services import Services
from protonova.services.runtime.context import RequestContext


@dataclass(frozen=True)
class Identity:
    """Who a token speaks for."""

    user_id: str = ""
    user_name: str = ""
    user_domain_id: str = ""
    project_id: str = ""
    project_name: str = ""
    project_domain_id: str = ""
    roles: tuple[str, ...] = ()
    system_scope: str = ""
    service_roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """What handlers need of the configuration, read once: options are slow to read."""

    public_url: str = ""
    max_limit: int = 1000
    internal_zone: str = "internal"
    image_link_prefix: str = ""

    @classmethod
    def of(cls, conf: Any) -> Settings:
        return cls(
            public_url=conf.gateway.public_url or conf.api.compute_link_prefix or "",
            max_limit=conf.api.max_limit,
            internal_zone=conf.internal_service_availability_zone,
            image_link_prefix=conf.api.glance_link_prefix.rstrip("/"),
        )


@dataclass(eq=False)
class Request:
    """What a handler works with: path parameters, checked query and body, caller, services."""

    environ: Mapping[str, Any]
    version: int
    # True below /v2, where unknown keys are dropped and versions do not exist.
    legacy: bool
    args: Mapping[str, str]
    query: dict[str, list[str]]
    body: Any
    identity: Identity
    context: RequestContext
    services: Services
    policy: Enforcer
    links: Links
    settings: Settings
    _granted: dict[str, bool] = field(default_factory=dict)
    # What getters of one answer share.
    memo: dict[Any, Any] = field(default_factory=dict)

    @property
    def project_id(self) -> str:
        return self.context.project_id

    @property
    def user_id(self) -> str:
        return self.context.user_id

    def last(self, name: str, default: str | None = None) -> str | None:
        """A query parameter; of several, the last."""
        values = self.query.get(name)
        return values[-1] if values else default

    def allowed(self, rule: str, target: Mapping[str, str] | None = None) -> bool:
        """Whether the policy lets the caller do something to a target (its own project by default)."""
        if target is not None:
            return self.policy.allows(rule, self.identity, target)
        found = self._granted.get(rule)
        if found is None:
            own = {"project_id": self.identity.project_id, "user_id": self.identity.user_id}
            found = self._granted[rule] = self.policy.allows(rule, self.identity, own)
        return found

    def enforce(self, rule: str, target: Mapping[str, str] | None = None) -> None:
        """Raises the 403 unless the policy allows."""
        if not self.allowed(rule, target):
            raise self.policy.refusal(rule)

    def shower(self, view: View) -> Any:
        """The function that shows messages by a view at this version, with the caller's permissions."""
        found = self.memo.get(view)
        if found is None:
            wanted = view.permissions(self.version)
            granted = frozenset(rule for rule in wanted if self.allowed(rule)) if wanted else _NONE
            found = self.memo[view] = view.show(self.version, granted)
        return found

    def show(self, view: View, message: Any) -> dict[str, Any]:
        return self.shower(view)(message, self)

    def show_all(self, view: View, messages: Any) -> list[dict[str, Any]]:
        shown = self.shower(view)
        return [shown(message, self) for message in messages]


_NONE: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Response:
    """An answer whose code, headers or lack of a body differ from the operation's usual ones."""

    body: Any = None
    code: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
