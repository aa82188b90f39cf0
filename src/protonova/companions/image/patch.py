"""The JSON patch of an image: operations on its top level, in either of the two media types."""

from dataclasses import dataclass
from typing import Any

from flask import request

from protonova.companions import web
from protonova.companions.fault import Fault, bad

_NEWER = "application/openstack-images-v2.1-json-patch"
_OLDER = "application/openstack-images-v2.0-json-patch"
_VERBS = ("add", "replace", "remove")


@dataclass(frozen=True)
class Change:
    verb: str
    name: str
    value: Any = None


def changes() -> list[Change]:
    if request.mimetype not in (_NEWER, _OLDER):
        raise Fault(415, f"A patch is sent as {_NEWER}.", headers={"Accept-Patch": f"{_NEWER},{_OLDER}"})
    operations = web.parsed()
    if not isinstance(operations, list):
        raise bad("A patch must be a list of operations.")
    return [_change(operation, request.mimetype == _OLDER) for operation in operations]


def _change(operation: Any, older: bool) -> Change:
    if not isinstance(operation, dict):
        raise bad("An operation of a patch must be an object.")
    if older:
        verbs = [verb for verb in _VERBS if verb in operation]
        verb, path = (verbs[0], operation[verbs[0]]) if len(verbs) == 1 else (None, None)
    else:
        verb, path = operation.get("op"), operation.get("path")
    if verb not in _VERBS:
        raise bad(f"An operation of a patch must be one of {', '.join(_VERBS)}.")
    if not isinstance(path, str) or not path.startswith("/") or len(path) < 2:
        raise bad("The path of an operation must start with '/' and name an attribute.")
    if "/" in path[1:]:
        raise bad(f"The path '{path}' goes deeper than the attributes of an image.")
    if verb != "remove" and "value" not in operation:
        raise bad(f"The operation {verb} needs a value.")
    name = path[1:].replace("~1", "/").replace("~0", "~")
    return Change(verb, name, operation.get("value"))
