"""Server groups.

History: 2.13 whose they are; 2.15 soft policies; 2.64 one policy with rules in place of a list of policies and
metadata; 2.75 strict lists, 2.102 strict everywhere.
"""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import server_group_pb2 as api
from protonova.common.v1 import server_group_pb2 as pb
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    INTEGER,
    KEYSTONE_ID,
    MOST,
    NAME,
    NON_NEGATIVE,
    POSITIVE_STORED,
    STRING,
    UUID,
    Arr,
    Field,
    Obj,
    View,
    bounded,
    one_of,
)
from protonova.gateway.validation import Query

RULES = "os_compute_api:os-server-groups"

groups = Resource("os-server-groups")

_POLICIES = {
    "affinity": pb.SERVER_GROUP_POLICY_AFFINITY,
    "anti-affinity": pb.SERVER_GROUP_POLICY_ANTI_AFFINITY,
    "soft-affinity": pb.SERVER_GROUP_POLICY_SOFT_AFFINITY,
    "soft-anti-affinity": pb.SERVER_GROUP_POLICY_SOFT_ANTI_AFFINITY,
}
_NAMES = {number: name for name, number in _POLICIES.items()}
_STRICT = one_of("affinity", "anti-affinity")
_ANY = one_of(*_POLICIES)


def _rules(group: api.ServerGroup, _: Request) -> dict[str, int]:
    limited = group.HasField("max_server_per_host")
    return {"max_server_per_host": group.max_server_per_host} if limited else {}


GROUP = View(
    Field("id", UUID, lambda g, _: g.id, required=True),
    Field("name", STRING, lambda g, _: g.name, required=True),
    # A group with a soft policy is shown at versions that cannot make one, too.
    Field("policies", Arr(_ANY, maxItems=1), lambda g, _: [_NAMES[g.policy]], until="2.63", required=True),
    Field("policy", _ANY, lambda g, _: _NAMES[g.policy], since="2.64", required=True),
    Field("rules", Obj(Field("max_server_per_host", INTEGER)), _rules, since="2.64", required=True),
    Field("members", Arr(UUID), lambda g, _: list(g.member_ids), required=True),
    Field("metadata", Obj(), lambda *_: {}, until="2.63", required=True),
    Field("project_id", KEYSTONE_ID, lambda g, _: g.project_id, since="2.13", required=True),
    Field("user_id", KEYSTONE_ID, lambda g, _: g.user_id, since="2.13", required=True),
)
ONE = Obj(Field("server_group", GROUP, required=True))

_ONE_ONLY = {"minItems": 1, "maxItems": 1, "uniqueItems": True}
CREATE = Obj(
    Field(
        "server_group",
        Obj(
            Field("name", NAME, required=True),
            Field("policies", Arr(_STRICT, **_ONE_ONLY), until="2.14", required=True),
            Field("policies", Arr(_ANY, **_ONE_ONLY), versions="2.15-2.63", required=True),
            Field("policy", _ANY, since="2.64", required=True),
            Field("rules", Obj(Field("max_server_per_host", POSITIVE_STORED)), since="2.64"),
        ),
        required=True,
    )
)
LIST_QUERY = Query(
    Field("all_projects", STRING),
    Field("limit", NON_NEGATIVE),
    Field("offset", NON_NEGATIVE),
    strict="2.75",
)


@groups.get(
    "/os-server-groups",
    "index",
    policy=f"{RULES}:index",
    query=LIST_QUERY,
    answer=Obj(Field("server_groups", Arr(GROUP), required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """List the project's server groups in the order they were made."""
    project_id = request.project_id
    # Whoever is no administrator asks for all projects in vain, and is not told.
    if request.last("all_projects") is not None and request.context.is_admin:
        request.enforce(f"{RULES}:index:all_projects")
        project_id = ""
    most = request.settings.max_limit
    wanted = api.ListServerGroupsRequest(
        project_id=project_id,
        # Pages here are without markers and links, and 0 is no limit of one's own.
        page_size=min(int(request.last("limit") or 0) or most, most),
        offset=min(bounded(request.last("offset") or 0), MOST),
    )
    found = request.services.server_groups.ListServerGroups(wanted)
    return {"server_groups": request.show_all(GROUP, found.groups)}


@groups.post("/os-server-groups", "create", policy=f"{RULES}:create", body=CREATE, answer=ONE)
def create(request: Request) -> dict[str, Any]:
    """Make a server group."""
    body = request.body["server_group"]
    policy = body["policy"] if "policy" in body else body["policies"][0]
    group = api.ServerGroup(
        project_id=request.project_id, user_id=request.user_id, name=body["name"], policy=_POLICIES[policy]
    )
    most = body.get("rules", {}).get("max_server_per_host")
    if most is not None:
        if policy != "anti-affinity":
            raise Fault(
                400,
                "server_group.rules.max_server_per_host is only for the policy anti-affinity, "
                f"not for {policy}.",
            )
        group.max_server_per_host = int(most)
    made = request.services.server_groups.CreateServerGroup(api.CreateServerGroupRequest(group=group))
    return {"server_group": request.show(GROUP, made.group)}


@groups.get("/os-server-groups/{server_group_id}", "show", policy=f"{RULES}:show", answer=ONE)
def show(request: Request) -> dict[str, Any]:
    """Show a server group."""
    wanted = api.GetServerGroupRequest(
        id=request.args["server_group_id"], all_projects=request.context.is_admin
    )
    return {"server_group": request.show(GROUP, request.services.server_groups.GetServerGroup(wanted).group)}


@groups.delete("/os-server-groups/{server_group_id}", "delete", policy=f"{RULES}:delete", status=204)
def delete(request: Request) -> None:
    """Delete a server group; its servers stay."""
    request.services.server_groups.DeleteServerGroup(
        api.DeleteServerGroupRequest(
            id=request.args["server_group_id"], all_projects=request.context.is_admin
        )
    )
