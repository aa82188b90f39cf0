"""What servers took, and audits of it, on every database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from protonova.common.v1 import upkeep_pb2
from protonova.conductor.v1 import usage_pb2 as pb
from protonova.services.conductor.usage.audits import period
from tests.support.conductor import Conductor, Edges, new_server
from tests.support.databases import EVERY, fresh

HOUR = 3600
BEGIN, END = 1_700_000_000, 1_700_000_000 + 24 * HOUR


@pytest.fixture(params=EVERY)
def cell(request, tmp_path, edges: Edges) -> Iterator[Conductor]:
    for url in fresh(request.param, tmp_path):
        conductor = Conductor(tmp_path, edges, url, instance_usage_audit_period="hour")
        conductor.report("host1", "host2")
        yield conductor
        conductor.close()


def put(cell: Conductor, name: str, launched: int = 0, gone: int = 0, **fields) -> str:
    server = new_server(name=name, **fields)
    server.flavor.ephemeral_gb = 2
    server.flavor.swap_mb = 4096
    server.flavor.name = "small"
    if launched:
        server.launched_at.seconds = launched
    if gone:
        server.deleted_at.seconds = server.terminated_at.seconds = gone
    cell.store(server)
    return server.id


def listed(cell: Conductor, **fields) -> list:
    request = pb.ListServerUsagesRequest(begin=Timestamp(seconds=BEGIN), end=Timestamp(seconds=END), **fields)
    return list(cell.usage.ListServerUsages(request).usages)


def test_servers_of_a_period_deleted_ones_among_them(cell: Conductor):
    put(cell, "never launched")
    put(cell, "gone before", BEGIN - 2 * HOUR, BEGIN - HOUR)
    put(cell, "came after", END + HOUR)
    put(cell, "there all the time", BEGIN - HOUR)
    put(cell, "gone within", BEGIN + HOUR, END - HOUR)
    put(cell, "gone after", BEGIN + HOUR, END + HOUR, project_id="other")
    found = {usage.name: usage for usage in listed(cell)}
    assert set(found) == {"there all the time", "gone within", "gone after"}
    within = found["gone within"]
    assert (within.launched_at.seconds, within.ended_at.seconds) == (BEGIN + HOUR, END - HOUR)
    assert (within.vcpus, within.memory_mb, within.local_gb, within.flavor_name) == (1, 512, 3, "small")
    assert not found["there all the time"].HasField("ended_at")
    assert [usage.name for usage in listed(cell, project_id="other")] == ["gone after"]


def test_pages_go_by_project_and_id(cell: Conductor):
    ids = sorted(put(cell, f"a{n}", BEGIN, project_id="a") for n in range(3))
    ids += sorted(put(cell, f"b{n}", BEGIN, project_id="b") for n in range(2))
    assert [usage.server_id for usage in listed(cell)] == ids
    seen, after = [], {}
    while page := listed(cell, page_size=2, **after):
        assert len(page) <= 2
        seen += [usage.server_id for usage in page]
        after = {"after_project_id": page[-1].project_id, "after_server_id": page[-1].server_id}
    assert seen == ids


def test_an_audit_counts_the_servers_of_each_host_once(cell: Conductor):
    now = cell.cell.db.read(lambda c: c.scalar(cell.cell.db.now().select()))
    begin, end = (moment // 1_000_000 for moment in period("hour", int(now)))
    put(cell, "before", begin - 2 * HOUR, begin - HOUR, host="host1")
    put(cell, "gone", begin - HOUR, begin + 60, host="host1")
    put(cell, "there", begin, host="host1")
    put(cell, "later", end + 1, host="host1")

    def audited() -> int:
        return cell.upkeep.RunUpkeep(upkeep_pb2.RunUpkeepRequest(name="usage-audit")).upkeep.last_count

    assert (audited(), audited()) == (2, 0)
    request = pb.ListUsageAuditsRequest(begin=Timestamp(seconds=begin), end=Timestamp(seconds=end))
    found = {audit.host: audit for audit in cell.usage.ListUsageAudits(request).audits}
    assert {host: audit.servers for host, audit in found.items()} == {"host1": 2, "host2": 0}
    assert found["host1"].message.startswith("2 servers of host1 counted in ")
    assert (found["host1"].errors, found["host1"].done_at.seconds >= end) == (0, True)
    cell.report("host3")
    assert audited() == 1
    request.end.seconds += HOUR
    assert not cell.usage.ListUsageAudits(request).audits
