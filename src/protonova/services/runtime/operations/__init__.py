"""Durable operations: how anything that takes more than one transaction is done, and undone.

See docs/operations.md for how to write a kind, and for what is guaranteed.
"""

from protonova.services.runtime.operations.engine import Engine
from protonova.services.runtime.operations.records import Event, Operation
from protonova.services.runtime.operations.run import Fence, Run
from protonova.services.runtime.operations.step import (
    Kind,
    LeaseLostError,
    Outcome,
    PreemptedError,
    Restart,
    Step,
)
from protonova.services.runtime.operations.tables import (
    DO,
    DONE,
    FAILED,
    PENDING,
    PREEMPTED,
    RUNNING,
    STUCK,
    UNDO,
    UNDOING,
    OperationTables,
    tables,
)

Preempted = PreemptedError
LeaseLost = LeaseLostError

__all__ = [
    "DO",
    "DONE",
    "FAILED",
    "PENDING",
    "PREEMPTED",
    "RUNNING",
    "STUCK",
    "UNDO",
    "UNDOING",
    "Engine",
    "Event",
    "Fence",
    "Kind",
    "LeaseLost",
    "LeaseLostError",
    "Operation",
    "OperationTables",
    "Outcome",
    "Preempted",
    "PreemptedError",
    "Restart",
    "Run",
    "Step",
    "tables",
]
