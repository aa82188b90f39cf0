"""Volumes and snapshots of the volume service."""

from __future__ import annotations

from typing import Any

from protonova.gateway.compute.proxies import LAST
from protonova.gateway.compute.proxies.asking import block_storage, page
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request, Response
from protonova.gateway.schema import (
    BOOLEAN,
    INTEGER,
    METADATA_SHOWN,
    NON_NEGATIVE,
    OBJECT,
    POSITIVE,
    STRING,
    STRING_OR_NULL,
    UUID,
    Arr,
    Field,
    Obj,
    View,
    truth,
)
from protonova.gateway.validation import Query

RULES = "os_compute_api:os-volumes"
SNAPSHOT_RULES = f"{RULES}:snapshots"

volumes = Resource("os-volumes")
snapshots = Resource("os-snapshots")


def _attachments(volume: dict[str, Any], _: Request) -> list[dict[str, str]]:
    """One that is attached to nothing has one that says nothing, as clients of this API expect."""
    shown = [
        {
            "id": volume["id"],
            "volumeId": volume["id"],
            "serverId": held["server_id"],
            **({"device": held["device"]} if held.get("device") else {}),
        }
        for held in volume.get("attachments") or ()
    ]
    return shown or [{}]


_ATTACHMENT = Obj(
    Field("id", UUID), Field("device", STRING), Field("serverId", UUID), Field("volumeId", UUID)
)
VOLUME = View(
    Field("id", UUID, lambda v, _: v["id"], required=True),
    Field("status", STRING, lambda v, _: v["status"], required=True),
    Field("size", INTEGER, lambda v, _: v["size"], required=True),
    Field("availabilityZone", STRING_OR_NULL, lambda v, _: v.get("availability_zone"), required=True),
    Field("createdAt", STRING, lambda v, _: v["created_at"], required=True),
    Field("displayName", STRING_OR_NULL, lambda v, _: v.get("name"), required=True),
    Field("displayDescription", STRING_OR_NULL, lambda v, _: v.get("description"), required=True),
    Field("volumeType", STRING_OR_NULL, lambda v, _: v.get("volume_type"), required=True),
    Field("snapshotId", STRING_OR_NULL, lambda v, _: v.get("snapshot_id"), required=True),
    Field("metadata", METADATA_SHOWN, lambda v, _: v.get("metadata") or {}, required=True),
    Field("attachments", Arr(_ATTACHMENT), _attachments, required=True),
)
SNAPSHOT = View(
    Field("id", UUID, lambda s, _: s["id"], required=True),
    Field("volumeId", UUID, lambda s, _: s["volume_id"], required=True),
    Field("status", STRING, lambda s, _: s["status"], required=True),
    Field("size", INTEGER, lambda s, _: s["size"], required=True),
    Field("createdAt", STRING, lambda s, _: s["created_at"], required=True),
    Field("displayName", STRING_OR_NULL, lambda s, _: s.get("name"), required=True),
    Field("displayDescription", STRING_OR_NULL, lambda s, _: s.get("description"), required=True),
)
NEW_VOLUME = Obj(
    Field(
        "volume",
        Obj(
            Field("size", POSITIVE, required=True),
            Field("volume_type", STRING),
            Field("metadata", OBJECT),
            Field("snapshot_id", STRING),
            Field("availability_zone", STRING),
            Field("display_name", STRING),
            Field("display_description", STRING),
        ),
        required=True,
    )
)
NEW_SNAPSHOT = Obj(
    Field(
        "snapshot",
        Obj(
            Field("volume_id", STRING, required=True),
            Field("force", BOOLEAN),
            Field("display_name", STRING),
            Field("display_description", STRING),
        ),
        required=True,
    )
)
_PAGE = Query(Field("limit", NON_NEGATIVE), Field("offset", NON_NEGATIVE))
_NAMES = {"display_name": "name", "display_description": "description"}


def _new(body: dict[str, Any]) -> dict[str, Any]:
    return {_NAMES.get(name, name): value for name, value in body.items()}


def _declare(resource: Resource, path: str, rules: str, kind: str, view: View) -> None:
    """Lists, show and delete, which volumes and snapshots have alike."""
    key, one_path = f"{kind}s", f"{path}/{{{kind}_id}}"
    many, one = Obj(Field(key, Arr(view), required=True)), Obj(Field(kind, view, required=True))

    def index(request: Request) -> dict[str, Any]:
        """List them."""
        found = block_storage(request).get(f"/{key}/detail")[key]
        return {key: request.show_all(view, page(request, found))}

    def show(request: Request) -> dict[str, Any]:
        """Show one."""
        return {
            kind: request.show(view, block_storage(request).get(f"/{key}/{request.args[f'{kind}_id']}")[kind])
        }

    def delete(request: Request) -> None:
        """Remove one."""
        own_path = f"/{key}/{request.args[f'{kind}_id']}"
        block_storage(request).get(own_path)
        block_storage(request).delete(own_path)

    usual: dict[str, Any] = {"until": LAST}
    resource.get(path, "index", policy=f"{rules}:list", query=_PAGE, answer=many, **usual)(index)
    resource.get(f"{path}/detail", "detail", policy=f"{rules}:detail", query=_PAGE, answer=many, **usual)(
        index
    )
    resource.get(one_path, "show", policy=f"{rules}:show", query=Query(), answer=one, **usual)(show)
    resource.delete(one_path, policy=f"{rules}:delete", status=202, **usual)(delete)


_declare(volumes, "/os-volumes", RULES, "volume", VOLUME)
_declare(snapshots, "/os-snapshots", SNAPSHOT_RULES, "snapshot", SNAPSHOT)


@volumes.post(
    "/os-volumes",
    until=LAST,
    policy=f"{RULES}:create",
    body=NEW_VOLUME,
    answer=Obj(Field("volume", VOLUME, required=True)),
)
def create_volume(request: Request) -> Response:
    """Make a volume."""
    body = _new(request.body["volume"])
    made = block_storage(request).post("/volumes", {"volume": {**body, "size": int(body["size"])}})["volume"]
    location = request.links.pair("os-volumes", made["id"])[0]["href"]
    return Response({"volume": request.show(VOLUME, made)}, headers=(("Location", location),))


@snapshots.post(
    "/os-snapshots",
    until=LAST,
    policy=f"{SNAPSHOT_RULES}:create",
    body=NEW_SNAPSHOT,
    answer=Obj(Field("snapshot", SNAPSHOT, required=True)),
)
def create_snapshot(request: Request) -> dict[str, Any]:
    """Make a snapshot of a volume."""
    body = _new(request.body["snapshot"])
    wanted = {**body, "force": truth(body.get("force", False))}
    made = block_storage(request).post("/snapshots", {"snapshot": wanted})["snapshot"]
    return {"snapshot": request.show(SNAPSHOT, made)}
