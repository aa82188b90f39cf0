"""Resource providers.

History: 1.3 member_of, 1.4 resources, 1.14 trees, 1.18 required; 1.20 a create answers with the provider;
1.37 a provider may move in its tree at will.
"""

from __future__ import annotations

from typing import Any

from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.placement import query
from protonova.gateway.placement.types import NAME, STRICT
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import INTEGER, STRING, UUID, UUID_OR_NULL, Arr, Field, Obj, View
from protonova.gateway.validation import Query
from protonova.gateway.versions import Window
from protonova.placement.v1 import resource_provider_pb2 as pb

RULES = "placement:resource_providers"
PATH = "/resource_providers"
ONE = "/resource_providers/{uuid}"
FREE_PARENT = Window.parse("1.37-")
NO_QUERY = Query(strict=STRICT)

providers = Resource("resource_providers")

# Relation → since when its path exists.
_LINKS = (
    ("self", "", Window.parse("1.0-")),
    ("inventories", "/inventories", Window.parse("1.0-")),
    ("usages", "/usages", Window.parse("1.0-")),
    ("aggregates", "/aggregates", Window.parse("1.1-")),
    ("traits", "/traits", Window.parse("1.6-")),
    ("allocations", "/allocations", Window.parse("1.11-")),
)


def href(request: Request, path: str) -> str:
    """A path as links give it: below where the API is mounted, without scheme and host."""
    return f"{request.environ.get('SCRIPT_NAME', '')}{path}"


def location(request: Request, path: str) -> tuple[tuple[str, str]]:
    """The header that names what was made."""
    return (("Location", f"{request.links.base}{path}"),)


def touched(request: Request, provider: pb.ResourceProvider) -> None:
    """Lets last-modified tell the newest change of what is shown."""
    stamp = provider.updated_at
    newest = request.memo.get("last_modified")
    if provider.HasField("updated_at") and (newest is None or stamp.seconds > newest.seconds):
        request.memo["last_modified"] = stamp


def _links(provider: pb.ResourceProvider, request: Request) -> list[dict[str, str]]:
    own = href(request, f"{PATH}/{provider.id}")
    return [{"rel": rel, "href": own + tail} for rel, tail, window in _LINKS if request.version in window]


PROVIDER = View(
    Field("uuid", UUID, lambda p, _: p.id, required=True),
    Field("name", STRING, lambda p, _: p.name, required=True),
    Field("generation", INTEGER, lambda p, _: p.generation, required=True),
    Field("links", Arr(Obj(extra=True)), _links, required=True),
    Field(
        "parent_provider_uuid", UUID_OR_NULL, lambda p, _: p.parent_id or None, since="1.14", required=True
    ),
    Field("root_provider_uuid", UUID, lambda p, _: p.root_id or p.id, since="1.14", required=True),
)

_NAME = Field("name", NAME, required=True)
_PARENT = Field("parent_provider_uuid", UUID_OR_NULL, since="1.14")
CREATE = Obj(_NAME, Field("uuid", UUID), _PARENT)
UPDATE = Obj(_NAME, _PARENT)
LIST_QUERY = Query(
    Field("name", STRING),
    Field("uuid", UUID),
    Field("member_of", STRING, since="1.3"),
    Field("resources", STRING, since="1.4"),
    Field("in_tree", UUID, since="1.14"),
    Field("required", STRING, since="1.18"),
    strict=STRICT,
)


@providers.get(
    PATH,
    "list",
    policy=f"{RULES}:list",
    query=LIST_QUERY,
    answer=Obj(Field("resource_providers", Arr(PROVIDER), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List resource providers."""
    given = request.query
    wanted = pb.ListResourceProvidersRequest(
        name=request.last("name") or "",
        id=query.canonical(given["uuid"][-1]) if "uuid" in given else "",
        in_tree=query.canonical(given["in_tree"][-1]) if "in_tree" in given else "",
    )
    if "resources" in given:
        for name, amount in query.resources(given["resources"][-1], "resources").items():
            wanted.resources[name] = amount
    if "required" in given:
        traits = query.traits(given["required"], request.version, "required")
        wanted.required_traits.extend(traits.required)
        wanted.forbidden_traits.extend(traits.forbidden)
    if "member_of" in given:
        aggregates = query.aggregates(given["member_of"], request.version, "member_of")
        wanted.member_of.extend(aggregates.member_of)
        wanted.forbidden_aggregates.extend(aggregates.forbidden)
    found = request.services.providers.ListResourceProviders(wanted).providers
    for provider in found:
        touched(request, provider)
    return {"resource_providers": request.show_all(PROVIDER, found)}


def _parent(body: dict[str, Any]) -> str:
    parent = body.get("parent_provider_uuid")
    return query.canonical(parent) if parent else ""


@providers.post(
    PATH,
    "create",
    policy=f"{RULES}:create",
    query=NO_QUERY,
    body=CREATE,
    answer=PROVIDER,
    status={"1.0-1.19": 201, "1.20-": 200},
)
def create(request: Request) -> Response:
    """Create a resource provider."""
    body = request.body
    wanted = pb.CreateResourceProviderRequest(
        id=query.canonical(body["uuid"]) if "uuid" in body else "", name=body["name"], parent_id=_parent(body)
    )
    if wanted.id and wanted.id == wanted.parent_id:
        raise Fault(400, "A provider cannot be its own parent.")
    made = request.services.providers.CreateResourceProvider(wanted).provider
    touched(request, made)
    shown = request.show(PROVIDER, made) if request.version in ANSWERED else None
    return Response(shown, headers=location(request, f"{PATH}/{made.id}"))


# Since 1.20 a create answers with what it made.
ANSWERED = Window.parse("1.20-")


@providers.get(ONE, "show", policy=f"{RULES}:show", query=NO_QUERY, answer=PROVIDER)
def show(request: Request) -> dict[str, Any]:
    """Show a resource provider."""
    wanted = pb.GetResourceProviderRequest(id=request.args["uuid"])
    found = request.services.providers.GetResourceProvider(wanted).provider
    touched(request, found)
    return request.show(PROVIDER, found)


@providers.put(ONE, "update", policy=f"{RULES}:update", query=NO_QUERY, body=UPDATE, answer=PROVIDER)
def update(request: Request) -> dict[str, Any]:
    """Rename a resource provider, or move it in its tree."""
    body = request.body
    wanted = pb.UpdateResourceProviderRequest(
        id=request.args["uuid"],
        name=body["name"],
        change_parent="parent_provider_uuid" in body,
        parent_id=_parent(body),
        first_parent_only=request.version not in FREE_PARENT,
    )
    changed = request.services.providers.UpdateResourceProvider(wanted).provider
    touched(request, changed)
    return request.show(PROVIDER, changed)


@providers.delete(ONE, "delete", policy=f"{RULES}:delete", query=NO_QUERY, status=204)
def delete(request: Request) -> None:
    """Delete a resource provider with its inventories, traits and aggregates."""
    request.services.providers.DeleteResourceProvider(
        pb.DeleteResourceProviderRequest(id=request.args["uuid"])
    )
