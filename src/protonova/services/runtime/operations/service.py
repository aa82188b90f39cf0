"""OperationService: the operations of one service, for operators. Every service with an engine serves it."""

from __future__ import annotations

import grpc

from protonova.common.v1 import operation_pb2 as pb
from protonova.common.v1 import operation_pb2_grpc
from protonova.services.runtime import errors
from protonova.services.runtime.operations.engine import Engine
from protonova.services.runtime.operations.records import Operation

_DEFAULT_PAGE = 100
_LARGEST_PAGE = 1000
_PREFIX = "OPERATION_STATE_"


class OperationServicer(operation_pb2_grpc.OperationServiceServicer):
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ListOperations(
        self, request: pb.ListOperationsRequest, context: grpc.ServicerContext
    ) -> pb.ListOperationsResponse:
        size = min(request.page_size or _DEFAULT_PAGE, _LARGEST_PAGE)
        states = [pb.OperationState.Name(state).removeprefix(_PREFIX).lower() for state in request.states]
        found = self._engine.list(states, request.subject, size, _sequence(request.page_token))
        more = str(found[-1].sequence) if len(found) == size else ""
        return pb.ListOperationsResponse(operations=map(_message, found), next_page_token=more)

    def GetOperation(
        self, request: pb.GetOperationRequest, context: grpc.ServicerContext
    ) -> pb.GetOperationResponse:
        return pb.GetOperationResponse(operation=_message(self._engine.get(request.id)))

    def RetryOperation(
        self, request: pb.RetryOperationRequest, context: grpc.ServicerContext
    ) -> pb.RetryOperationResponse:
        return pb.RetryOperationResponse(operation=_message(self._engine.retry(request.id)))

    def GiveUpOperation(
        self, request: pb.GiveUpOperationRequest, context: grpc.ServicerContext
    ) -> pb.GiveUpOperationResponse:
        return pb.GiveUpOperationResponse(operation=_message(self._engine.give_up(request.id)))


def _sequence(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal():
        raise errors.InvalidArgument(
            f"'{token}' is no page token of this list.", reason="MARKER_NOT_FOUND", marker=token
        )
    return int(token)


def _message(found: Operation) -> pb.Operation:
    operation = pb.Operation(
        id=found.id,
        kind=found.kind,
        subject=found.subject,
        state=pb.OperationState.Value(_PREFIX + found.state.upper()),
        step=found.step,
        attempt=found.attempt,
        generation=found.generation,
        owner=found.owner,
        error=f"{found.error.reason}: {found.error}" if found.error else "",
        request_id=found.request_id,
        project_id=found.project_id,
    )
    operation.created_at.FromMicroseconds(found.created_at)
    operation.updated_at.FromMicroseconds(found.updated_at)
    if found.finished_at:
        operation.finished_at.FromMicroseconds(found.finished_at)
    return operation
