"""Addresses that are served with the project's id in them and without, as those of Volume and Share are."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from protonova.companions.caller import Caller, caller
from protonova.companions.fault import bad

Handler = Callable[..., Response]


class ProjectRoutes:
    """Registers handlers below a version such as "/v3": `@route("/volumes", "POST")`."""

    def __init__(self, blueprint: Blueprint, version: str) -> None:
        self._blueprint = blueprint
        self._prefixes = (version, f"{version}/<string(length=32):project_id>")
        blueprint.url_value_preprocessor(_project_of_path)

    def __call__(self, rule: str, *methods: str) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            for prefix in self._prefixes:
                self._blueprint.add_url_rule(
                    f"{prefix}{rule}", handler.__name__, handler, methods=list(methods) or ["GET"]
                )
            return handler

        return register


def writer() -> Caller:
    who = caller()
    who.require_member()
    return who


def _project_of_path(_: str | None, values: dict[str, Any] | None) -> None:
    project_id = (values or {}).pop("project_id", None)
    if project_id and values is not None and not caller().is_privileged and caller().project_id != project_id:
        raise bad("The project in the address is not the one of the token.")
