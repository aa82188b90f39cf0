"""Actions of a server that no cell has: its build, seen from outside."""

from __future__ import annotations

from protonova.api.v1 import server_pb2 as pb
from protonova.common.v1 import server_pb2
from protonova.common.v1.server_action_pb2 import ServerAction
from protonova.services.api import times
from protonova.services.api.mappings import Place
from protonova.services.runtime import errors, operations
from protonova.services.runtime.operations import Engine, Operation


class BuildActions:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def listing(self, place: Place, request: pb.ListServerActionsRequest) -> list[ServerAction]:
        """Newest first. Raises MARKER_NOT_FOUND."""
        found = self._all(place)
        if request.page_token:
            ids = [action.request_id for action in found]
            if request.page_token not in ids:
                raise errors.InvalidArgument(
                    f"Marker {request.page_token} could not be found.",
                    reason="MARKER_NOT_FOUND",
                    marker=request.page_token,
                )
            found = found[ids.index(request.page_token) + 1 :]
        if request.HasField("changed_since"):
            since = times.micros(request.changed_since)
            found = [action for action in found if times.micros(action.updated_at) >= since]
        if request.HasField("changed_before"):
            before = times.micros(request.changed_before)
            found = [action for action in found if times.micros(action.updated_at) <= before]
        return found[: request.page_size] if request.page_size > 0 else found

    def get(self, place: Place, request_id: str) -> ServerAction:
        """With its events. Raises ACTION_NOT_FOUND."""
        for operation in self._operations(place):
            if operation.request_id == request_id:
                action = _message(operation, place)
                for event in self._engine.events(operation.id):
                    if event.direction != operations.DO:
                        continue
                    action.events.add(
                        name=event.event or event.step,
                        started_at=times.stamp(event.started_at),
                        finished_at=times.stamp(event.finished_at),
                        result=event.result,
                        details=event.details,
                        host=event.host,
                    )
                return action
        raise errors.NotFound(
            f"Action for request_id {request_id} on instance {place.server_id} could not be found.",
            reason="ACTION_NOT_FOUND",
            request_id=request_id,
        )

    def _all(self, place: Place) -> list[ServerAction]:
        return [_message(operation, place) for operation in self._operations(place)]

    def _operations(self, place: Place) -> list[Operation]:
        found = self._engine.list(subject=place.reservation_id)
        return [operation for operation in found if operation.action]


def _message(operation: Operation, place: Place) -> ServerAction:
    """One build makes several servers: this one may have failed in a build that is done."""
    building = place.building
    failed = operation.state == operations.FAILED or (
        building is not None and building.vm_state == server_pb2.VM_STATE_ERROR
    )
    return ServerAction(
        action=operation.action,
        server_id=place.server_id,
        request_id=operation.request_id,
        user_id=operation.user_id,
        project_id=operation.project_id,
        started_at=times.stamp(operation.created_at),
        updated_at=times.stamp(operation.updated_at),
        message="Error" if failed else "",
    )
