"""Asking other services as the caller."""

from __future__ import annotations

from protonova.gateway.request import Request
from protonova.services.runtime.openstack.session import Client


def network(request: Request) -> Client:
    return request.services.network.acting_for(request.environ["HTTP_X_AUTH_TOKEN"])


def block_storage(request: Request) -> Client:
    return request.services.block_storage.acting_for(request.environ["HTTP_X_AUTH_TOKEN"])


def images(request: Request) -> Client:
    return request.services.images.acting_for(request.environ["HTTP_X_AUTH_TOKEN"])


def page(request: Request, found: list[dict[str, object]]) -> list[dict[str, object]]:
    """What `limit` and `offset` leave of a list."""
    first = int(request.last("offset") or 0)
    most = request.settings.max_limit
    return found[first : first + min(int(request.last("limit", str(most)) or 0), most)]
