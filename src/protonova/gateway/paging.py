"""Pages of lists: the limit that counts, the marker, and the link to the next page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from protonova.gateway.request import Request
from protonova.gateway.schema import NON_NEGATIVE, STRING, Arr, Field, Obj

LIMIT = Field("limit", NON_NEGATIVE)
MARKER = Field("marker", STRING)
NEXT_LINKS = Arr(Obj(Field("rel", STRING, required=True), Field("href", STRING, required=True)))


def limit_of(request: Request) -> int:
    """The size of the page: what was asked for, at most the configured maximum."""
    asked = request.last("limit")
    most = request.settings.max_limit
    return most if asked is None else min(int(asked), most)


def page(
    request: Request, path: str, key: str, shown: list[Any], limit: int, marker: str, links_key: str = ""
) -> dict[str, Any]:
    """A page of a list, with the link to the next when this one is full."""
    answer: dict[str, Any] = {key: shown}
    if shown and len(shown) >= limit:
        answer[links_key or f"{key}_links"] = request.links.next(path, request.query, marker)
    return answer


def last_id(messages: Sequence[Any], field: str = "id") -> str:
    return getattr(messages[-1], field) if messages else ""
