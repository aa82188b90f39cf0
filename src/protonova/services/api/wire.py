"""Lists of servers as bytes: what a cell answered is put behind build requests without being parsed.

`ListServersResponse` of a conductor and of this service have their servers in the same field, and a repeated field
grows by putting serialized messages one after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1.server_pb2 import Server
from protonova.conductor.v1 import server_pb2 as conductor_pb
from protonova.services.api.ordering import Key

_SERVERS = pb.ListServersResponse.SERVERS_FIELD_NUMBER
assert conductor_pb.ListServersResponse.SERVERS_FIELD_NUMBER == _SERVERS
_TAG = _SERVERS << 3 | 2
# More build requests than this are not worth looking for one by one in a cell's answer.
_FEW = 16


# How a server's first group is announced: the field's tag, and the length of a UUID.
_GROUP = Server.SERVER_GROUP_IDS_FIELD_NUMBER << 3 | 2
_GROUPED = bytes((_GROUP & 0x7F | 0x80, _GROUP >> 7, 36))


def may_be_grouped(server: bytes) -> bool:
    """Whether a serialized server was put into a group; never wrong about one that was."""
    return _GROUPED in server


def join(building: Sequence[Server], page: bytes, size: int, key: Key) -> bytes | None:
    """Build requests, then a cell's page. None when that would not be the list: when the two overlap, are not in
    this order, or are too many together."""
    if len(building) > _FEW or any(server.id.encode() in page for server in building):
        return None
    ends = _ends(page)
    if ends and not key(building[-1]) < key(_first(page, ends[0])):
        return None
    room = size - len(building)
    if len(ends) > room:
        page = page[: ends[room - 1]] if room else b""
    return pb.ListServersResponse(servers=building).SerializeToString() + page


def _ends(page: bytes) -> list[int]:
    """Where each server in a page ends."""
    ends, at = [], 0
    while at < len(page):
        if page[at] != _TAG:
            raise ValueError("a page of servers holds something else")
        length, at = _varint(page, at + 1)
        at += length
        ends.append(at)
    return ends


def _first(page: bytes, end: int) -> Server:
    _, start = _varint(page, 1)
    return Server.FromString(page[start:end])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def passthrough(response: object) -> bytes:
    """Serializer of methods that may answer with bytes."""
    if isinstance(response, bytes):
        return response
    data: bytes = response.SerializeToString()  # type: ignore[attr-defined]
    return data
