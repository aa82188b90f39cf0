"""Asking other services as the caller."""

from __future__ import annotations

from protonova.gateway.request import Request
from protonova.services.runtime.openstack.session import Client


def network(request: Request) -> Client:
    return _as_caller(request, request.services.network)


def block_storage(request: Request) -> Client:
    return _as_caller(request, request.services.block_storage)


def images(request: Request) -> Client:
    return _as_caller(request, request.services.images)


def _as_caller(request: Request, client: Client) -> Client:
    return client.acting_for(request.environ["HTTP_X_AUTH_TOKEN"], request.context.project_id)


def page(request: Request, found: list[dict[str, object]]) -> list[dict[str, object]]:
    """What `limit` and `offset` leave of a list."""
    first = int(request.last("offset") or 0)
    most = request.settings.max_limit
    return found[first : first + min(int(request.last("limit", str(most)) or 0), most)]
