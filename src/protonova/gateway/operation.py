"""What the REST APIs offer, as data: operations, each with its route, window, policy, schemas and handler.

A resource module declares its operations on a ``Resource``; a ``Registry`` gathers the resources of one API
and finds the operation for a path, method, action and version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from protonova.gateway.schema import Type
from protonova.gateway.validation import NO_QUERY, BodyValidators, Query
from protonova.gateway.versions import Window

Handler = Callable[[Any], Any]


@dataclass(eq=False)
class Operation:
    """One thing a client can ask for."""

    id: str
    method: str
    path: str
    handler: Handler
    window: Window
    # Asked before the handler runs; None leaves it to the handler, or to nobody.
    policy: str | None = None
    # The key of the body of a POST to …/action.
    action: str | None = None
    body: Type | None = None
    query: Query = NO_QUERY
    # What it answers, for the OpenAPI document.
    answer: Type | None = None
    status: int | dict[str, int] = 200
    # Other codes the handler may answer with, besides the usual faults.
    also: tuple[int, ...] = ()
    # Unknown routes need a token, a few documents do not.
    public: bool = False
    summary: str = ""
    validators: BodyValidators | None = field(init=False, default=None)
    _statuses: list[tuple[Window, int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if self.body is not None:
            self.validators = BodyValidators(self.body)
        if isinstance(self.status, dict):
            self._statuses = [(Window.parse(window), code) for window, code in self.status.items()]
        if not self.summary:
            self.summary = (self.handler.__doc__ or self.id).strip().partition("\n")[0]

    def code(self, version: int) -> int:
        """The HTTP code of success at a version."""
        if isinstance(self.status, int):
            return self.status
        return next(code for window, code in self._statuses if version in window)


class Resource:
    """A REST resource: a name and its operations."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.operations: list[Operation] = []

    def add(self, operation: Operation) -> None:
        self.operations.append(operation)

    def operation(
        self,
        name: str,
        method: str,
        path: str,
        *,
        since: str | None = None,
        until: str | None = None,
        versions: str | None = None,
        **rest: Any,
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            window = Window.of(versions, since, until)
            self.add(Operation(f"{self.name}.{name}", method, path, handler, window, **rest))
            return handler

        return declare

    def get(self, path: str, name: str = "show", **rest: Any) -> Callable[[Handler], Handler]:
        return self.operation(name, "GET", path, **rest)

    def post(self, path: str, name: str = "create", **rest: Any) -> Callable[[Handler], Handler]:
        return self.operation(name, "POST", path, **rest)

    def put(self, path: str, name: str = "update", **rest: Any) -> Callable[[Handler], Handler]:
        return self.operation(name, "PUT", path, **rest)

    def delete(self, path: str, name: str = "delete", **rest: Any) -> Callable[[Handler], Handler]:
        return self.operation(name, "DELETE", path, **rest)

    def action(self, path: str, action: str, **rest: Any) -> Callable[[Handler], Handler]:
        return self.operation(f"action.{action}", "POST", path, action=action, **rest)


@dataclass(eq=False)
class Route:
    """All that can be done at one path."""

    path: str
    # By method; several when windows differ.
    plain: dict[str, list[Operation]] = field(default_factory=dict)
    # By method, then by action.
    actions: dict[str, dict[str, list[Operation]]] = field(default_factory=dict)

    def add(self, operation: Operation) -> None:
        if operation.action is None:
            self.plain.setdefault(operation.method, []).append(operation)
        else:
            actions = self.actions.setdefault(operation.method, {})
            actions.setdefault(operation.action, []).append(operation)

    def find(self, method: str, version: int) -> Operation | None:
        return _at(self.plain.get(method, ()), version)

    def find_action(self, method: str, action: str, version: int) -> Operation | None:
        """The operation of an action; KeyError when no version has an action of that name."""
        return _at(self.actions[method][action], version)

    def methods(self, version: int) -> list[str]:
        """What can be done here at a version."""
        found = {method for method, operations in self.plain.items() if _at(operations, version)}
        for method, actions in self.actions.items():
            if any(_at(operations, version) for operations in actions.values()):
                found.add(method)
        return sorted(found)


class Registry:
    """The operations of one API."""

    def __init__(self, resources: Iterable[Resource]) -> None:
        self.resources = list(resources)
        self.routes: dict[str, Route] = {}
        for resource in self.resources:
            for operation in resource.operations:
                route = self.routes.setdefault(operation.path, Route(operation.path))
                route.add(operation)
        # The first segments of all paths: what can follow the version, or a project id behind it.
        self.collections = frozenset(path.split("/", 2)[1] for path in self.routes)

    @property
    def operations(self) -> list[Operation]:
        return [operation for resource in self.resources for operation in resource.operations]


def _at(operations: Iterable[Operation], version: int) -> Operation | None:
    for operation in operations:
        if version in operation.window:
            return operation
    return None
