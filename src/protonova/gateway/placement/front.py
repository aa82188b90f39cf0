"""The door of the Placement API: its root, which needs no token, and the way to everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from protonova.gateway.versions import PLACEMENT

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

ROOT = orjson.dumps(
    {
        "versions": [
            {
                "id": f"v{PLACEMENT.minimum}",
                "min_version": PLACEMENT.minimum,
                "max_version": PLACEMENT.maximum,
                "status": "CURRENT",
                "links": [{"rel": "self", "href": ""}],
            }
        ]
    }
)


class PlacementFront:
    """WSGI: the version document at the root."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.setdefault("protonova.path", environ["PATH_INFO"])
        if environ["PATH_INFO"] in ("", "/") and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            start_response(
                "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(ROOT)))]
            )
            return [ROOT]
        return self._application(environ, start_response)
