"""What a process tells of itself: metrics, traces where configured, and a state report on demand.

Nothing here holds a fact; it only counts and shows what the others own.
"""

from __future__ import annotations

import contextlib
import logging
import platform
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import metadata
from typing import Any

import prometheus_client as prometheus

from protonova.services.runtime import context
from protonova.services.runtime.config import Conf

_log = logging.getLogger("protonova.telemetry")
# Seconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

RPC_SECONDS = prometheus.Histogram(
    "protonova_rpc_seconds", "Calls answered, by method and status.", ["method", "status"], buckets=BUCKETS
)
STEP_SECONDS = prometheus.Histogram(
    "protonova_operation_step_seconds",
    "Steps of operations, by kind, step, direction and result.",
    ["kind", "step", "direction", "result"],
    buckets=BUCKETS,
)
OPERATIONS_ENDED = prometheus.Counter(
    "protonova_operations_ended_total", "Operations that ended, by kind and state.", ["kind", "state"]
)
OPERATIONS_HELD = prometheus.Gauge("protonova_operations_held", "Operations this process works on now.")
UPKEEP_SECONDS = prometheus.Histogram(
    "protonova_upkeep_seconds",
    "Passes of periodic work, by name and result.",
    ["name", "result"],
    buckets=BUCKETS,
)
TRANSACTION_RETRIES = prometheus.Counter(
    "protonova_transaction_retries_total", "Transactions begun again, by cause.", ["cause"]
)

_reports: dict[str, Callable[[], object]] = {}
_tracer: Any = None
_started_at = time.time()


def start(name: str, conf: Conf) -> None:
    """Serves metrics and sends traces, each only when configured."""
    options = conf.telemetry
    if options.metrics_port:
        prometheus.start_http_server(options.metrics_port, addr=options.metrics_listen)
    if options.otlp_endpoint:
        _start_traces(name, options.otlp_endpoint, options.sample_ratio)


def calls(method: str) -> Callable[[str, float], None]:
    """An observer of one method's calls: (status, seconds)."""
    by_status: dict[str, Any] = {}

    def observe(status: str, seconds: float) -> None:
        child = by_status.get(status)
        if child is None:
            child = by_status[status] = RPC_SECONDS.labels(method, status.partition(" ")[0])
        child.observe(seconds)

    return observe


# ---- traces ----------------------------------------------------------------------------------------------


def server_spans(method: str) -> Callable[[context.RequestContext], AbstractContextManager[object]]:
    """For each call a span that continues the caller's trace; nothing when traces are off."""
    if _tracer is None:
        nothing = contextlib.nullcontext()
        return lambda _ctx: nothing
    return lambda ctx: span(method.lstrip("/"), ctx)


@contextlib.contextmanager
def span(name: str, ctx: context.RequestContext | None = None, **attributes: str) -> Iterator[None]:
    """Runs a block as a span of the current (or given) context's trace; calls made in it continue it."""
    if _tracer is None:
        yield
        return
    import dataclasses

    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    ctx = ctx or context.current()
    propagator = TraceContextTextMapPropagator()
    parent = propagator.extract({"traceparent": ctx.trace_parent}) if ctx.trace_parent else None
    facts = {"request.id": ctx.request_id, "project.id": ctx.project_id, **attributes}
    with _tracer.start_as_current_span(name, context=parent, attributes=facts):
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        left = context.remaining()
        with context.use(dataclasses.replace(ctx, trace_parent=carrier.get("traceparent", "")), left):
            yield


def _start_traces(name: str, endpoint: str, ratio: float) -> None:
    global _tracer
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    provider = TracerProvider(
        resource=Resource.create({"service.namespace": "protonova", "service.name": name}),
        sampler=ParentBased(TraceIdRatioBased(ratio)),
    )
    insecure = not endpoint.startswith("https://")
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))
    _tracer = provider.get_tracer("protonova")


# ---- state report ----------------------------------------------------------------------------------------


def report(name: str, describe: Callable[[], object]) -> None:
    """Adds a section to the state report; `describe` is called when somebody asks."""
    _reports[name] = describe


def forget_report(name: str) -> None:
    _reports.pop(name, None)


def state_report() -> str:
    """Versions, what each part says of itself, and where every thread is."""
    lines = ["state report", *_versions()]
    for name, describe in list(_reports.items()):
        try:
            lines.append(f"-- {name}: {describe()}")
        except Exception as error:  # noqa: BLE001 - a report must not fail for one of its sections
            lines.append(f"-- {name}: cannot tell: {error!r}")
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        lines.append(f"-- thread {names.get(ident, ident)}")
        lines += [part.rstrip() for part in traceback.format_stack(frame)]
    return "\n".join(lines)


def log_state_report() -> None:
    _log.info("%s", state_report())


def _versions() -> list[str]:
    lines = [f"up {time.time() - _started_at:.0f} s, Python {platform.python_version()}"]
    for package in ("protonova", "grpcio", "SQLAlchemy", "protobuf"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            lines.append(f"{package} {metadata.version(package)}")
    return lines
