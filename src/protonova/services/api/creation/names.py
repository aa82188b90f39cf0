"""Names and host names of new servers."""

from __future__ import annotations

import re

from protonova.services.runtime import errors

_HOSTNAME_LENGTH = 63
_FQDN_LENGTH = 255
_FQDN = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)*")


def of_servers(name: str, count: int) -> list[str]:
    """`name`, or `name-1` … `name-n` when there are several."""
    if count == 1:
        return [name]
    return [f"{name}-{index}" for index in range(1, count + 1)]


def hostname(name: str, server_id: str) -> str:
    """What a guest is called when the user did not say: its name, made into one DNS label."""
    label = re.sub(r"[ _.]", "-", name.lower())
    label = re.sub(r"[^a-z0-9-]", "", label.encode("ascii", "ignore").decode())
    label = label.strip("-")[:_HOSTNAME_LENGTH].strip("-")
    return label or f"server-{server_id}"


def check(name: str) -> None:
    if not name.strip() or len(name) > 255:
        raise errors.InvalidArgument(
            "The name of a server must have 1 to 255 characters.", reason="NAME_INVALID", field="name"
        )


def check_hostname(wanted: str, max_count: int) -> None:
    if not wanted:
        return
    if max_count > 1:
        raise _invalid(wanted, "several_servers", "cannot be given to several servers at once")
    if len(wanted) > _FQDN_LENGTH or not _FQDN.fullmatch(wanted):
        raise _invalid(wanted, "syntax", "is not a host name")


def _invalid(wanted: str, cause: str, rule: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"The hostname '{wanted}' {rule}.", reason="HOSTNAME_INVALID", hostname=wanted, cause=cause
    )
