"""Links in answers: where the API is reached from outside, and the hrefs below it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode


@dataclass(frozen=True, slots=True)
class Links:
    """The outside addresses of one request.

    ``versioned`` ends with the version (and the project when the request's path named one), ``plain`` leaves
    the version out; both without a slash at the end.
    """

    base: str
    versioned: str
    plain: str

    def pair(self, collection: str, identifier: Any) -> list[dict[str, str]]:
        """The self and bookmark links of a resource."""
        return [
            {"rel": "self", "href": f"{self.versioned}/{collection}/{identifier}"},
            {"rel": "bookmark", "href": f"{self.plain}/{collection}/{identifier}"},
        ]

    def bookmark(self, collection: str, identifier: Any) -> list[dict[str, str]]:
        return [{"rel": "bookmark", "href": f"{self.plain}/{collection}/{identifier}"}]

    def next(self, path: str, query: Mapping[str, Sequence[str]], marker: str) -> list[dict[str, str]]:
        """The link to the page after this one: the same query with another marker."""
        pairs = [(name, value) for name, values in query.items() if name != "marker" for value in values]
        pairs.append(("marker", marker))
        return [{"rel": "next", "href": f"{self.versioned}{path}?{urlencode(pairs)}"}]


def base_of(environ: Mapping[str, Any], public_url: str = "") -> str:
    """Scheme and host (and prefix) under which a request came, unless the operator names them."""
    if public_url:
        return public_url.rstrip("/")
    scheme = environ.get("wsgi.url_scheme", "http")
    host = environ.get("HTTP_HOST") or f"{environ.get('SERVER_NAME')}:{environ.get('SERVER_PORT')}"
    prefix = quote(environ.get("SCRIPT_NAME", "").rstrip("/"))
    return f"{scheme}://{host}{prefix}"
