"""The types request bodies, queries and answers are declared with.

A type knows three things: its JSON schema at a version, how to drop what a lenient API does not know
(``prune``), and, for objects whose fields say where their value comes from, how to show a message (``View``).
A ``Field`` is declared once, with the versions between which it exists; everything else derives from it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

from protonova.gateway.versions import ALWAYS, Window, minor

# What a getter answers when a field is not there at all.
ABSENT: Any = object()

Schema = dict[str, Any]
Getter = Callable[[Any, Any], Any]


class Type:
    """A type of value."""

    def schema(self, version: int) -> Schema:
        raise NotImplementedError

    def prune(self, version: int, value: Any) -> Any:
        return value

    def edges(self) -> set[int]:
        """Versions at which the schema may change."""
        return set()


class Plain(Type):
    """A type that is the same in every version."""

    def __init__(self, trim: bool = False, **schema: Any) -> None:
        self._schema = schema
        self._trim = trim

    def schema(self, version: int) -> Schema:
        return self._schema

    def prune(self, version: int, value: Any) -> Any:
        return value.strip() if self._trim and isinstance(value, str) else value

    def but(self, **changes: Any) -> Plain:
        """The same type with some of its rules changed."""
        return Plain(self._trim, **{**self._schema, **changes})

    def or_null(self) -> Plain:
        kinds = self._schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        changes: Schema = {"type": [*kinds, "null"]}
        if "enum" in self._schema:
            changes["enum"] = [*self._schema["enum"], None]
        return self.but(**changes)


class Field:
    """A named member of an object, or a parameter of a query.

    ``read`` fetches the value to show from a message, ``when`` names a permission that must be held for it to
    be shown, ``once`` forbids a parameter to be repeated.
    """

    __slots__ = ("name", "once", "read", "required", "type", "when", "window")

    def __init__(
        self,
        name: str,
        type: Type,
        read: Getter | None = None,
        *,
        since: str | None = None,
        until: str | None = None,
        versions: str | None = None,
        required: bool = False,
        when: str | None = None,
        once: bool = False,
    ) -> None:
        self.name = name
        self.type = type
        self.read = read
        self.window = Window.of(versions, since, until)
        self.required = required
        self.when = when
        self.once = once

    def from_version(self, first: str) -> Field:
        """The same member where it came to an answer only at a later version."""
        later = copy.copy(self)
        begin = minor(first)
        later.window = Window(tuple((max(a, begin), b) for a, b in self.window.ranges if b >= begin))
        return later


class Obj(Type):
    """An object with declared fields; others are refused unless ``extra``."""

    def __init__(self, *fields: Field, extra: bool | Type = False, **schema: Any) -> None:
        self.fields = fields
        self._extra = extra
        self._schema = schema

    def at(self, version: int) -> Iterable[Field]:
        return (field for field in self.fields if version in field.window)

    def schema(self, version: int) -> Schema:
        fields = list(self.at(version))
        built: Schema = {"type": "object", **self._schema}
        built["properties"] = {field.name: field.type.schema(version) for field in fields}
        required = [field.name for field in fields if field.required]
        if required:
            built["required"] = required
        extra = self._extra
        built["additionalProperties"] = extra if isinstance(extra, bool) else extra.schema(version)
        return built

    def prune(self, version: int, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        known = {field.name: field.type for field in self.at(version)}
        return {
            name: known[name].prune(version, item) if name in known else item
            for name, item in value.items()
            if name in known or self._extra is not False
        }

    def edges(self) -> set[int]:
        found: set[int] = set()
        for field in self.fields:
            if field.window is not ALWAYS:
                found |= field.window.edges()
            found |= field.type.edges()
        return found


class View(Obj):
    """An object whose fields say how their values are read from a message."""

    def __init__(self, *fields: Field, **schema: Any) -> None:
        super().__init__(*fields, **schema)
        self._compiled: dict[tuple[int, frozenset[str]], Callable[[Any, Any], dict[str, Any]]] = {}
        self._permissions: dict[int, frozenset[str]] = {}

    def show(self, version: int, granted: frozenset[str]) -> Callable[[Any, Any], dict[str, Any]]:
        """The function that turns a message into what users see at a version with these permissions."""
        try:
            return self._compiled[version, granted]
        except KeyError:
            return self._compiled.setdefault((version, granted), self._compile(version, granted))

    def _compile(self, version: int, granted: frozenset[str]) -> Callable[[Any, Any], dict[str, Any]]:
        getters = [
            (field.name, field.read)
            for field in self.at(version)
            if field.read is not None and (field.when is None or field.when in granted)
        ]

        def shown(message: Any, request: Any) -> dict[str, Any]:
            return {name: value for name, read in getters if (value := read(message, request)) is not ABSENT}

        return shown

    def permissions(self, version: int) -> frozenset[str]:
        """What must be asked of the policy before anything is shown."""
        found = self._permissions.get(version)
        if found is None:
            found = frozenset(field.when for field in self.at(version) if field.when is not None)
            self._permissions[version] = found
        return found


class Arr(Type):
    """A list of one type."""

    def __init__(self, item: Type, **schema: Any) -> None:
        self.item = item
        self._schema = schema

    def schema(self, version: int) -> Schema:
        return {"type": "array", "items": self.item.schema(version), **self._schema}

    def prune(self, version: int, value: Any) -> Any:
        return [self.item.prune(version, item) for item in value] if isinstance(value, list) else value

    def edges(self) -> set[int]:
        return self.item.edges()

    def or_null(self) -> Arr:
        return Arr(self.item, **{**self._schema, "type": ["array", "null"]})


class Map(Type):
    """An object of one type of value, under keys that match a pattern (any keys for an empty one)."""

    def __init__(self, key: str, value: Type, **schema: Any) -> None:
        self._key = key
        self._value = value
        self._schema = schema

    def schema(self, version: int) -> Schema:
        value = self._value.schema(version)
        keys: Schema = {"additionalProperties": value}
        if self._key:
            keys = {"patternProperties": {self._key: value}, "additionalProperties": False}
        return {"type": "object", **keys, **self._schema}

    def edges(self) -> set[int]:
        return self._value.edges()


class Either(Type):
    """One of several types."""

    def __init__(self, *options: Type) -> None:
        self._options = options

    def schema(self, version: int) -> Schema:
        return {"anyOf": [option.schema(version) for option in self._options]}

    def edges(self) -> set[int]:
        return set().union(*(option.edges() for option in self._options))


ANY = Plain()
STRING = Plain(type="string")
STRING_OR_NULL = Plain(type=["string", "null"])
INTEGER = Plain(type="integer")
INTEGER_OR_NULL = Plain(type=["integer", "null"])
NUMBER = Plain(type="number")
TRUE_FALSE = Plain(type="boolean")
NULL = Plain(type="null")
OBJECT = Plain(type="object")


def text(least: int = 0, most: int | None = None, pattern: str | None = None, **rules: Any) -> Plain:
    """A string of bounded length."""
    schema: Schema = {"type": "string"}
    if least:
        schema["minLength"] = least
    if most is not None:
        schema["maxLength"] = most
    if pattern is not None:
        schema["pattern"] = pattern
    return Plain(**schema, **rules)


def one_of(*values: Any) -> Plain:
    """One of some literals."""
    return Plain(enum=list(values))


UUID = Plain(type="string", format="uuid")
UUID_OR_NULL = Plain(type=["string", "null"], format="uuid")
URI = Plain(type="string", format="uri")
TIME = Plain(type="string", format="date-time")
TIME_OR_NULL = Plain(type=["string", "null"], format="date-time")
# Some times are shown with microseconds and without a zone.
_MICRO = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$"
MICROTIME = Plain(type="string", pattern=_MICRO)
MICROTIME_OR_NULL = Plain(type=["string", "null"], pattern=_MICRO)
IPV4 = Plain(type="string", format="ipv4")
IPV6 = Plain(type="string", format="ipv6")
IP = Plain(type="string", format="ip")
BASE64 = Plain(type="string", format="base64")
REGEX = Plain(type="string", format="regex")

# Texts people choose as names: printable, with no blanks around.
NAME = Plain(trim=True, type="string", minLength=1, maxLength=255, format="name")
ZONE_NAME = Plain(trim=True, type="string", minLength=1, maxLength=255, format="zone-name")
DESCRIPTION = Plain(type=["string", "null"], maxLength=255, format="printable")

BOOLEAN = one_of(
    True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes",
    False, "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no",
)  # fmt: skip
_TRUE = frozenset((True, "True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"))


def truth(value: Any) -> bool:
    """The boolean that one of the accepted spellings means."""
    return value in _TRUE


MOST_DIGITS = 100


def number(least: int | None = None, most: int | None = None, empty: bool = False) -> Plain:
    """An integer, or a text that writes one; the bounds hold for both."""
    schema: Schema = {"type": ["integer", "string"], "pattern": r"^-?[0-9]*$" if empty else r"^-?[0-9]+$"}
    # Enough for any number that means something, and no work to read.
    schema["maxLength"] = MOST_DIGITS
    if not empty:
        schema["minLength"] = 1
    if least is not None:
        schema["minimum"] = least
        schema["x-least"] = least
    if most is not None:
        schema["maximum"] = most
        schema["x-most"] = most
    return Plain(**schema)


MOST = 2147483647
# More than anything can be, and what the contracts' 64 bits hold.
LARGE = 2**62


def bounded(value: Any) -> int:
    """A number of any size, brought into what the contracts hold."""
    return max(-LARGE, min(int(value), LARGE))


def natural(written: str) -> int | None:
    """The number that plain digits write, brought into what the contracts hold; None for any other text."""
    if not written.isascii() or not written.isdigit():
        return None
    digits = written.lstrip("0")
    return int(digits or "0") if len(digits) <= MOST_DIGITS and int(digits or "0") < LARGE else LARGE


NON_NEGATIVE = number(0)
POSITIVE = number(1)
POSITIVE_STORED = number(1, MOST)
NON_NEGATIVE_STORED = number(0, MOST)

METADATA_KEY = r"^[a-zA-Z0-9-_:. ]{1,255}$"
METADATA = Map(METADATA_KEY, text(most=255))
METADATA_SHOWN = Map(METADATA_KEY, Plain(type=["string", "null"], maxLength=255))

DISK_CONFIG = one_of("AUTO", "MANUAL")
HOSTNAME = text(2, 63, r"^[a-zA-Z0-9]+[a-zA-Z0-9-]*[a-zA-Z0-9]+$")
FQDN = text(1, 255, r"^[a-zA-Z0-9-._]*$")
KEYSTONE_ID = text(1, 255, r"^[a-zA-Z0-9-]*$")
TAG = text(1, 60, r"^[^,/]*$")

LINK = Obj(Field("rel", STRING, required=True), Field("href", URI, required=True), extra=True)
LINKS = Arr(LINK)
