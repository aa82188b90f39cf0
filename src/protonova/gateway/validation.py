"""Checks bodies and queries against their declared types, and says in our words what is wrong."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

import jsonschema_rs

from protonova.gateway.faults import Fault
from protonova.gateway.schema import MOST_DIGITS, Arr, Field, Obj, Schema, Type


def canonical_address(text: str | None) -> str:
    """An address in the one form it is kept and compared in (RFC 5952); empty stays empty."""
    return str(ipaddress.ip_address(text)) if text else ""


def is_uuid(value: str) -> bool:
    try:
        return str(uuid.UUID(value)).replace("-", "") == value.replace("-", "").lower()
    except ValueError:
        return False


def _is_base64(value: str) -> bool:
    try:
        base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_address(kind: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(value: str) -> bool:
        try:
            kind(value)
        except ValueError:
            return False
        return "%" not in value

    return check


def _is_time(value: str) -> bool:
    try:
        datetime.fromisoformat(value.strip())
    except ValueError:
        return False
    return True


def _is_name(value: str) -> bool:
    return value.isprintable() and value == value.strip() and bool(value)


def _is_regex(value: str) -> bool:
    if not value:
        return False
    try:
        re.compile(value)
    except re.error:
        return False
    return True


FORMATS: dict[str, Callable[[str], bool]] = {
    "uuid": is_uuid,
    "base64": _is_base64,
    "ipv4": _is_address(ipaddress.IPv4Address),
    "ipv6": _is_address(ipaddress.IPv6Address),
    "ip": _is_address(ipaddress.ip_address),
    "date-time": _is_time,
    "name": _is_name,
    "zone-name": lambda value: _is_name(value) and ":" not in value,
    "printable": lambda value: all(letter.isprintable() or letter.isspace() for letter in value),
    "regex": _is_regex,
    "storable": lambda value: "\0" not in value,
    "uuid-or-empty": lambda value: not value or is_uuid(value),
}
_MEANINGS = {
    "uuid": "a UUID",
    "uuid-or-empty": "a UUID or empty",
    "base64": "base64 text",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "ip": "an IP address",
    "date-time": "an ISO 8601 time",
    "name": "printable text without blanks around it",
    "zone-name": "printable text without a colon and without blanks around it",
    "printable": "printable text",
    "regex": "a regular expression",
    "storable": "text without NUL characters",
    "uri": "a URI",
}


# Anything else that is given for a number breaks its pattern or its length.
_NUMBER = re.compile(rf"-?[0-9]{{1,{MOST_DIGITS}}}")


class _Least:
    """The keyword ``x-least``: a lower bound for numbers that are written as text."""

    def __init__(self, parent_schema: Schema, value: int, schema_path: list[str | int]) -> None:
        self._bound = value

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and _NUMBER.fullmatch(instance) and int(instance) < self._bound:
            raise ValueError(f"is less than {self._bound}")


class _Most(_Least):
    """The keyword ``x-most``: the upper bound."""

    def validate(self, instance: Any) -> None:
        if isinstance(instance, str) and _NUMBER.fullmatch(instance) and int(instance) > self._bound:
            raise ValueError(f"is greater than {self._bound}")


_KEYWORDS: dict[str, Any] = {"x-least": _Least, "x-most": _Most}


class Validator:
    """A compiled schema."""

    def __init__(self, schema: Schema, root: str = "") -> None:
        self._check = jsonschema_rs.validator_for(
            schema, formats=FORMATS, validate_formats=True, keywords=_KEYWORDS
        )
        self._root = root

    def check(self, value: Any) -> None:
        """Raises the 400 that names the first field at fault."""
        if self._check.is_valid(value):
            return
        for error in self._check.iter_errors(value):
            raise Fault(400, explain(error, self._root))


class BodyValidators:
    """The validators of one declared body, compiled as versions are asked for."""

    def __init__(self, body: Type) -> None:
        self.body = body
        self._compiled: dict[int, Validator] = {}
        self._edges = sorted(body.edges())

    def at(self, version: int) -> Validator:
        # Versions between two edges of the declaration share a schema.
        level = 0
        for edge in self._edges:
            if edge > version:
                break
            level = edge
        found = self._compiled.get(level)
        if found is None:
            found = self._compiled.setdefault(level, Validator(self.body.schema(version)))
        return found


class Query:
    """The declared parameters of a query string.

    Parameters that are not declared (at the version) are ignored before the version ``strict`` and refused
    from it on; ``strict=None`` ignores them always.
    """

    def __init__(self, *fields: Field, strict: str | None = None, extra: bool = False) -> None:
        self.fields = fields
        self.strict = None if strict is None else int(strict.partition(".")[2])
        self._extra = extra
        self._compiled: dict[int, tuple[frozenset[str], Validator]] = {}

    def read(self, version: int, given: dict[str, list[str]]) -> dict[str, list[str]]:
        """The parameters that count, checked."""
        known, validator = self._at(version)
        unknown = given.keys() - known
        if unknown:
            if self.strict is not None and version >= self.strict:
                raise Fault(400, f"The query parameter '{min(unknown)}' is not known.")
            given = {name: values for name, values in given.items() if name in known}
        validator.check(given)
        return given

    def _at(self, version: int) -> tuple[frozenset[str], Validator]:
        found = self._compiled.get(version)
        if found is None:
            fields = [field for field in self.fields if version in field.window]
            schema = Obj(
                *(
                    Field(field.name, Arr(field.type, **({"maxItems": 1} if field.once else {})))
                    for field in fields
                ),
                extra=True,
            ).schema(version)
            found = (frozenset(field.name for field in fields), Validator(schema, "query"))
            self._compiled[version] = found
        return found


NO_QUERY = Query(strict="2.102")


def explain(error: Any, root: str = "") -> str:
    """One sentence on a schema error: the field, the value and the rule."""
    kind = error.kind
    if kind.name in ("anyOf", "oneOf"):
        deeper = _closest(error)
        if deeper is not None:
            return explain(deeper, root)
    field = _dotted(error.instance_path, root)
    value = _shown(error.instance)
    match kind.name:
        case "required":
            return f"{field} lacks '{kind.property}', which is required."
        case "additionalProperties":
            names = ", ".join(f"'{name}'" for name in sorted(kind.unexpected))
            return f"{field} has keys that are not known: {names}."
        case "type":
            return f"{field}: {value} is not of the right type; it must be {_types(kind)}."
        case "enum":
            return f"{field}: {value} is not one of {', '.join(map(_shown, kind.options))}."
        case "const":
            return f"{field}: {value} is not {_shown(kind.expected_value)}."
        case "format":
            return f"{field}: {value} is not {_MEANINGS.get(kind.format, kind.format)}."
        case "pattern":
            return f"{field}: {value} does not match {kind.pattern}."
        case "minLength":
            return f"{field}: {value} is shorter than {kind.limit} characters."
        case "maxLength":
            return f"{field}: {value} is longer than {kind.limit} characters."
        case "minimum":
            return f"{field}: {value} is less than {kind.limit}."
        case "exclusiveMinimum":
            return f"{field}: {value} is not greater than {kind.limit}."
        case "maximum":
            return f"{field}: {value} is greater than {kind.limit}."
        case "minItems":
            return f"{field} has fewer than {kind.limit} items."
        case "maxItems":
            return f"{field} has more than {kind.limit} items."
        case "uniqueItems":
            return f"{field} has items more than once."
        case "minProperties":
            return f"{field} has fewer than {kind.limit} keys."
        case "maxProperties":
            return f"{field} has more than {kind.limit} keys."
        case "x-least" | "x-most":
            return f"{field}: {value} {kind.message}."
        case _:
            return f"{field}: {value} is not valid ({kind.name})."


def _closest(error: Any) -> Any:
    """Of the alternatives that all failed, the error of the one that came furthest."""
    branches = [branch for branch in error.kind.context if branch]
    if not branches:
        return None
    deepest = max(branches, key=lambda branch: len(branch[0].instance_path))
    same_depth = len(deepest[0].instance_path) == len(error.instance_path)
    if same_depth:
        # Nothing went deeper: prefer an alternative whose type at least was right.
        typed = [branch for branch in branches if branch[0].kind.name != "type"]
        return typed[0][0] if typed else deepest[0]
    return deepest[0]


def _dotted(path: list[str | int], root: str) -> str:
    parts = root
    for step in path:
        parts += f"[{step}]" if isinstance(step, int) else (f".{step}" if parts else str(step))
    return parts or "The body"


def _types(kind: Any) -> str:
    types = kind.as_dict().get("types") or kind.value
    return " or ".join(map(str, [types] if isinstance(types, str) else types))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    shown = repr(value)
    return shown if len(shown) <= 120 else shown[:117] + "..."
