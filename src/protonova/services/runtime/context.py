"""Who asks, on whose behalf, and under which request id: carried by every call and every operation.

The gateway makes a context from a token; from then on it travels in gRPC metadata and, for durable
operations, in their row. Nobody but the gateway decides about rights by it.
"""

from __future__ import annotations

import contextlib
import contextvars
import secrets
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

_TEXT_KEYS = {
    "x-request-id": "request_id",
    "x-user-id": "user_id",
    "x-project-id": "project_id",
    "x-global-request-id": "global_request_id",
    "traceparent": "trace_parent",
}
_FAR_SECONDS = 1e7
# Names are free text, which only binary metadata may carry.
_BINARY_KEYS = {"x-user-name-bin": "user_name", "x-project-name-bin": "project_name"}


@dataclass(frozen=True, slots=True)
class RequestContext:
    """`roles` are names; `is_admin` is what the policy made of them."""

    request_id: str = ""
    user_id: str = ""
    project_id: str = ""
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    global_request_id: str = ""
    trace_parent: str = ""
    user_name: str = ""
    project_name: str = ""

    def to_metadata(self) -> list[tuple[str, str | bytes]]:
        metadata: list[tuple[str, str | bytes]] = [
            ("x-request-id", self.request_id),
            ("x-user-id", self.user_id),
            ("x-project-id", self.project_id),
        ]
        if self.roles:
            metadata.append(("x-roles", ",".join(self.roles)))
        if self.is_admin:
            metadata.append(("x-is-admin", "1"))
        if self.global_request_id:
            metadata.append(("x-global-request-id", self.global_request_id))
        if self.trace_parent:
            metadata.append(("traceparent", self.trace_parent))
        if self.user_name:
            metadata.append(("x-user-name-bin", self.user_name.encode()))
        if self.project_name:
            metadata.append(("x-project-name-bin", self.project_name.encode()))
        return metadata

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "roles": list(self.roles)}

    def elevated(self) -> RequestContext:
        """The same request with an administrator's rights."""
        return replace(self, is_admin=True)


ANONYMOUS = RequestContext()
_current: contextvars.ContextVar[RequestContext] = contextvars.ContextVar(
    "request_context", default=ANONYMOUS
)
_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar("deadline", default=None)


def from_metadata(metadata: Iterable[tuple[str, str | bytes]] | None) -> RequestContext:
    """The context a call came with; keys that are not ours are passed over."""
    fields: dict[str, Any] = {}
    for key, value in metadata or ():
        if (name := _TEXT_KEYS.get(key)) is not None:
            fields[name] = value
        elif key == "x-roles":
            fields["roles"] = tuple(str(value).split(","))
        elif key == "x-is-admin":
            fields["is_admin"] = value == "1"
        elif (name := _BINARY_KEYS.get(key)) is not None:
            fields[name] = value.decode(errors="replace") if isinstance(value, bytes) else value
    return RequestContext(**fields) if fields else ANONYMOUS


def from_dict(fields: Mapping[str, Any]) -> RequestContext:
    """The opposite of `to_dict`; fields of a later version are passed over."""
    known = {name: fields[name] for name in RequestContext.__dataclass_fields__ if name in fields}
    known["roles"] = tuple(known.get("roles", ()))
    return RequestContext(**known)


def current() -> RequestContext:
    """The context of what runs now; an empty one outside of any request."""
    return _current.get()


def remaining() -> float | None:
    """Seconds until the caller of what runs now gives up; None when nobody waits."""
    deadline = _deadline.get()
    return None if deadline is None else max(deadline - time.monotonic(), 0.0)


def enter(ctx: RequestContext, seconds: float | None = None) -> None:
    """Sets the context for the rest of this thread of control, as bootstraps do."""
    _current.set(ctx)
    # gRPC tells "no deadline" as one in the far future.
    far = seconds is None or seconds > _FAR_SECONDS
    _deadline.set(None if far else time.monotonic() + seconds)  # type: ignore[operator]


@contextlib.contextmanager
def use(ctx: RequestContext, seconds: float | None = None) -> Iterator[RequestContext]:
    """Runs a block under a context; calls made in it are given up after `seconds`."""
    token = _current.set(ctx)
    deadline_token = _deadline.set(None if seconds is None else time.monotonic() + seconds)
    try:
        yield ctx
    finally:
        _deadline.reset(deadline_token)
        _current.reset(token)


def new_request_id() -> str:
    return f"req-{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}"


def internal(name: str) -> RequestContext:
    """A service acting by itself, with an administrator's rights."""
    return RequestContext(
        request_id=new_request_id(), user_id=name, user_name=name, roles=("service",), is_admin=True
    )
