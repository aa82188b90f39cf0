"""What callers are told who wait for the outcome of an operation."""

from __future__ import annotations

from protonova.services.runtime import errors
from protonova.services.runtime.operations import FAILED
from protonova.services.runtime.operations.records import Operation


def raise_failure(operation: Operation) -> None:
    """Raises the error an operation was turned back for; nothing while it goes on, or when it has gone well."""
    if operation.state == FAILED:
        raise operation.error or errors.Internal("The operation failed.")
