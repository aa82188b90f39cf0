"""Which hosts had their usage audited, over the last whole period (os-instance_usage_audit_log)."""

from __future__ import annotations

from typing import Any

from protonova.api.v1 import usage_pb2 as api
from protonova.common.v1 import usage_pb2 as pb
from protonova.gateway import times
from protonova.gateway.faults import Fault
from protonova.gateway.operation import Resource
from protonova.gateway.request import Request
from protonova.gateway.schema import INTEGER, STRING, Arr, Field, Map, Obj, View, one_of

RULES = "os_compute_api:os-instance-usage-audit-log"
PATH = "/os-instance_usage_audit_log"

audits = Resource("os-instance_usage_audit_log")

HOST = View(
    Field("state", one_of("RUNNING", "DONE"), lambda *_: "DONE", required=True),
    Field("instances", INTEGER, lambda a, _: a.servers, required=True),
    Field("errors", INTEGER, lambda a, _: a.errors, required=True),
    Field("message", STRING, lambda a, _: a.message, required=True),
)


def _not_run(audit: api.GetUsageAuditResponse) -> list[str]:
    done = {each.host for each in audit.audits}
    return [host for host in audit.hosts if host not in done]


def _done(audit: api.GetUsageAuditResponse) -> list[pb.UsageAudit]:
    """Of the hosts that there still are."""
    return [each for each in audit.audits if each.host in set(audit.hosts)]


def _errors(audit: api.GetUsageAuditResponse) -> int:
    return sum(each.errors for each in audit.audits)


def _status(audit: api.GetUsageAuditResponse, _: Request) -> str:
    done, hosts = len(_done(audit)), len(audit.hosts)
    how_many = "ALL hosts" if done == hosts else f"{done} of {hosts} hosts"
    return f"{how_many} done. {_errors(audit)} errors."


def _time(field: str) -> Any:
    return lambda audit, _: times.micro(getattr(audit, field)).partition(".")[0].replace("T", " ")


AUDIT = View(
    Field("period_beginning", STRING, _time("begin"), required=True),
    Field("period_ending", STRING, _time("end"), required=True),
    Field("num_hosts", INTEGER, lambda a, _: len(a.hosts), required=True),
    Field("num_hosts_done", INTEGER, lambda a, _: len(_done(a)), required=True),
    # A host is audited in one go.
    Field("num_hosts_running", INTEGER, lambda *_: 0, required=True),
    Field("num_hosts_not_run", INTEGER, lambda a, _: len(_not_run(a)), required=True),
    Field("hosts_not_run", Arr(STRING), lambda a, _: _not_run(a), required=True),
    Field("total_instances", INTEGER, lambda a, _: sum(each.servers for each in a.audits), required=True),
    Field("total_errors", INTEGER, lambda a, _: _errors(a), required=True),
    Field("overall_status", STRING, _status, required=True),
    Field(
        "log",
        Map(".+", HOST),
        lambda a, q: {each.host: q.show(HOST, each) for each in a.audits},
        required=True,
    ),
)


@audits.get(
    PATH,
    "index",
    policy=f"{RULES}:list",
    answer=Obj(Field("instance_usage_audit_logs", AUDIT, required=True)),
)
def index(request: Request) -> dict[str, Any]:
    """Show which hosts were audited for the last whole period."""
    found = request.services.usage.GetUsageAudit(api.GetUsageAuditRequest())
    return {"instance_usage_audit_logs": request.show(AUDIT, found)}


@audits.get(
    PATH + "/{before_timestamp}",
    policy=f"{RULES}:show",
    answer=Obj(Field("instance_usage_audit_log", AUDIT, required=True)),
)
def show(request: Request) -> dict[str, Any]:
    """Show which hosts were audited for the last whole period before a time."""
    given = request.args["before_timestamp"]
    try:
        before = times.read(given, "before_timestamp")
    except Fault:
        raise Fault(400, f"before_timestamp: '{given}' is not an ISO 8601 time.") from None
    found = request.services.usage.GetUsageAudit(api.GetUsageAuditRequest(before=before))
    return {"instance_usage_audit_log": request.show(AUDIT, found)}
