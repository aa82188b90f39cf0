"""Quotas of projects, users and classes, and the limits a project sees of itself.

Which quotas there are, under which name each API shows them and until when is told once, in ``QUOTAS``.
History: 2.36 the network service's quotas are gone, 2.39 the image service's, 2.50 classes show server groups
and lose networks, 2.57 files, 2.75 strict queries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from protonova.api.v1 import quota_pb2 as api
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import (
    BOOLEAN,
    INTEGER,
    MOST,
    STRING,
    Arr,
    Field,
    Obj,
    View,
    number,
    truth,
)
from protonova.gateway.validation import Query

quota_sets = Resource("os-quota-sets")
quota_classes = Resource("os-quota-class-sets")
limits = Resource("limits")

RULES = "os_compute_api:os-quota-sets"
CLASS_RULES = "os_compute_api:os-quota-class-sets"
OTHER_PROJECT = "os_compute_api:limits:other_project"


@dataclass(frozen=True)
class Quota:
    """One kind of quota; ``until`` for quota sets, ``class_until`` and ``class_since`` for classes."""

    name: str
    until: str | None = None
    class_until: str | None = None
    class_since: str | None = None


_FILES = "2.56"
QUOTAS = (
    Quota("instances"),
    Quota("cores"),
    Quota("ram"),
    Quota("metadata_items"),
    Quota("key_pairs"),
    Quota("server_groups", class_since="2.50"),
    Quota("server_group_members", class_since="2.50"),
    Quota("injected_files", _FILES, _FILES),
    Quota("injected_file_content_bytes", _FILES, _FILES),
    Quota("injected_file_path_bytes", _FILES, _FILES),
    Quota("fixed_ips", "2.35", "2.49"),
    Quota("floating_ips", "2.35", "2.49"),
    Quota("security_groups", "2.35", "2.49"),
    Quota("security_group_rules", "2.35", "2.49"),
)

# Quotas by name, as getters read them.
Lines = dict[str, api.QuotaLine]


def _line(lines: Lines, name: str) -> api.QuotaLine:
    return lines.get(name) or api.QuotaLine(resource=name, limit=-1)


def _limit(name: str) -> Any:
    return lambda lines, _: _line(lines, name).limit


def _use(name: str) -> Any:
    def read(lines: Lines, _: Request) -> dict[str, int]:
        line = _line(lines, name)
        return {"in_use": line.used, "limit": line.limit, "reserved": line.reserved}

    return read


_USE = Obj(*(Field(name, INTEGER, required=True) for name in ("in_use", "limit", "reserved")))
_LIMITS = [Field(q.name, INTEGER, _limit(q.name), until=q.until, required=True) for q in QUOTAS]
_ID = Field("id", STRING, lambda _, q: q.args["tenant_id"], required=True)

UPDATED = View(*_LIMITS)
SHOWN = View(_ID, *_LIMITS)
DETAIL = View(_ID, *(Field(q.name, _USE, _use(q.name), until=q.until, required=True) for q in QUOTAS))

_CLASS_LIMITS = [
    Field(q.name, INTEGER, _limit(q.name), since=q.class_since, until=q.class_until, required=True)
    for q in QUOTAS
]
CLASS_UPDATED = View(*_CLASS_LIMITS)
CLASS_SHOWN = View(Field("id", STRING, lambda _, q: q.args["id"], required=True), *_CLASS_LIMITS)

_NUMBER = number(-1, MOST)
UPDATE = Obj(
    Field(
        "quota_set",
        Obj(*(Field(q.name, _NUMBER, until=q.until) for q in QUOTAS), Field("force", BOOLEAN)),
        required=True,
    )
)
CLASS_UPDATE = Obj(
    Field(
        "quota_class_set",
        Obj(*(Field(q.name, _NUMBER, until=q.class_until) for q in QUOTAS)),
        required=True,
    )
)
SET_QUERY = Query(Field("user_id", STRING), strict="2.75")
ANY_QUERY = Query()


def _lines(answer: Iterable[api.QuotaLine]) -> Lines:
    return {line.resource: line for line in answer}


def _get(request: Request, project_id: str, user_id: str = "", defaults: bool = False) -> Lines:
    wanted = api.GetQuotaRequest(project_id=project_id, user_id=user_id, defaults=defaults)
    return _lines(request.services.quotas.GetQuota(wanted).lines)


def _set(view: View) -> Obj:
    return Obj(Field("quota_set", view, required=True))


def _project(request: Request, rule: str) -> str:
    project_id = request.args["tenant_id"]
    request.enforce(f"{RULES}:{rule}", {"project_id": project_id, "user_id": request.user_id})
    return project_id


def _given(body: dict[str, Any]) -> Iterator[tuple[str, int]]:
    for name, value in body.items():
        if name != "force":
            yield name, int(value)


@quota_sets.get("/os-quota-sets/{tenant_id}", "show", query=SET_QUERY, answer=_set(SHOWN))
def show(request: Request) -> dict[str, Any]:
    """Show the quota of a project, or of a user in it."""
    lines = _get(request, _project(request, "show"), request.last("user_id") or "")
    return {"quota_set": request.show(SHOWN, lines)}


@quota_sets.get("/os-quota-sets/{tenant_id}/detail", "detail", query=SET_QUERY, answer=_set(DETAIL))
def detail(request: Request) -> dict[str, Any]:
    """Show the quota of a project with what is used of it."""
    lines = _get(request, _project(request, "detail"), request.last("user_id") or "")
    return {"quota_set": request.show(DETAIL, lines)}


@quota_sets.get("/os-quota-sets/{tenant_id}/defaults", "defaults", query=ANY_QUERY, answer=_set(SHOWN))
def defaults(request: Request) -> dict[str, Any]:
    """Show the quota a project has when none is set for it."""
    lines = _get(request, _project(request, "defaults"), defaults=True)
    return {"quota_set": request.show(SHOWN, lines)}


@quota_sets.put("/os-quota-sets/{tenant_id}", "update", query=SET_QUERY, body=UPDATE, answer=_set(UPDATED))
def update(request: Request) -> dict[str, Any]:
    """Change the quota of a project, or of a user in it."""
    body = request.body["quota_set"]
    wanted = api.UpdateQuotaRequest(
        project_id=_project(request, "update"),
        user_id=request.last("user_id") or "",
        limits=dict(_given(body)),
        force=truth(body.get("force", False)),
    )
    return {"quota_set": request.show(UPDATED, _lines(request.services.quotas.UpdateQuota(wanted).lines))}


@quota_sets.delete("/os-quota-sets/{tenant_id}", "delete", query=SET_QUERY, status=202)
def delete(request: Request) -> None:
    """Put the quota of a project, or of a user in it, back to the defaults."""
    request.services.quotas.DeleteQuota(
        api.DeleteQuotaRequest(project_id=_project(request, "delete"), user_id=request.last("user_id") or "")
    )


def _class_lines(answer: Any) -> Lines:
    return {name: api.QuotaLine(resource=name, limit=limit) for name, limit in answer.limits.items()}


@quota_classes.get(
    "/os-quota-class-sets/{id}",
    "show",
    policy=f"{CLASS_RULES}:show",
    answer=Obj(Field("quota_class_set", CLASS_SHOWN, required=True)),
)
def show_class(request: Request) -> dict[str, Any]:
    """Show the limits of a quota class."""
    found = request.services.quotas.GetQuotaClass(api.GetQuotaClassRequest(name=request.args["id"]))
    return {"quota_class_set": request.show(CLASS_SHOWN, _class_lines(found))}


@quota_classes.put(
    "/os-quota-class-sets/{id}",
    "update",
    policy=f"{CLASS_RULES}:update",
    body=CLASS_UPDATE,
    answer=Obj(Field("quota_class_set", CLASS_UPDATED, required=True)),
)
def update_class(request: Request) -> dict[str, Any]:
    """Change the limits of a quota class."""
    wanted = api.UpdateQuotaClassRequest(
        name=request.args["id"], limits=dict(_given(request.body["quota_class_set"]))
    )
    changed = request.services.quotas.UpdateQuotaClass(wanted)
    return {"quota_class_set": request.show(CLASS_UPDATED, _class_lines(changed))}


# What limits call the quotas; the last column tells whether it is the limit or the use.
_ABSOLUTE = (
    ("maxTotalInstances", "instances", None, False),
    ("maxTotalCores", "cores", None, False),
    ("maxTotalRAMSize", "ram", None, False),
    ("maxTotalKeypairs", "key_pairs", None, False),
    ("maxServerMeta", "metadata_items", None, False),
    ("maxServerGroups", "server_groups", None, False),
    ("maxServerGroupMembers", "server_group_members", None, False),
    ("maxImageMeta", "metadata_items", "2.38", False),
    ("maxPersonality", "injected_files", _FILES, False),
    ("maxPersonalitySize", "injected_file_content_bytes", _FILES, False),
    ("maxSecurityGroups", "security_groups", "2.35", False),
    ("maxSecurityGroupRules", "security_group_rules", "2.35", False),
    ("maxTotalFloatingIps", "floating_ips", "2.35", False),
    ("totalInstancesUsed", "instances", None, True),
    ("totalCoresUsed", "cores", None, True),
    ("totalRAMUsed", "ram", None, True),
    ("totalServerGroupsUsed", "server_groups", None, True),
    ("totalFloatingIpsUsed", "floating_ips", "2.35", True),
    ("totalSecurityGroupsUsed", "security_groups", "2.35", True),
)


def _used(name: str) -> Any:
    return lambda lines, _: _line(lines, name).used


ABSOLUTE = View(
    *(
        Field(shown, INTEGER, _used(quota) if used else _limit(quota), until=until, required=True)
        for shown, quota, until, used in _ABSOLUTE
    )
)
LIMITS = Obj(
    Field(
        "limits",
        Obj(Field("rate", Arr(Obj(extra=True)), required=True), Field("absolute", ABSOLUTE, required=True)),
        required=True,
    )
)
LIMITS_QUERY = Query(Field("tenant_id", STRING), Field("reserved", STRING), strict="2.75")


@limits.get("/limits", "index", policy="os_compute_api:limits", query=LIMITS_QUERY, answer=LIMITS)
def show_limits(request: Request) -> dict[str, Any]:
    """Show the limits of a project and what it uses."""
    project_id = request.last("tenant_id") or request.project_id
    if project_id != request.project_id:
        request.enforce(OTHER_PROJECT, {"project_id": project_id, "user_id": request.user_id})
    lines = _get(request, project_id)
    return {"limits": {"rate": [], "absolute": request.show(ABSOLUTE, lines)}}
