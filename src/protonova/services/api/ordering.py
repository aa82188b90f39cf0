"""The one order of servers in a list, whichever cell they live in.

Sort keys are names of Server fields; the id decides between equals, in the direction of the last key, so that the
order is total and a page can go on after any server. Text compares by code point. Cells sort the same way.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1.server_pb2 import Server
from protonova.common.v1.server_query_pb2 import ServerSort
from protonova.services.runtime import errors

Key = Callable[[Server], Any]

# Names of what does not stand in a field of that name.
_OTHER_PATHS = {
    "locked": "locked_by",
    "kernel_id": "image.properties.kernel_id",
    "ramdisk_id": "image.properties.ramdisk_id",
    "image_id": "image.id",
    "flavor_id": "flavor.id",
}


def of(sort: Sequence[ServerSort]) -> Key:
    """A sort key for servers. Raises FILTER_INVALID."""
    if by_age(sort):
        return _newest_first
    wanted = [(path(item.key), item.descending) for item in sort]
    wanted.append((("id",), wanted[-1][1]))

    def key(server: Server) -> Any:
        return tuple(
            _Backwards(value(server, names)) if descending else value(server, names)
            for names, descending in wanted
        )

    return key


def by_age(sort: Sequence[ServerSort]) -> bool:
    """Whether it is the default order: the newest first."""
    return not sort or (sort[0].key == "created_at" and sort[0].descending)


def _newest_first(server: Server) -> Any:
    created = server.created_at
    return -created.seconds, -created.nanos, _Backwards(server.id)


class _Backwards:
    """A value, compared the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Backwards) -> bool:
        return bool(self.value > other.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def path(key: str) -> tuple[str, ...]:
    """The fields a key leads through. Raises FILTER_INVALID."""
    names = tuple(_OTHER_PATHS.get(key, key).split("."))
    message: Any = Server()
    for name in names:
        if isinstance(message, Message):
            if name not in message.DESCRIPTOR.fields_by_name:
                raise invalid(key)
            message = getattr(message, name)
        elif not isinstance(message, MutableMapping):
            raise invalid(key)
    return names


def invalid(field: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(
        f"Servers can be neither sorted nor filtered by '{field}'.", reason="FILTER_INVALID", field=field
    )


def value(message: Any, names: tuple[str, ...]) -> Any:
    for name in names:
        if isinstance(message, Message):
            message = getattr(message, name)
        else:
            message = message.get(name, "")
    if isinstance(message, Timestamp):
        return message.seconds, message.nanos
    return message
