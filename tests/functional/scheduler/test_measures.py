"""What a scheduler tells of its decisions."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import prometheus_client
import pytest

from protonova.services.runtime import context
from protonova.services.scheduler.view import HostView
from tests.functional.scheduler.region import SIZES, Region
from tests.support.traces import collected

TRACE = "0af7651916cd43dd8448eb211c80319c"


def _counted(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(f"protonova_scheduler_{name}", labels) or 0.0


@pytest.mark.parametrize(
    ("count", "fields", "outcome"),
    [(2, {}, "placed"), (3, {}, "partly placed"), (1, {"vcpus": 9}, "refused")],
)
def test_decisions_are_measured_by_outcome(
    region: Region, count: int, fields: dict[str, Any], outcome: str
) -> None:
    region.host("h1", {**SIZES, "VCPU": 2})
    before = _counted("decision_seconds_count", outcome=outcome)
    region.select(count, **fields)
    assert _counted("decision_seconds_count", outcome=outcome) == before + 1


@pytest.mark.parametrize(("count", "hosts", "placed"), [(1, 1, 0), (5, 5, 4), (5, 6, 5)])
def test_lost_claims_are_counted(
    region: Region, monkeypatch: pytest.MonkeyPatch, count: int, hosts: int, placed: int
) -> None:
    """Somebody who goes past the scheduler takes one of the hosts between question and claim."""
    for number in range(hosts):
        region.host(f"h{number}", {**SIZES, "VCPU": 1})
    before = _counted("claims_lost_total")
    take, overtaken = HostView.take, str(uuid.uuid4())

    def overtake(view: HostView, allocations: Any, sign: int = 1) -> None:
        if not region.placement.held(overtaken):
            region.placement.claim(overtaken, {node: {"VCPU": 1} for node in allocations})
        take(view, allocations, sign)

    monkeypatch.setattr(HostView, "take", overtake)
    selections = region.select(count)
    chosen = [one.destination.host for one in selections if one.destination.host]
    assert len(chosen) == len(set(chosen)) == placed
    assert _counted("claims_lost_total") == before + 1
    for one in selections:
        on = {one.destination.node_id} if one.destination.host else set()
        assert region.placement.held(one.server_id).keys() == on


def test_a_decision_is_a_span_of_the_callers_trace(
    new_region: Callable[..., Region], monkeypatch: pytest.MonkeyPatch
) -> None:
    with collected(monkeypatch) as spans:
        region = new_region()
        region.host("h1")
        caller = context.RequestContext(request_id="req-1", trace_parent=f"00-{TRACE}-b7ad6b7169203331-01")
        with context.use(caller):
            region.select(2)
        found = [span for span in spans.get_finished_spans() if span.name == "scheduler.decide"]
        claims = [
            span
            for span in spans.get_finished_spans()
            if span.name == "protonova.placement.v1.AllocationService/ReplaceAllocations"
        ]
    (decision,) = found
    assert f"{decision.context.trace_id:032x}" == TRACE
    assert decision.attributes["servers"] == "2"
    assert [span.parent.span_id for span in claims] == [decision.context.span_id]
