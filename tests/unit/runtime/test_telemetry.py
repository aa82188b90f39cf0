"""The state report and the metrics."""

from __future__ import annotations

import prometheus_client

from protonova.services.runtime import context, telemetry


def test_the_state_report_tells_of_everyone_even_of_those_who_fail() -> None:
    telemetry.report("tailor", lambda: "three needles")
    telemetry.report("baker", lambda: 1 / 0)
    try:
        report = telemetry.state_report()
    finally:
        telemetry.forget_report("tailor")
        telemetry.forget_report("baker")
    assert "-- tailor: three needles" in report
    assert "-- baker: cannot tell: ZeroDivisionError" in report
    assert "test_the_state_report" in report  # where this thread is
    assert "grpcio " in report
    afterwards = telemetry.state_report()
    assert "-- tailor" not in afterwards


def test_calls_are_counted_by_status() -> None:
    observe = telemetry.calls("/a.Service/Method")
    observe("OK", 0.002)
    observe("NOT_FOUND SERVER_NOT_FOUND", 0.002)
    value = prometheus_client.REGISTRY.get_sample_value
    for status in ("OK", "NOT_FOUND"):
        labels = {"method": "/a.Service/Method", "status": status}
        assert value("protonova_rpc_seconds_count", labels) == 1


def test_without_tracing_a_span_is_nothing() -> None:
    ctx = context.internal("test")
    with telemetry.server_spans("/a.Service/Method")(ctx), telemetry.span("step"):
        assert context.current() is context.ANONYMOUS
