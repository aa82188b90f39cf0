"""Traces go on from service to service and into operations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from protonova.common.v1 import operation_pb2 as pb
from protonova.common.v1 import operation_pb2_grpc as rpc
from protonova.services.runtime import channel, config, context
from protonova.services.runtime.operations import Engine
from protonova.services.runtime.server import Server
from tests.support.journeys import Journeys
from tests.support.traces import collected

PATIENCE = 10.0
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Where spans arrive instead of at a collector."""
    with collected(monkeypatch) as exporter:
        yield exporter


def test_one_trace_through_a_call_and_the_operation_it_begins(
    spans: Any, engine: Engine, journeys: Journeys
) -> None:
    class Servicer(rpc.OperationServiceServicer):
        def GetOperation(self, request: pb.GetOperationRequest, _call: Any) -> pb.GetOperationResponse:
            return pb.GetOperationResponse(operation=pb.Operation(id=journeys.begin(engine)))

    server = Server(config.load(), "conductor", "127.0.0.1:0")
    server.add(rpc.add_OperationServiceServicer_to_server, Servicer())
    server.start()
    caller = context.RequestContext(request_id="req-1", trace_parent=f"00-{TRACE}-b7ad6b7169203331-01")
    with channel.connect(server.conf, server.address) as connection, context.use(caller):
        answer = rpc.OperationServiceStub(connection).GetOperation(pb.GetOperationRequest())
    assert engine.wait(answer.operation.id, PATIENCE).state == "done"
    server.stop(0)
    found = {span.name: span for span in spans.get_finished_spans()}
    call = found["protonova.common.v1.OperationService/GetOperation"]
    assert f"{call.context.trace_id:032x}" == TRACE
    assert f"{call.parent.span_id:016x}" == "b7ad6b7169203331"
    assert call.attributes["request.id"] == "req-1"
    for name in ("travel.book", "travel.pay", "travel.announce"):
        assert found[name].context.trace_id == call.context.trace_id
        assert found[name].parent.span_id == call.context.span_id
