"""The attributes of an image: which a client may set, and with what values."""

from typing import Any

from protonova.companions import check
from protonova.companions.caller import Caller
from protonova.companions.fault import bad, forbidden

CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
DISK_FORMATS = (
    "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop", "gpt",
)  # fmt: skip
VISIBILITIES = ("public", "community", "shared", "private")
READ_ONLY = frozenset(
    (
        "status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at",
        "self", "file", "schema", "direct_url", "locations", "deleted", "deleted_at",
    )
)  # fmt: skip
RESERVED = frozenset(("upload", "properties", "is_public"))
SETTABLE = frozenset(
    (
        "name",
        "visibility",
        "owner",
        "protected",
        "os_hidden",
        "container_format",
        "disk_format",
        "min_disk",
        "min_ram",
    )
)


def settable(name: str) -> None:
    if name in READ_ONLY or name.startswith("os_glance"):
        raise forbidden(f"Attribute '{name}' is read-only.")
    if name in RESERVED:
        raise forbidden(f"Attribute '{name}' is reserved.")


def base_value(who: Caller, name: str, value: Any) -> Any:
    """The value of a base attribute as its column keeps it."""
    given = {name: value}
    if name == "name":
        return check.text(given, name, null=True)
    if name == "visibility":
        chosen = check.choice(given, name, VISIBILITIES)
        if chosen == "public" and not who.is_admin:
            raise forbidden("Making an image public needs the role admin.")
        return chosen
    if name == "owner":
        owner = check.text(given, name, null=True)
        if owner != who.project_id and not who.is_admin:
            raise forbidden("The owner of an image is changed with the role admin only.")
        return owner
    if name in ("protected", "os_hidden"):
        if not isinstance(value, bool):
            raise bad(f"'{name}' must be true or false.")
        return int(value)
    if name in ("container_format", "disk_format"):
        choices = CONTAINER_FORMATS if name == "container_format" else DISK_FORMATS
        return None if value is None else check.choice(given, name, choices)
    if isinstance(value, str):
        raise bad(f"'{name}' must be a whole number.")
    return check.integer(given, name, most=2**31 - 1)


def custom_value(name: str, value: Any) -> Any:
    if not 0 < len(name) <= 255:
        raise bad("The name of a property must have 1 to 255 characters.")
    if value is not None and not isinstance(value, str):
        raise bad(f"Property '{name}' must be a string.")
    if value is not None and len(value) > 65535:
        raise bad(f"Property '{name}' is too long.")
    return value


def tag_values(value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > 128:
        raise bad("'tags' must be a list of at most 128 strings.")
    for tag in value:
        if not isinstance(tag, str) or not 0 < len(tag) <= 255:
            raise bad("A tag must be a string of 1 to 255 characters.")
    return list(dict.fromkeys(value))
