"""Snapshots that the volume service makes of volumes in use with our help (os-assisted-volume-snapshots).

Whatever stands against one - the volume is attached to nothing or to several servers, the server does not run - is
told as 400.

History: 2.75 strict queries.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson

from protonova.api.v1 import server_device_pb2 as api
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import STRING, STRING_OR_NULL, Field, Obj, one_of, text
from protonova.gateway.validation import Query
from protonova.services.runtime import errors

RULES = "os_compute_api:os-assisted-volume-snapshots"
PATH = "/os-assisted-volume-snapshots"
_NOT_NOW = (
    "SERVER_STATE",
    "VOLUME_NOT_ATTACHED",
    "ATTACHMENT_NOT_FOUND",
    "SERVER_NOT_FOUND",
    "VOLUME_UNUSABLE",
)

snapshots = Resource("os-assisted-volume-snapshots")

# Names of files that lie beside the volume's own.
_FILE = r"^[^/.\x00][^/\x00]*$"

CREATE = Obj(
    Field(
        "snapshot",
        Obj(
            Field("volume_id", text(1), required=True),
            Field(
                "create_info",
                Obj(
                    Field("snapshot_id", text(1, 255), required=True),
                    Field("type", one_of("qcow2"), required=True),
                    Field("new_file", text(1, 255, _FILE), required=True),
                    Field("id", text(1, 255)),
                ),
                required=True,
            ),
        ),
        required=True,
    )
)
CREATED = Obj(
    Field(
        "snapshot",
        Obj(Field("id", STRING_OR_NULL, required=True), Field("volumeId", STRING, required=True)),
        required=True,
    )
)


@snapshots.post(PATH, policy=f"{RULES}:create", body=CREATE, query=Query(), answer=CREATED)
def create(request: Request) -> dict[str, Any]:
    """Have a running server write to a new file on top of its volume's."""
    body = request.body["snapshot"]
    info = body["create_info"]
    with _all_of_it_bad():
        request.services.devices.SnapshotVolume(
            api.SnapshotVolumeRequest(
                volume_id=body["volume_id"], snapshot_id=info["snapshot_id"], new_file=info["new_file"]
            )
        )
    return {"snapshot": {"id": info.get("id"), "volumeId": body["volume_id"]}}


@snapshots.delete(
    PATH + "/{snapshot_id}",
    policy=f"{RULES}:delete",
    query=Query(Field("delete_info", STRING), strict="2.75"),
    status=204,
)
def delete(request: Request) -> None:
    """Merge files that a running server's volume stands on."""
    info = _delete_info(request)
    with _all_of_it_bad():
        request.services.devices.MergeVolume(
            api.MergeVolumeRequest(
                volume_id=info["volume_id"],
                snapshot_id=request.args["snapshot_id"],
                file_to_merge=info.get("file_to_merge") or "",
                merge_target_file=info.get("merge_target_file") or "",
            )
        )


def _delete_info(request: Request) -> dict[str, Any]:
    given = request.last("delete_info")
    if given is None:
        raise Fault(400, "query.delete_info is missing.")
    try:
        info = orjson.loads(given)
    except orjson.JSONDecodeError:
        raise Fault(400, "query.delete_info is not a JSON document.") from None
    if not isinstance(info, dict) or not info.get("volume_id"):
        raise Fault(400, "query.delete_info lacks 'volume_id', which is required.")
    for name in ("volume_id", "file_to_merge", "merge_target_file"):
        if not isinstance(info.get(name) or "", str):
            raise Fault(400, f"query.delete_info.{name} is not text.")
    return info


@contextmanager
def _all_of_it_bad() -> Iterator[None]:
    """Services get one code for whatever is not possible."""
    try:
        yield
    except errors.Error as error:
        if error.reason not in _NOT_NOW:
            raise
        raise Fault(400, error.message) from error
