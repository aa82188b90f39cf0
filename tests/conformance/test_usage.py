"""What projects have used, by the stock clients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.conformance.conftest import Servers
from tests.support.rest import Rest


def test_usage_of_projects(openstack_cli: Callable[..., Any], sdk: Any, demo: Rest, servers: Servers) -> None:
    first = servers.boot(demo, "counted")["id"]
    gone = servers.boot(demo, "counted-and-gone")["id"]
    assert demo.call("DELETE", f"/servers/{gone}").status == 204
    servers.gone(gone)
    project = servers.admin.get(f"/servers/{first}")["server"]["tenant_id"]
    shown = demo.get(f"/os-simple-tenant-usage/{project}")["tenant_usage"]
    mine = {each["instance_id"]: each for each in shown["server_usages"]}
    assert (mine[first]["state"], mine[gone]["state"]) == ("active", "terminated")
    assert mine[gone]["uptime"] >= 0
    assert shown["total_hours"] > 0
    paged = demo.get(f"/os-simple-tenant-usage/{project}?limit=1")
    assert len(paged["tenant_usage"]["server_usages"]) == 1
    assert paged["tenant_usage_links"][0]["rel"] == "next"
    found = sdk("protonova-admin").compute.get_usage(project)
    assert found.total_hours > 0
    assert {first, gone} <= {each["instance_id"] for each in found.server_usages}
    listed = openstack_cli("usage", "list", "-f", "json", who="protonova-admin")
    assert any(len(each["Servers"]) >= 2 for each in listed)


def test_audits(admin: Rest, demo: Rest) -> None:
    shown = admin.get("/os-instance_usage_audit_log")["instance_usage_audit_logs"]
    hosts = shown["num_hosts"]
    assert hosts == shown["num_hosts_not_run"] == len(shown["hosts_not_run"]) > 0
    assert shown["overall_status"] == f"0 of {hosts} hosts done. 0 errors."
    assert demo.call("GET", "/os-instance_usage_audit_log").status == 403
