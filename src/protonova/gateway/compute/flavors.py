"""Flavors: list, show, create, describe, delete.

History: 2.55 description and PUT; 2.61 extra specs inside flavors; 2.75 swap is a number even when 0 and
unknown query parameters are refused; 2.102 list by name, rxtx_factor and the disabled flag are gone.
"""

from __future__ import annotations

import re
from typing import Any

from protonova.api.v1 import flavor_pb2 as api
from protonova.common.v1 import flavor_pb2 as pb
from protonova.gateway import paging
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    BOOLEAN,
    INTEGER,
    LINKS,
    NAME,
    NON_NEGATIVE_STORED,
    NUMBER,
    POSITIVE_STORED,
    STRING,
    STRING_OR_NULL,
    TRUE_FALSE,
    Arr,
    Either,
    Field,
    Map,
    Obj,
    Plain,
    View,
    bounded,
    one_of,
    truth,
)
from protonova.gateway.validation import NO_QUERY, Query
from protonova.gateway.versions import Window

EXTRA_SPECS = "os_compute_api:os-flavor-extra-specs:index"

flavors = Resource("flavors")

_SORT_KEYS = [
    "created_at",
    "description",
    "disabled",
    "ephemeral_gb",
    "flavorid",
    "id",
    "is_public",
    "memory_mb",
    "name",
    "root_gb",
    "rxtx_factor",
    "swap",
    "updated_at",
    "vcpu_weight",
    "vcpus",
]
# What the contract calls the columns users sort by.
_SORT_FIELDS = {"flavorid": "id", "id": "number", "swap": "swap_mb", "vcpu_weight": "number"}

LIST_QUERY = Query(
    paging.LIMIT,
    paging.MARKER,
    Field("is_public", STRING),
    Field("minRam", STRING),
    Field("minDisk", STRING),
    Field("sort_key", one_of(*_SORT_KEYS), until="2.101"),
    Field("sort_key", one_of(*(key for key in _SORT_KEYS if key != "rxtx_factor")), since="2.102"),
    Field("sort_dir", one_of("asc", "desc")),
    Field("name", STRING, since="2.102"),
    strict="2.75",
)

_DESCRIPTION = Field(
    "description",
    STRING_OR_NULL,
    lambda f, _: f.description if f.HasField("description") else None,
    since="2.55",
    required=True,
)
_ID = Field("id", STRING, lambda f, _: f.id, required=True)
_NAME = Field("name", STRING, lambda f, _: f.name, required=True)
_LINKS = Field("links", LINKS, lambda f, q: q.links.pair("flavors", f.id), required=True)
_EMPTY_OR_NUMBER = Either(INTEGER, one_of(""))


def _factor(flavor: pb.Flavor, _: Request) -> Any:
    return flavor.rxtx_factor


def _fields(swap_is_number_since: str) -> tuple[Field, ...]:
    return (
        _ID,
        _NAME,
        _LINKS,
        Field("ram", INTEGER, lambda f, _: f.memory_mb, required=True),
        Field("vcpus", INTEGER, lambda f, _: f.vcpus, required=True),
        Field("disk", INTEGER, lambda f, _: f.root_gb, required=True),
        *_swap(swap_is_number_since),
        Field("OS-FLV-EXT-DATA:ephemeral", INTEGER, lambda f, _: f.ephemeral_gb, required=True),
        Field("os-flavor-access:is_public", TRUE_FALSE, lambda f, _: f.is_public, required=True),
        Field("rxtx_factor", NUMBER, _factor, until="2.101", required=True),
        Field("OS-FLV-DISABLED:disabled", TRUE_FALSE, lambda f, _: f.disabled, until="2.101", required=True),
        _DESCRIPTION,
        Field(
            "extra_specs", Map("", STRING), lambda f, _: dict(f.extra_specs), since="2.61", when=EXTRA_SPECS
        ),
    )


def _swap(number_since: str) -> tuple[Field, Field]:
    before = f"2.{int(number_since.partition('.')[2]) - 1}"
    return (
        Field("swap", _EMPTY_OR_NUMBER, lambda f, _: f.swap_mb or "", until=before, required=True),
        Field("swap", INTEGER, lambda f, _: f.swap_mb, since=number_since, required=True),
    )


FLAVOR = View(*_fields("2.75"))
# Lists went on to write no swap as "" until 2.102.
LISTED = View(*_fields("2.102"))
SUMMARY = View(_ID, _NAME, _LINKS, _DESCRIPTION)

ONE = Obj(Field("flavor", FLAVOR, required=True))
MANY = Obj(Field("flavors", Arr(LISTED), required=True), Field("flavors_links", paging.NEXT_LINKS))
MANY_SUMMARIES = Obj(Field("flavors", Arr(SUMMARY), required=True), Field("flavors_links", paging.NEXT_LINKS))

_TEXT = Plain(type=["string", "null"], maxLength=65535, format="printable")
_CHOSEN_ID = Plain(
    type=["string", "number", "null"], pattern=r"^(?! )[a-zA-Z0-9. _-]+(?<! )$", minLength=1, maxLength=255
)
_RATE = Plain(
    type=["number", "string"], pattern=r"^[0-9]+(\.[0-9]+)?$", exclusiveMinimum=0, maximum=3.40282e38
)

CREATE = Obj(
    Field(
        "flavor",
        Obj(
            Field("name", NAME, required=True),
            Field("id", _CHOSEN_ID),
            Field("ram", POSITIVE_STORED, required=True),
            Field("vcpus", POSITIVE_STORED, required=True),
            Field("disk", NON_NEGATIVE_STORED, required=True),
            Field("OS-FLV-EXT-DATA:ephemeral", NON_NEGATIVE_STORED),
            Field("swap", NON_NEGATIVE_STORED),
            Field("os-flavor-access:is_public", BOOLEAN),
            Field("rxtx_factor", _RATE, until="2.101"),
            Field("description", _TEXT, since="2.55"),
        ),
        required=True,
    )
)
UPDATE = Obj(Field("flavor", Obj(Field("description", _TEXT, required=True)), required=True))

_PUBLIC = frozenset(("t", "true", "1", "yes", "y", "on"))
_PRIVATE = frozenset(("f", "false", "0", "no", "n", "off"))


def _visibility(request: Request) -> api.FlavorVisibility.ValueType:
    if not request.context.is_admin:
        return api.FLAVOR_VISIBILITY_UNSPECIFIED
    wanted = request.last("is_public")
    if wanted is None:
        return api.FLAVOR_VISIBILITY_PUBLIC
    if wanted.lower() == "none":
        return api.FLAVOR_VISIBILITY_ALL
    if wanted.lower() in _PUBLIC:
        return api.FLAVOR_VISIBILITY_PUBLIC
    if wanted.lower() in _PRIVATE:
        return api.FLAVOR_VISIBILITY_PRIVATE
    raise Fault(400, f"query.is_public: '{wanted}' is neither true, false nor none.")


def _least(request: Request, parameter: str) -> int:
    value = request.last(parameter)
    if value is None:
        return 0
    try:
        return bounded(value)
    except ValueError:
        raise Fault(400, f"query.{parameter}: '{value}' is not an integer.") from None


def _listed(request: Request, view: View, path: str) -> dict[str, Any]:
    limit = paging.limit_of(request)
    wanted = api.ListFlavorsRequest(
        visibility=_visibility(request),
        min_memory_mb=_least(request, "minRam"),
        min_root_gb=_least(request, "minDisk"),
        include_disabled=request.context.is_admin,
        name=request.last("name") or "",
        sort_key=_sort_field(request),
        sort_descending=request.last("sort_dir") == "desc",
        page_size=limit,
        page_token=request.last("marker") or "",
    )
    found = request.services.flavors.ListFlavors(wanted).flavors if limit else []
    shown = request.show_all(view, found)
    return paging.page(request, path, "flavors", shown, limit, paging.last_id(found))


def _sort_field(request: Request) -> str:
    key = request.last("sort_key") or ""
    return _SORT_FIELDS.get(key, key)


@flavors.get("/flavors", "index", query=LIST_QUERY, answer=MANY_SUMMARIES)
def index(request: Request) -> dict[str, Any]:
    """List flavors."""
    return _listed(request, SUMMARY, "/flavors")


@flavors.get("/flavors/detail", "detail", query=LIST_QUERY, answer=MANY)
def detail(request: Request) -> dict[str, Any]:
    """List flavors with details."""
    return _listed(request, LISTED, "/flavors/detail")


@flavors.get("/flavors/{flavor_id}", "show", query=NO_QUERY, answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a flavor."""
    found = request.services.flavors.GetFlavor(api.GetFlavorRequest(id=request.args["flavor_id"]))
    return {"flavor": request.show(FLAVOR, found.flavor)}


@flavors.post("/flavors", "create", policy="os_compute_api:os-flavor-manage:create", body=CREATE, answer=ONE)
def create(request: Request) -> dict[str, Any]:
    """Create a flavor."""
    body = request.body["flavor"]
    chosen = body.get("id")
    flavor = pb.Flavor(
        # A number 0 asks for a generated id, as no id at all does.
        id="" if chosen in (None, 0) else _id_text(chosen),
        name=body["name"],
        vcpus=int(body["vcpus"]),
        memory_mb=int(body["ram"]),
        root_gb=int(body["disk"]),
        ephemeral_gb=int(body.get("OS-FLV-EXT-DATA:ephemeral", 0)),
        swap_mb=int(body.get("swap", 0)),
        rxtx_factor=_factor_of(body.get("rxtx_factor", 1.0)),
        is_public=truth(body.get("os-flavor-access:is_public", True)),
    )
    if body.get("description") is not None:
        flavor.description = body["description"]
    created = request.services.flavors.CreateFlavor(api.CreateFlavorRequest(flavor=flavor))
    return {"flavor": request.show(FLAVOR, created.flavor)}


@flavors.put(
    "/flavors/{flavor_id}",
    "update",
    since="2.55",
    policy="os_compute_api:os-flavor-manage:update",
    body=UPDATE,
    answer=ONE,
)
def update(request: Request) -> dict[str, Any]:
    """Change a flavor's description."""
    wanted = api.UpdateFlavorRequest(id=request.args["flavor_id"])
    if request.body["flavor"]["description"] is not None:
        wanted.description = request.body["flavor"]["description"]
    return {"flavor": request.show(FLAVOR, request.services.flavors.UpdateFlavor(wanted).flavor)}


@flavors.delete("/flavors/{flavor_id}", "delete", policy="os_compute_api:os-flavor-manage:delete", status=202)
def delete(request: Request) -> None:
    """Delete a flavor; servers built from it keep their copy."""
    request.services.flavors.DeleteFlavor(api.DeleteFlavorRequest(id=request.args["flavor_id"]))


def _id_text(chosen: Any) -> str:
    text = str(chosen)
    if re.fullmatch(r"[a-zA-Z0-9. _-]{1,255}", text) is None:
        raise Fault(400, f"flavor.id: '{text}' has letters an id may not have.")
    return text


def _factor_of(value: Any) -> float:
    factor = float(value)
    if not 0 < factor <= 3.40282e38:
        raise Fault(400, f"flavor.rxtx_factor: {value} is not a positive number.")
    return factor


# Adding a project to a public flavor's list was harmless until 2.6; since then it is refused.
REFUSE_PUBLIC = Window.parse("2.7-")

_TENANT = Obj(Field("tenant", Plain(type="string", minLength=1, maxLength=255), required=True))
ACCESS = Obj(
    Field(
        "flavor_access",
        Arr(Obj(Field("flavor_id", STRING, required=True), Field("tenant_id", STRING, required=True))),
        required=True,
    )
)


def _access(flavor_id: str, project_ids: Any) -> dict[str, Any]:
    return {
        "flavor_access": [{"flavor_id": flavor_id, "tenant_id": project} for project in sorted(project_ids)]
    }


@flavors.get(
    "/flavors/{flavor_id}/os-flavor-access",
    "os-flavor-access.index",
    policy="os_compute_api:os-flavor-access",
    answer=ACCESS,
)
def access(request: Request) -> dict[str, Any]:
    """List the projects that may use a private flavor."""
    flavor_id = request.args["flavor_id"]
    found = request.services.flavors.ListFlavorAccess(api.ListFlavorAccessRequest(id=flavor_id))
    return _access(flavor_id, found.project_ids)


@flavors.action(
    "/flavors/{flavor_id}/action",
    "addTenantAccess",
    policy="os_compute_api:os-flavor-access:add_tenant_access",
    body=Obj(Field("addTenantAccess", _TENANT, required=True)),
    answer=ACCESS,
)
def add_access(request: Request) -> dict[str, Any]:
    """Let a project use a private flavor."""
    flavor_id = request.args["flavor_id"]
    found = request.services.flavors.AddFlavorAccess(
        api.AddFlavorAccessRequest(
            id=flavor_id,
            project_id=request.body["addTenantAccess"]["tenant"],
            refuse_public=request.version in REFUSE_PUBLIC,
        )
    )
    return _access(flavor_id, found.project_ids)


@flavors.action(
    "/flavors/{flavor_id}/action",
    "removeTenantAccess",
    policy="os_compute_api:os-flavor-access:remove_tenant_access",
    body=Obj(Field("removeTenantAccess", _TENANT, required=True)),
    answer=ACCESS,
)
def remove_access(request: Request) -> dict[str, Any]:
    """Take a private flavor away from a project."""
    flavor_id = request.args["flavor_id"]
    found = request.services.flavors.RemoveFlavorAccess(
        api.RemoveFlavorAccessRequest(id=flavor_id, project_id=request.body["removeTenantAccess"]["tenant"])
    )
    return _access(flavor_id, found.project_ids)
