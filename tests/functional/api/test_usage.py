"""Usage of all cells."""

from datetime import UTC, datetime

import pytest

from protonova.api.v1 import usage_pb2 as pb
from protonova.common.v1.usage_pb2 import UsageAudit
from protonova.services.runtime import context, errors
from tests.functional.api.conftest import ADMIN, MEMBER
from tests.support.usage import usage

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(1, 6)]


def names(region, **fields):
    request = pb.ListServerUsagesRequest(**fields)
    return [each.server_id for each in region.api.usage.ListServerUsages(request).usages]


def test_cells_are_merged_and_a_silent_one_is_left_out(region):
    one, two = region.add_cell("one"), region.add_cell("two")
    one.usage.usages = [usage(IDS[0], "a", 1), usage(IDS[3], "b", 1)]
    two.usage.usages = [usage(IDS[1], "b", 1), usage(IDS[4], "a", 1)]
    with context.use(ADMIN):
        assert names(region) == [IDS[0], IDS[4], IDS[1], IDS[3]]
        assert names(region, page_size=3) == [IDS[0], IDS[4], IDS[1]]
        assert names(region, project_id="b") == [IDS[1], IDS[3]]
        two.stop()
        assert names(region) == [IDS[0], IDS[3]]


def test_users_see_their_project_whatever_they_ask_for(region):
    cell = region.add_cell("one")
    cell.usage.usages = [usage(IDS[0], MEMBER.project_id, 1), usage(IDS[1], "other", 1)]
    with context.use(MEMBER):
        assert names(region) == names(region, project_id="other") == [IDS[0]]


def test_a_marker_is_a_server_of_the_project(region):
    region.add_cell("one")
    with pytest.raises(errors.InvalidArgument) as raised:
        names(region, page_token=IDS[0])
    assert raised.value.reason == "MARKER_NOT_FOUND"


def test_the_audit_before_a_time(region):
    cell = region.add_cell("one", hosts=2)
    cell.usage.audits = [UsageAudit(host="one-host1", servers=3)]
    request = pb.GetUsageAuditRequest()
    request.before.FromDatetime(datetime(2026, 3, 14, tzinfo=UTC))
    answer = region.api.usage.GetUsageAudit(request)
    assert answer.begin.ToDatetime(UTC) == datetime(2026, 2, 1, tzinfo=UTC)
    assert answer.end.ToDatetime(UTC) == datetime(2026, 3, 1, tzinfo=UTC)
    assert list(answer.hosts) == ["one-host0", "one-host1"]
    assert [(each.host, each.servers) for each in answer.audits] == [("one-host1", 3)]
    assert cell.usage.asked[-1].end == answer.end
    request.before.FromDatetime(datetime(1, 1, 2, tzinfo=UTC))
    with pytest.raises(errors.InvalidArgument) as raised:
        region.api.usage.GetUsageAudit(request)
    assert raised.value.reason == "PERIOD_UNKNOWN"
