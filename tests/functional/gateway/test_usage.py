"""Usage of projects and its audits through their eras."""

from __future__ import annotations

import pytest

from protonova.api.v1 import usage_pb2
from protonova.common.v1.usage_pb2 import UsageAudit
from tests.support.identity import OTHER_PROJECT, PROJECT
from tests.support.usage import usage

ADMIN = {"token": "admin"}
IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 6)]
DAY = 86400
# 2026-01-01
START = 1_767_225_600
WHEN = "start=2026-01-01T00:00:00&end=2026-01-03T00:00:00.500000"


def test_what_a_project_has_used(cloud):
    cloud.usage.usages = [
        usage(IDS[0], PROJECT, START - DAY, START + DAY),
        usage(IDS[1], PROJECT, START + DAY),
        usage(IDS[2], OTHER_PROJECT, START),
    ]
    shown = cloud.get(f"/os-simple-tenant-usage/{PROJECT}?{WHEN}").json["tenant_usage"]
    assert (shown["tenant_id"], shown["start"], shown["stop"]) == (
        PROJECT, "2026-01-01T00:00:00.000000", "2026-01-03T00:00:00.500000",
    )  # fmt: skip
    assert shown["total_hours"] == pytest.approx(48, abs=0.001)
    assert shown["total_vcpus_usage"] == pytest.approx(96, abs=0.001)
    assert shown["total_memory_mb_usage"] == pytest.approx(48 * 512, abs=0.1)
    assert shown["total_local_gb_usage"] == pytest.approx(480, abs=0.01)
    gone, there = shown["server_usages"]
    uptime = there.pop("uptime")
    assert uptime > DAY
    assert gone == {
        "instance_id": IDS[0], "name": "named-1", "tenant_id": PROJECT, "flavor": "m1.small", "hours": 24.0,
        "vcpus": 2, "memory_mb": 512, "local_gb": 10, "state": "terminated", "uptime": 2 * DAY,
        "started_at": "2025-12-31T00:00:00.000000", "ended_at": "2026-01-02T00:00:00.000000",
    }  # fmt: skip
    assert (there["state"], there["ended_at"]) == ("active", None)
    asked = cloud.usage.requests[-1]
    assert (asked.project_id, asked.begin.seconds, asked.page_size) == (PROJECT, START, 0)


def test_who_may_see_what(cloud):
    assert cloud.get(f"/os-simple-tenant-usage/{PROJECT}").json == {"tenant_usage": {}}
    assert cloud.get(f"/os-simple-tenant-usage/{OTHER_PROJECT}").status_code == 403
    assert cloud.get(f"/os-simple-tenant-usage/{OTHER_PROJECT}", **ADMIN).status_code == 200
    assert cloud.get("/os-simple-tenant-usage").status_code == 403
    cloud.usage.usages = [usage(IDS[0], PROJECT, START), usage(IDS[1], OTHER_PROJECT, START)]
    listed = cloud.get(f"/os-simple-tenant-usage?{WHEN}", **ADMIN).json["tenant_usages"]
    assert [each["tenant_id"] for each in listed] == [PROJECT, OTHER_PROJECT]
    assert "server_usages" not in listed[0]
    detailed = cloud.get(f"/os-simple-tenant-usage?{WHEN}&detailed=1", **ADMIN).json["tenant_usages"]
    assert [len(each["server_usages"]) for each in detailed] == [1, 1]


def test_the_usual_period_is_four_weeks(cloud):
    cloud.get(f"/os-simple-tenant-usage/{PROJECT}")
    asked = cloud.usage.requests[-1]
    assert asked.end.seconds - asked.begin.seconds == 28 * DAY


def test_pages_since_2_40(cloud):
    cloud.usage.usages = [usage(each, PROJECT, START) for each in IDS[:3]]
    path = f"/os-simple-tenant-usage/{PROJECT}"
    first = cloud.get(f"{path}?{WHEN}&limit=2", version="2.40").json
    assert [each["instance_id"] for each in first["tenant_usage"]["server_usages"]] == IDS[:2]
    (link,) = first["tenant_usage_links"]
    assert link["rel"] == "next"
    query = link["href"].partition("?")[2]
    assert f"marker={IDS[1]}" in query
    second = cloud.get(f"{path}?{query}", version="2.40").json
    assert [each["instance_id"] for each in second["tenant_usage"]["server_usages"]] == IDS[2:3]
    assert "tenant_usage_links" not in second
    beyond = cloud.get(f"{path}?{WHEN}&marker={IDS[2]}", version="2.40").json
    assert beyond == {"tenant_usage": {}}
    whole = cloud.get("/os-simple-tenant-usage?limit=1", version="2.40", **ADMIN).json
    assert (len(whole["tenant_usages"]), "tenant_usages_links" in whole) == (1, True)
    old = cloud.get(f"{path}?{WHEN}&limit=2", version="2.39").json
    assert len(old["tenant_usage"]["server_usages"]) == 3
    assert "tenant_usage_links" not in old
    assert cloud.get(f"{path}?limit=0", version="2.40").json == {"tenant_usage": {}}


@pytest.mark.parametrize(
    ("query", "version", "code", "named"),
    [
        ("start=yesterday", "2.1", 400, "query.start"),
        ("end=0001-01-01", "2.1", 400, "query.end"),
        ("start=0001-01-01T00:00:00%2B14:00", "2.1", 400, "query.start"),
        ("start=2026-01-02&end=2026-01-01", "2.1", 400, "query.start"),
        ("limit=-1", "2.40", 400, "limit"),
        ("limit=1&limit=2", "2.40", 400, "limit"),
        ("colour=blue", "2.74", 200, ""),
        ("colour=blue", "2.75", 400, "colour"),
    ],
)
def test_bad_questions(cloud, query, version, code, named):
    answer = cloud.get(f"/os-simple-tenant-usage/{PROJECT}?{query}", version=version)
    assert answer.status_code == code
    assert code == 200 or named in answer.json["badRequest"]["message"]


def audit(*done: UsageAudit, hosts: tuple[str, ...] = ("h1", "h2")) -> usage_pb2.GetUsageAuditResponse:
    made = usage_pb2.GetUsageAuditResponse(hosts=hosts, audits=done)
    made.begin.seconds, made.end.seconds = START - 31 * DAY, START
    return made


def test_audits(cloud):
    assert cloud.get("/os-instance_usage_audit_log").status_code == 403
    cloud.usage.audit = audit(UsageAudit(host="h1", servers=3, message="3 servers counted."))
    shown = cloud.get("/os-instance_usage_audit_log", **ADMIN).json["instance_usage_audit_logs"]
    assert shown == {
        "period_beginning": "2025-12-01 00:00:00", "period_ending": "2026-01-01 00:00:00",
        "num_hosts": 2, "num_hosts_done": 1, "num_hosts_running": 0, "num_hosts_not_run": 1,
        "hosts_not_run": ["h2"], "total_instances": 3, "total_errors": 0,
        "overall_status": "1 of 2 hosts done. 0 errors.",
        "log": {"h1": {"state": "DONE", "instances": 3, "errors": 0, "message": "3 servers counted."}},
    }  # fmt: skip
    assert not cloud.usage.before[-1].HasField("before")
    cloud.usage.audit = audit(UsageAudit(host="h1"), hosts=("h1",))
    answer = cloud.get("/os-instance_usage_audit_log/2026-01-15 10:00:00.5", **ADMIN)
    assert answer.json["instance_usage_audit_log"]["overall_status"] == "ALL hosts done. 0 errors."
    assert cloud.usage.before[-1].before.seconds == START + 14 * DAY + 10 * 3600
    refused = cloud.get("/os-instance_usage_audit_log/never", **ADMIN)
    assert (refused.status_code, "before_timestamp" in refused.json["badRequest"]["message"]) == (400, True)
    assert cloud.get("/os-instance_usage_audit_log?a=b", version="2.102", **ADMIN).status_code == 400
