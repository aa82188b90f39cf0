"""The typed errors every service speaks, and how they travel over gRPC.

An error is raised where it arises, with a stable upper-case `reason` and facts in words and numbers. On the
wire it is a google.rpc.Status with one ErrorInfo (reason, domain, facts); at the caller it is the same class
again. What an HTTP client reads of it is decided by the gateway's one table, by reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

DOMAIN = "protonova"
DETAILS_KEY = "grpc-status-details-bin"
# An error travels in trailing metadata, which is dropped whole, error and all, when it is larger than some KiB.
_LONGEST_MESSAGE = 1000
_LONGEST_FACT = 500


class Error(Exception):
    """What a service refuses or fails with. `facts` are part of the contract, `message` is for people."""

    status: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN
    default_reason: ClassVar[str] = "UNKNOWN"
    # True when the same call may well succeed later without anything being changed by the caller.
    transient: ClassVar[bool] = False

    def __init__(self, message: str = "", reason: str | None = None, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.facts: dict[str, str] = {name: str(value) for name, value in facts.items()}

    def __str__(self) -> str:
        return self.message or self.reason

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, reason={self.reason!r}, facts={self.facts!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """As durable operations keep it."""
        return {
            "status": self.status.name,
            "reason": self.reason,
            "message": self.message,
            "facts": self.facts,
        }

    def to_status(self) -> status_pb2.Status:
        """As it travels."""
        facts = {name: _clipped(value, _LONGEST_FACT) for name, value in self.facts.items()}
        info = error_details_pb2.ErrorInfo(reason=self.reason, domain=DOMAIN, metadata=facts)
        detail = any_pb2.Any()
        detail.Pack(info)
        message = _clipped(self.message, _LONGEST_MESSAGE)
        return status_pb2.Status(code=self.status.value[0], message=message, details=[detail])

    @classmethod
    def of(cls, message: str, reason: str, facts: Mapping[str, str]) -> Self:
        """An error whose facts may have any name."""
        error = cls(message, reason)
        error.facts = dict(facts)
        return error


class NotFound(Error):
    status = grpc.StatusCode.NOT_FOUND
    default_reason = "NOT_FOUND"


class AlreadyExists(Error):
    status = grpc.StatusCode.ALREADY_EXISTS
    default_reason = "ALREADY_EXISTS"


class InvalidArgument(Error):
    status = grpc.StatusCode.INVALID_ARGUMENT
    default_reason = "INVALID_ARGUMENT"


class FailedPrecondition(Error):
    """The thing is in a state in which this cannot be done."""

    status = grpc.StatusCode.FAILED_PRECONDITION
    default_reason = "FAILED_PRECONDITION"


class Aborted(Error):
    """Somebody else changed it meanwhile: read again, then try again."""

    status = grpc.StatusCode.ABORTED
    default_reason = "ABORTED"
    transient = True


class PermissionDenied(Error):
    status = grpc.StatusCode.PERMISSION_DENIED
    default_reason = "PERMISSION_DENIED"


class Unauthenticated(Error):
    status = grpc.StatusCode.UNAUTHENTICATED
    default_reason = "UNAUTHENTICATED"


class QuotaExceeded(Error):
    status = grpc.StatusCode.RESOURCE_EXHAUSTED
    default_reason = "QUOTA_EXCEEDED"


class Unavailable(Error):
    status = grpc.StatusCode.UNAVAILABLE
    default_reason = "UNAVAILABLE"
    transient = True


class DeadlineExceeded(Error):
    status = grpc.StatusCode.DEADLINE_EXCEEDED
    default_reason = "DEADLINE_EXCEEDED"
    transient = True


class Cancelled(Error):
    status = grpc.StatusCode.CANCELLED
    default_reason = "CANCELLED"


class Unimplemented(Error):
    status = grpc.StatusCode.UNIMPLEMENTED
    default_reason = "UNIMPLEMENTED"


class Internal(Error):
    status = grpc.StatusCode.INTERNAL
    default_reason = "INTERNAL"


def _clipped(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


_BY_STATUS: dict[grpc.StatusCode, type[Error]] = {
    kind.status: kind
    for kind in (
        NotFound,
        AlreadyExists,
        InvalidArgument,
        FailedPrecondition,
        Aborted,
        PermissionDenied,
        Unauthenticated,
        QuotaExceeded,
        Unavailable,
        DeadlineExceeded,
        Cancelled,
        Unimplemented,
        Internal,
    )
}
_BY_STATUS[grpc.StatusCode.OUT_OF_RANGE] = InvalidArgument
_BY_STATUS[grpc.StatusCode.DATA_LOSS] = Internal
_BY_STATUS[grpc.StatusCode.UNKNOWN] = Internal
_BY_CODE = {code.value[0]: code for code in grpc.StatusCode}


def of_status(status: grpc.StatusCode) -> type[Error]:
    """The class that stands for a gRPC status."""
    return _BY_STATUS.get(status, Internal)


def from_dict(fields: Mapping[str, Any]) -> Error:
    """The opposite of `Error.to_dict`."""
    status = grpc.StatusCode.__members__.get(fields.get("status", ""), grpc.StatusCode.INTERNAL)
    return of_status(status).of(fields.get("message", ""), fields.get("reason", ""), fields.get("facts", {}))


def from_status(status: status_pb2.Status) -> Error:
    """The opposite of `Error.to_status`; a status without our ErrorInfo gets its class's default reason."""
    kind = of_status(_BY_CODE.get(status.code, grpc.StatusCode.UNKNOWN))
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            return kind.of(status.message, info.reason, info.metadata)
    return kind(status.message)


def from_rpc(error: grpc.RpcError) -> Error:
    """What a failed call is, typed by its status."""
    if not isinstance(error, grpc.Call):
        return Internal(str(error))
    code = error.code()
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            return from_status(status_pb2.Status.FromString(value))
    found = of_status(code)(error.details() or "")
    if code is grpc.StatusCode.UNAVAILABLE:
        found.reason = "SERVICE_UNREACHABLE"
    return found


def typed(error: BaseException) -> Error:
    """Any exception as one of ours: what is not ours becomes Internal, without its internals in the
    message."""
    if isinstance(error, Error):
        return error
    if isinstance(error, grpc.RpcError):
        return from_rpc(error)
    return Internal("An unexpected error happened.", exception=type(error).__name__)
