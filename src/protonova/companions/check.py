"""Values of a request document, each taken with its rule; a value that breaks it is a 400 that names the field."""

import re
import uuid
from collections.abc import Mapping
from typing import Any

from protonova.companions.fault import bad

ABSENT: Any = object()
_HEX_ID = re.compile(r"^[0-9a-fA-F]{32}$")
LARGEST_INTEGER = 2**63 - 1


def text(
    document: Mapping[str, Any],
    name: str,
    default: Any = ABSENT,
    *,
    most: int = 255,
    least: int = 0,
    null: bool = False,
) -> Any:
    value = document.get(name, ABSENT)
    if value is ABSENT:
        if default is ABSENT:
            raise bad(f"'{name}' is required.")
        return default
    if value is None and null:
        return None
    if not isinstance(value, str):
        raise bad(f"'{name}' must be a string.")
    if len(value) > most:
        raise bad(f"'{name}' may have {most} characters, not {len(value)}.")
    if len(value.strip()) < least:
        raise bad(f"'{name}' must not be empty.")
    return value


def flag(document: Mapping[str, Any], name: str, default: Any = ABSENT) -> Any:
    value = document.get(name, ABSENT)
    if value is ABSENT:
        if default is ABSENT:
            raise bad(f"'{name}' is required.")
        return default
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, int)) and str(value).lower() in ("true", "false", "1", "0"):
        return str(value).lower() in ("true", "1")
    raise bad(f"'{name}' must be true or false.")


def boolean(document: Mapping[str, Any], name: str, default: Any = ABSENT) -> Any:
    """True or false and nothing that only reads like it."""
    value = document.get(name, default)
    if value is ABSENT or (value is not default and not isinstance(value, bool)):
        raise bad(f"'{name}' must be true or false.")
    return value


def integer(
    document: Mapping[str, Any],
    name: str,
    default: Any = ABSENT,
    *,
    least: int = 0,
    most: int = LARGEST_INTEGER,
    null: bool = False,
) -> Any:
    value = document.get(name, ABSENT)
    if value is ABSENT:
        if default is ABSENT:
            raise bad(f"'{name}' is required.")
        return default
    if value is None and null:
        return None
    return whole(name, value, least, most)


def whole(name: str, value: Any, least: int, most: int = LARGEST_INTEGER) -> int:
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(f"'{name}' must be a whole number.")
    if not least <= value <= most:
        raise bad(f"'{name}' must be between {least} and {most}, not {value}.")
    return value


def choice(document: Mapping[str, Any], name: str, choices: tuple[str, ...], default: Any = ABSENT) -> Any:
    value = document.get(name, ABSENT)
    if value is ABSENT:
        if default is ABSENT:
            raise bad(f"'{name}' is required.")
        return default
    if not isinstance(value, str) or value not in choices:
        raise bad(f"'{name}' must be one of {', '.join(choices)}.")
    return value


def strings(name: str, value: Any, *, most: int = 255) -> dict[str, str]:
    """A map of strings to strings, as metadata is."""
    if not isinstance(value, dict):
        raise bad(f"'{name}' must be an object.")
    for key, item in value.items():
        if not key or len(key) > most:
            raise bad(f"A key of '{name}' must have 1 to {most} characters.")
        if not isinstance(item, str) or len(item) > most:
            raise bad(f"'{name}.{key}' must be a string of at most {most} characters.")
    return value


def is_uuid(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(uuid.UUID(value)).replace("-", "") == value.lower().replace("-", "")
    except ValueError:
        return False


def is_identity_id(value: Any) -> bool:
    """An id as Identity gives it: 32 hexadecimal digits, with or without dashes, or the word default."""
    return isinstance(value, str) and (value == "default" or bool(_HEX_ID.match(value)) or is_uuid(value))
