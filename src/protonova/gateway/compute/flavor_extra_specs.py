"""Extra specs of flavors.

History: from 2.86 the keys and values of known namespaces are checked (by ``extra_spec_rules``).
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import flavor_pb2 as api
from protonova.gateway.compute.extra_spec_rules import refusal
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import METADATA, METADATA_KEY, Field, Map, Obj, Plain, text
from protonova.gateway.versions import Window

CHECKED = Window.parse("2.86-")

specs = Resource("flavors.os-extra_specs")

_VALUE = Plain(type=["string", "number"], maxLength=255)
CREATE = Obj(Field("extra_specs", Map(METADATA_KEY, _VALUE), required=True))
UPDATE = Map(METADATA_KEY, _VALUE, minProperties=1, maxProperties=1)
ONE = Map(METADATA_KEY, text(most=255))


def _current(request: Request) -> dict[str, str]:
    found = request.services.flavors.GetFlavor(api.GetFlavorRequest(id=request.args["flavor_id"]))
    return dict(found.flavor.extra_specs)


def _merge(request: Request, given: dict[str, Any]) -> dict[str, str]:
    as_text = {key: str(value) for key, value in given.items()}
    for key, value in as_text.items():
        if len(value) > 255:
            raise Fault(400, f"extra_specs.{key}: the value is longer than 255 characters.")
        if request.version in CHECKED and (wrong := refusal(key, value)) is not None:
            raise Fault(400, wrong)
    request.services.flavors.UpdateFlavorExtraSpecs(
        api.UpdateFlavorExtraSpecsRequest(id=request.args["flavor_id"], extra_specs=as_text)
    )
    return as_text


@specs.get(
    "/flavors/{flavor_id}/os-extra_specs",
    "index",
    policy="os_compute_api:os-flavor-extra-specs:index",
    answer=Obj(Field("extra_specs", METADATA, required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List a flavor's extra specs."""
    return {"extra_specs": _current(request)}


@specs.post(
    "/flavors/{flavor_id}/os-extra_specs",
    "create",
    policy="os_compute_api:os-flavor-extra-specs:create",
    body=CREATE,
    answer=CREATE,
)
def create(request: Request) -> dict[str, Any]:
    """Add extra specs to a flavor; those of the same name are overwritten."""
    return {"extra_specs": _merge(request, request.body["extra_specs"])}


@specs.get(
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    "show",
    policy="os_compute_api:os-flavor-extra-specs:show",
    answer=ONE,
)
def show(request: Request) -> dict[str, Any]:
    """Show one extra spec of a flavor."""
    key = request.args["key"]
    current = _current(request)
    if key not in current:
        raise Fault(404, f"Flavor {request.args['flavor_id']} has no extra spec '{key}'.")
    return {key: current[key]}


@specs.put(
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    "update",
    policy="os_compute_api:os-flavor-extra-specs:update",
    body=UPDATE,
    answer=ONE,
)
def update(request: Request) -> dict[str, Any]:
    """Change one extra spec of a flavor."""
    key = request.args["key"]
    if key not in request.body:
        raise Fault(400, f"The body does not hold '{key}', the key the path names.")
    return _merge(request, request.body)


@specs.delete(
    "/flavors/{flavor_id}/os-extra_specs/{key}",
    "delete",
    policy="os_compute_api:os-flavor-extra-specs:delete",
    status=200,
)
def delete(request: Request) -> None:
    """Remove one extra spec of a flavor."""
    request.services.flavors.DeleteFlavorExtraSpec(
        api.DeleteFlavorExtraSpecRequest(id=request.args["flavor_id"], key=request.args["key"])
    )
