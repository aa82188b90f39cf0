"""The door of the Placement API: its root, which needs no token, and the way to everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from protonova.gateway.placement import root

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class PlacementFront:
    """WSGI: requests for the root go to the application as it is, all others to the one that asks for a token."""

    def __init__(self, application: Application, protected: Application) -> None:
        self._application = application
        self._protected = protected

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.setdefault("protonova.path", environ["PATH_INFO"])
        if environ["PATH_INFO"] in ("", root.PATH):
            environ["PATH_INFO"] = root.PATH
            return self._application(environ, start_response)
        return self._protected(environ, start_response)
