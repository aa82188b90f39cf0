"""Rules for single values of the Network API: each takes an attribute's name and value and gives what to keep."""

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from protonova.companions import check
from protonova.companions.network.fault import invalid

Check = Callable[[str, Any], Any]
_MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")
_NO_MACS = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff")


def text(most: int = 255) -> Check:
    def rule(name: str, value: Any) -> str:
        if not isinstance(value, str):
            raise invalid(f"'{name}' must be a string.")
        if len(value) > most:
            raise invalid(f"'{name}' may have {most} characters, not {len(value)}.")
        return value

    return rule


def null_or(rule: Check) -> Check:
    return lambda name, value: None if value is None else rule(name, value)


def flag(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, (str, int)) and str(value).lower() in ("true", "false", "1", "0"):
        return str(value).lower() in ("true", "1")
    raise invalid(f"'{name}' must be true or false.")


def integer(least: int, most: int) -> Check:
    def rule(name: str, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise invalid(f"'{name}' must be a whole number between {least} and {most}.")
        return value

    return rule


def choice(*choices: Any) -> Check:
    def rule(name: str, value: Any) -> Any:
        if not isinstance(value, type(choices[0])) or value not in choices:
            raise invalid(f"'{name}' must be one of {', '.join(map(str, choices))}.")
        return value

    return rule


def uuid(name: str, value: Any) -> str:
    if not check.is_uuid(value):
        raise invalid(f"'{name}' must be a UUID, not '{value}'.")
    return str(value)


def mac(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise invalid(f"'{name}' must be a MAC address.")
    normal = value.lower().replace("-", ":")
    if not _MAC.match(normal) or normal in _NO_MACS or int(normal[:2], 16) & 1:
        raise invalid(f"'{value}' is not the MAC address of a single interface.")
    return normal


def ip(name: str, value: Any) -> str:
    try:
        if isinstance(value, str) and "%" not in value:
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise invalid(f"'{name}': '{value}' is not an IP address.")


def cidr(name: str, value: Any) -> str:
    """A network with its prefix; host bits are dropped."""
    try:
        if isinstance(value, str) and "/" in value and "%" not in value:
            return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        pass
    raise invalid(f"'{name}': '{value}' is not a CIDR.")


def ip_or_cidr(name: str, value: Any) -> str:
    """An address, or one with a prefix: its host bits stay as they were given."""
    if isinstance(value, str) and "/" in value:
        cidr(name, value)
        return str(ipaddress.ip_interface(value))
    return ip(name, value)


def many(rule: Check, most: int = 256) -> Check:
    def each(name: str, value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise invalid(f"'{name}' must be a list of at most {most} entries.")
        return [rule(name, item) for item in value]

    return each


def unique(rule: Check, most: int = 256) -> Check:
    listed = many(rule, most)

    def each(name: str, value: Any) -> list[Any]:
        kept: list[Any] = listed(name, value)
        if len(set(kept)) != len(kept):
            raise invalid(f"'{name}' names something twice.")
        return kept

    return each


def fields(rules: dict[str, Check], *, required: tuple[str, ...] = ()) -> Check:
    """An object with these keys and no others."""

    def rule(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise invalid(f"'{name}' must be an object.")
        for key in value:
            if key not in rules:
                raise invalid(f"'{key}' has no place in '{name}'.")
        for key in required:
            if key not in value:
                raise invalid(f"'{name}' needs '{key}'.")
        return {key: rules[key](f"{name}.{key}", item) for key, item in value.items()}

    return rule


def mapping(name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(f"'{name}' must be an object.")
    return value


def tags(name: str, value: Any) -> list[str]:
    return list(dict.fromkeys(many(text(255), 50)(name, value)))
