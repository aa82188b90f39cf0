"""Locking servers against changes by others than administrators.

History: 2.73 a reason can be given, and a body of unlock that is not null is refused.
"""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as api
from protonova.common.v1 import server_pb2 as pb
from protonova.gateway.compute.server_actions import PATH
from protonova.gateway.compute.servers import find
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import ANY, NULL, Either, Field, Obj, text

RULES = "os_compute_api:os-lock-server"

lock = Resource("servers")

_REASON = Obj(Field("locked_reason", text(1, 255)))
LOCK = Obj(
    Field("lock", ANY, until="2.72", required=True),
    Field("lock", Either(NULL, _REASON), since="2.73", required=True),
)
UNLOCK = Obj(Field("unlock", ANY, required=True))


def _set(request: Request, holder: pb.LockHolder.ValueType, reason: str = "") -> None:
    wanted = api.UpdateServerRequest(
        server=pb.Server(id=request.args["server_id"], locked_by=holder, locked_reason=reason)
    )
    wanted.update_mask.paths.extend(("locked_by", "locked_reason"))
    request.services.servers.UpdateServer(wanted)


@lock.action(PATH, "lock", policy=f"{RULES}:lock", body=LOCK, status=202)
def lock_server(request: Request) -> None:
    """Lock a server."""
    server = find(request)
    own = server.project_id == request.project_id
    body = request.body["lock"]
    reason = body.get("locked_reason", "") if isinstance(body, dict) else ""
    _set(request, pb.LOCK_HOLDER_OWNER if own else pb.LOCK_HOLDER_ADMIN, reason)


@lock.action(PATH, "unlock", policy=f"{RULES}:unlock", body=UNLOCK, status=202)
def unlock_server(request: Request) -> None:
    """Unlock a server."""
    server = find(request)
    if server.locked_by == pb.LOCK_HOLDER_ADMIN:
        request.enforce(
            f"{RULES}:unlock:unlock_override",
            {"project_id": server.project_id, "user_id": server.user_id},
        )
    _set(request, pb.LOCK_HOLDER_UNSPECIFIED)
