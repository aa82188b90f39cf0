"""Key pairs.

History: 2.2 types, 201 and 204; 2.10 key pairs of other users; 2.35 pages; 2.92 no more generated pairs, and
``@`` and ``.`` in names.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import keypair_pb2 as api
from protonova.gateway import paging, times
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER,
    KEYSTONE_ID,
    MICROTIME,
    NON_NEGATIVE,
    NULL,
    STRING,
    TRUE_FALSE,
    Arr,
    Field,
    Obj,
    Plain,
    View,
    one_of,
)
from protonova.gateway.validation import Query

RULES = "os_compute_api:os-keypairs"

keypairs = Resource("os-keypairs")

_NAMES = {api.KEYPAIR_TYPE_SSH: "ssh", api.KEYPAIR_TYPE_X509: "x509"}
_TYPES = {name: number for number, name in _NAMES.items()}

_TYPE = Field(
    "type", one_of("ssh", "x509"), lambda k, _: _NAMES.get(k.type, "ssh"), since="2.2", required=True
)
_LISTED = (
    Field("name", STRING, lambda k, _: k.name, required=True),
    Field("public_key", STRING, lambda k, _: k.public_key, required=True),
    Field("fingerprint", STRING, lambda k, _: k.fingerprint, required=True),
    _TYPE,
)
_USER = Field("user_id", KEYSTONE_ID, lambda k, _: k.user_id, required=True)
LISTED = View(*_LISTED)
CREATED = View(*_LISTED, _USER, Field("private_key", STRING, until="2.91"))
SHOWN = View(
    *_LISTED,
    _USER,
    Field("id", INTEGER, lambda k, _: k.number, required=True),
    Field("created_at", MICROTIME, lambda k, _: times.field_micro(k, "created_at"), required=True),
    # A key pair never changes, and one that is deleted is gone.
    Field("updated_at", NULL, lambda *_: None, required=True),
    Field("deleted", TRUE_FALSE, lambda *_: False, required=True),
    Field("deleted_at", NULL, lambda *_: None, required=True),
)


def _name(pattern: str) -> Plain:
    return Plain(trim=True, type="string", minLength=1, maxLength=255, pattern=pattern, format="name")


CREATE = Obj(
    Field(
        "keypair",
        Obj(
            Field("name", _name(r"^[_\- a-zA-Z0-9]+$"), until="2.91", required=True),
            Field("name", _name(r"^[_\-@. a-zA-Z0-9]+$"), since="2.92", required=True),
            Field("type", one_of("ssh", "x509"), since="2.2"),
            Field("public_key", STRING, until="2.91"),
            Field("public_key", STRING, since="2.92", required=True),
            Field("user_id", KEYSTONE_ID, since="2.10"),
        ),
        required=True,
    )
)
_OF_USER = Field("user_id", STRING, since="2.10")
LIST_QUERY = Query(
    _OF_USER,
    Field("limit", NON_NEGATIVE, since="2.35"),
    Field("marker", STRING, since="2.35"),
    strict="2.75",
)
ONE_QUERY = Query(_OF_USER, strict="2.75")


def _owner(request: Request, rule: str) -> str:
    """Whose key pairs are meant; the policy decides whether the caller may mean them."""
    user_id = request.last("user_id") or request.user_id
    request.enforce(f"{RULES}:{rule}", {"user_id": user_id, "project_id": request.project_id})
    return user_id


@keypairs.get(
    "/os-keypairs",
    "index",
    query=LIST_QUERY,
    answer=Obj(
        Field("keypairs", Arr(Obj(Field("keypair", LISTED, required=True))), required=True),
        Field("keypairs_links", paging.NEXT_LINKS, since="2.35"),
    ),
)
def index(request: Request) -> dict[str, Any]:
    """List a user's key pairs by name."""
    user_id = _owner(request, "index")
    paged = any(f.name == "limit" and request.version in f.window for f in LIST_QUERY.fields)
    limit = paging.limit_of(request)
    wanted = api.ListKeypairsRequest(
        user_id=user_id, page_size=limit if paged else 0, page_token=request.last("marker") or ""
    )
    found = request.services.keypairs.ListKeypairs(wanted).keypairs if limit or not paged else []
    shown = [{"keypair": keypair} for keypair in request.show_all(LISTED, found)]
    if not paged:
        return {"keypairs": shown}
    return paging.page(request, "/os-keypairs", "keypairs", shown, limit, paging.last_id(found, "name"))


@keypairs.post(
    "/os-keypairs",
    "create",
    body=CREATE,
    answer=Obj(Field("keypair", CREATED, required=True)),
    status={"2.1": 200, "2.2-": 201},
)
def create(request: Request) -> dict[str, Any]:
    """Import a public key, or have a pair made."""
    body = request.body["keypair"]
    if body.get("public_key") == "":
        raise Fault(400, "keypair.public_key is empty.")
    user_id = body.get("user_id", request.user_id)
    request.enforce(f"{RULES}:create", {"user_id": user_id, "project_id": request.project_id})
    made = request.services.keypairs.CreateKeypair(
        api.CreateKeypairRequest(
            user_id=user_id,
            name=body["name"],
            type=_TYPES[body.get("type", "ssh")],
            public_key=body.get("public_key", ""),
        )
    )
    shown = request.show(CREATED, made.keypair)
    if made.private_key:
        shown["private_key"] = made.private_key
    return {"keypair": shown}


@keypairs.get(
    "/os-keypairs/{keypair_name}",
    "show",
    query=ONE_QUERY,
    answer=Obj(Field("keypair", SHOWN, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show a key pair."""
    wanted = api.GetKeypairRequest(user_id=_owner(request, "show"), name=request.args["keypair_name"])
    return {"keypair": request.show(SHOWN, request.services.keypairs.GetKeypair(wanted).keypair)}


@keypairs.delete("/os-keypairs/{keypair_name}", "delete", query=ONE_QUERY, status={"2.1": 202, "2.2-": 204})
def delete(request: Request) -> None:
    """Delete a key pair."""
    request.services.keypairs.DeleteKeypair(
        api.DeleteKeypairRequest(user_id=_owner(request, "delete"), name=request.args["keypair_name"])
    )
