"""Images, and (until 2.38) the properties their owners gave them, of the image service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from protonova.gateway import paging
from protonova.gateway.compute.proxies import LAST
from protonova.gateway.compute.proxies.asking import images as image_service
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    ABSENT,
    ANY,
    INTEGER,
    METADATA,
    METADATA_KEY,
    METADATA_SHOWN,
    OBJECT,
    POSITIVE,
    STRING,
    STRING_OR_NULL,
    UUID,
    Arr,
    Field,
    Map,
    Obj,
    View,
    text,
)
from protonova.gateway.validation import Query, is_uuid
from protonova.services.runtime import errors
from protonova.services.runtime.openstack.image import OWN_FIELDS

PATH = "/images"
ONE_PATH = PATH + "/{image_id}"
METADATA_PATH = ONE_PATH + "/metadata"
LAST_METADATA = "2.38"

images = Resource("images")
metadata = Resource("images.metadata")

_STATUSES = {"active": "ACTIVE", "queued": "SAVING", "saving": "SAVING", "importing": "SAVING"}
_STATUSES |= {"deleted": "DELETED", "pending_delete": "DELETED", "killed": "ERROR"}
_PROGRESS = {"active": 100, "queued": 25, "saving": 50, "importing": 50}


def _links(image: Mapping[str, Any], request: Request) -> list[dict[str, str]]:
    prefix = request.settings.image_link_prefix or request.links.plain
    alternate = {
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": f"{prefix}/images/{image['id']}",
    }
    return [*request.links.pair("images", image["id"]), alternate]


def _properties(image: Mapping[str, Any]) -> dict[str, str | None]:
    return {
        name: None if value is None else str(value) for name, value in image.items() if name not in OWN_FIELDS
    }


def _server(image: Mapping[str, Any], request: Request) -> Any:
    server_id = image.get("instance_uuid")
    if not server_id:
        return ABSENT
    return {"id": server_id, "links": request.links.pair("servers", server_id)}


def _disk_config(image: Mapping[str, Any], _: Request) -> Any:
    value = image.get("auto_disk_config")
    return ABSENT if value is None else ("AUTO" if str(value).lower() == "true" else "MANUAL")


SUMMARY = View(
    Field("id", UUID, lambda i, _: i["id"], required=True),
    Field("name", STRING_OR_NULL, lambda i, _: i.get("name"), required=True),
    Field("links", Arr(OBJECT), _links, required=True),
)
IMAGE = View(
    *SUMMARY.fields,
    Field("created", STRING, lambda i, _: i["created_at"], required=True),
    Field("updated", STRING_OR_NULL, lambda i, _: i.get("updated_at"), required=True),
    Field("status", STRING, lambda i, _: _STATUSES.get(i["status"], "UNKNOWN"), required=True),
    Field("progress", INTEGER, lambda i, _: _PROGRESS.get(i["status"], 0), required=True),
    Field("minDisk", INTEGER, lambda i, _: i.get("min_disk") or 0, required=True),
    Field("minRam", INTEGER, lambda i, _: i.get("min_ram") or 0, required=True),
    Field("metadata", OBJECT, lambda i, _: _properties(i), required=True),
    Field("server", OBJECT, _server),
    Field("OS-DCF:diskConfig", STRING, _disk_config),
    Field("OS-EXT-IMG-SIZE:size", INTEGER, lambda i, _: i.get("size") or 0, required=True),
)
_FILTERS = ("name", "status", "changes-since", "server", "type", "minRam", "minDisk", "marker")
_QUERY = Query(
    *(Field(name, STRING) for name in _FILTERS),
    *(Field(name, POSITIVE) for name in ("limit", "page_size", "offset")),
)
_BY_STATUS = {"ACTIVE": "active", "SAVING": "saving", "ERROR": "killed", "DELETED": "deleted"}


def _asked(request: Request) -> dict[str, str]:
    """The image service's words for the filters."""
    asked = {
        name: value
        for name, parameter in (("name", "name"), ("marker", "marker"))
        if (value := request.last(parameter)) is not None
    }
    if (status := request.last("status")) is not None:
        asked["status"] = _BY_STATUS.get(status.upper(), status.lower())
    if (since := request.last("changes-since")) is not None:
        asked["updated_at"] = f"gte:{since}"
    if (server := request.last("server")) is not None:
        asked["instance_uuid"] = server.rstrip("/").rpartition("/")[2]
    if (kind := request.last("type")) is not None:
        asked["image_type"] = kind
    return asked


def _matching(request: Request, limit: int) -> list[dict[str, Any]]:
    """Images in the image service's order, as many as are wanted."""
    least = {"min_ram": request.last("minRam"), "min_disk": request.last("minDisk")}
    for parameter, value in (("minRam", least["min_ram"]), ("minDisk", least["min_disk"])):
        if value is not None and not value.isdecimal():
            raise Fault(400, f"query.{parameter}: '{value}' is not a number.")
    skip = int(request.last("offset") or 0)
    found: list[dict[str, Any]] = []
    for image in _all(request):
        if any(value is not None and (image.get(name) or 0) < int(value) for name, value in least.items()):
            continue
        if skip:
            skip -= 1
            continue
        found.append(image)
        if len(found) >= limit:
            break
    return found


def _all(request: Request) -> Iterator[dict[str, Any]]:
    asked = _asked(request)
    while True:
        answer = image_service(request).get("/images", asked)
        yield from answer["images"]
        if not answer.get("next"):
            return
        asked = {**asked, "marker": answer["images"][-1]["id"]}


def _list(request: Request, path: str, view: View) -> dict[str, Any]:
    sizes = [int(size) for name in ("limit", "page_size") if (size := request.last(name)) is not None]
    limit = min([*sizes, request.settings.max_limit])
    found = _matching(request, limit)
    marker = found[-1]["id"] if found else ""
    if not sizes:
        # A page was not asked for: there is a next one only where the most we show was reached.
        limit = request.settings.max_limit
    return paging.page(request, path, "images", request.show_all(view, found), limit, marker)


def _one(request: Request) -> dict[str, Any]:
    wanted = request.args["image_id"]
    if not is_uuid(wanted):
        raise Fault(404, f"Image {wanted} could not be found.")
    found: dict[str, Any] = image_service(request).get(f"/images/{wanted}")
    return found


def _many(view: View) -> Obj:
    return Obj(Field("images", Arr(view), required=True), Field("images_links", paging.NEXT_LINKS))


@images.get(PATH, "index", until=LAST, query=_QUERY, answer=_many(SUMMARY))
def index(request: Request) -> dict[str, Any]:
    """List images."""
    return _list(request, "/images", SUMMARY)


@images.get(PATH + "/detail", "detail", until=LAST, query=_QUERY, answer=_many(IMAGE))
def detail(request: Request) -> dict[str, Any]:
    """List images with details."""
    return _list(request, "/images/detail", IMAGE)


@images.get(ONE_PATH, "show", until=LAST, query=Query(), answer=Obj(Field("image", IMAGE, required=True)))
def show(request: Request) -> dict[str, Any]:
    """Show an image."""
    return {"image": request.show(IMAGE, _one(request))}


@images.delete(ONE_PATH, until=LAST, status=204)
def delete(request: Request) -> None:
    """Remove an image."""
    image = _one(request)
    image_service(request).delete(f"/images/{image['id']}")


# ---- metadata

ALL = Obj(Field("metadata", METADATA, required=True))
ALL_SHOWN = Obj(Field("metadata", METADATA_SHOWN, required=True))
ONE_ITEM = Obj(
    Field("meta", Map(METADATA_KEY, text(most=255), minProperties=1, maxProperties=1), required=True)
)
ITEM_SHOWN = Obj(Field("meta", Map(METADATA_KEY, ANY, minProperties=1, maxProperties=1), required=True))


def _change(request: Request, given: Mapping[str, str], *, replace: bool) -> dict[str, str | None]:
    """The properties of an image after they were changed; with `replace`, only those given."""
    image = _one(request)
    if own := sorted(given.keys() & OWN_FIELDS):
        raise Fault(400, f"metadata: '{own[0]}' is an attribute of images, and no name for metadata.")
    held = _properties(image)
    changes = [
        {"op": "replace" if name in held else "add", "path": _pointer(name), "value": value}
        for name, value in given.items()
    ]
    if replace:
        changes += [{"op": "remove", "path": _pointer(name)} for name in held if name not in given]
    return _properties(_patched(request, image, changes))


def _patched(request: Request, image: Mapping[str, Any], changes: list[dict[str, str]]) -> Mapping[str, Any]:
    if not changes:
        return image
    try:
        changed: Mapping[str, Any] = image_service(request).patch(f"/images/{image['id']}", changes)
    except errors.FailedPrecondition as error:
        raise Fault(400, error.message) from error
    return changed


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _item(request: Request, held: Mapping[str, Any]) -> str:
    key = request.args["key"]
    if key not in held:
        raise Fault(404, f"Image {request.args['image_id']} has no metadata item '{key}'.")
    return key


@metadata.get(METADATA_PATH, "index", until=LAST_METADATA, query=Query(), answer=ALL_SHOWN)
def list_metadata(request: Request) -> dict[str, Any]:
    """List an image's metadata."""
    return {"metadata": _properties(_one(request))}


@metadata.post(METADATA_PATH, until=LAST_METADATA, body=ALL, answer=ALL_SHOWN)
def add_metadata(request: Request) -> dict[str, Any]:
    """Add to an image's metadata."""
    return {"metadata": _change(request, request.body["metadata"], replace=False)}


@metadata.put(METADATA_PATH, "update_all", until=LAST_METADATA, body=ALL, answer=ALL_SHOWN)
def replace_metadata(request: Request) -> dict[str, Any]:
    """Replace an image's metadata."""
    return {"metadata": _change(request, request.body["metadata"], replace=True)}


@metadata.get(METADATA_PATH + "/{key}", "show", until=LAST_METADATA, query=Query(), answer=ITEM_SHOWN)
def show_item(request: Request) -> dict[str, Any]:
    """Show one item of an image's metadata."""
    held = _properties(_one(request))
    key = _item(request, held)
    return {"meta": {key: held[key]}}


@metadata.put(METADATA_PATH + "/{key}", until=LAST_METADATA, body=ONE_ITEM, answer=ITEM_SHOWN)
def set_item(request: Request) -> dict[str, Any]:
    """Set one item of an image's metadata."""
    given, key = request.body["meta"], request.args["key"]
    if set(given) != {key}:
        raise Fault(400, f"meta: the item is '{next(iter(given))}' here and '{key}' in the path.")
    held = _change(request, given, replace=False)
    return {"meta": {key: held[key]}}


@metadata.delete(METADATA_PATH + "/{key}", until=LAST_METADATA, status=204)
def delete_item(request: Request) -> None:
    """Remove one item of an image's metadata."""
    image = _one(request)
    key = _item(request, _properties(image))
    _patched(request, image, [{"op": "remove", "path": _pointer(key)}])
