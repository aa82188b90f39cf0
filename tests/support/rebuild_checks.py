"""A scheduler that is asked of rebuilds only."""

from __future__ import annotations

from protonova.scheduler.v1 import scheduler_pb2 as pb
from protonova.scheduler.v1 import scheduler_pb2_grpc
from protonova.services.runtime import errors


class RebuildChecks(scheduler_pb2_grpc.SchedulerServiceServicer):
    """`refuses` is the filter that takes no image; `asked` are the requests."""

    def __init__(self) -> None:
        self.refuses = ""
        self.asked: list[pb.RequestSpec] = []
        self.errors: list[errors.Error] = []

    def CheckRebuild(self, request, context):
        self.asked.append(request.spec)
        if self.errors:
            raise self.errors.pop(0)
        return pb.CheckRebuildResponse(filter=self.refuses, reason="it does not like it")
