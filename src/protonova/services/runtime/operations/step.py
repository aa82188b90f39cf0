"""How a kind of operation is written: an ordered list of steps, and what to do at its end.

A step looks first, then acts; both `do` and `undo` may be run again after they have succeeded, because the
replica that ran them may have died before it could say so. Neither writes to the owner's database: what is to
change there they hand back as `Outcome.apply`, which commits together with the operation's advance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy.engine import Connection

from protonova.services.runtime import errors

if TYPE_CHECKING:
    from protonova.services.runtime.operations.engine import Engine
    from protonova.services.runtime.operations.run import Run


@dataclass(slots=True)
class Outcome:
    """What a step yielded: `memory` is merged into the operation's, for later steps and for undoing; `apply`
    changes the owner's rows in the transaction that advances the operation; `host` and `details` are shown in
    the step's event."""

    memory: dict[str, Any] = field(default_factory=dict)
    apply: Callable[[Connection], None] | None = None
    host: str = ""
    details: str = ""


class Step:
    """One step. Subclass it, or give the functions: `Step("networking", do=plug, undo=unplug)`.

    `event` is the name users see it under, None = not shown. `timeout` bounds trying to do it, in seconds,
    and one try of undoing it; `undo_timeout` bounds all tries of undoing. `pure` says that `do` acts on
    nothing outside: its outcome then commits together with that of the step before it.
    """

    name: str = ""
    event: str | None = None
    timeout: float = 60.0
    undo_timeout: float = 900.0
    pure: bool = False

    def __init__(
        self,
        name: str | None = None,
        *,
        do: Callable[[Run], Outcome | None] | None = None,
        undo: Callable[[Run], Outcome | None] | None = None,
        needed: Callable[[Run], bool] | None = None,
        **attributes: Any,
    ) -> None:
        given = {"name": name, "do": do, "undo": undo, "needed": needed, **attributes}
        for attribute, value in given.items():
            if value is not None:
                if not hasattr(type(self), attribute):
                    raise TypeError(f"A step has no {attribute}.")
                setattr(self, attribute, value)
        if not self.name:
            raise TypeError("A step needs a name.")

    def needed(self, run: Run) -> bool:
        """False = passed over, with no commit. Decides by payload and memory only: what the step before it
        applies is not committed yet when it is asked."""
        return True

    def do(self, run: Run) -> Outcome | None:
        """The effect outside the database. Raises `errors.Error`: a transient one means another try, any
        other turns the operation back."""
        raise NotImplementedError

    def undo(self, run: Run) -> Outcome | None:
        """Takes the effect back, whether it happened wholly, partly or not at all."""

    @property
    def undoes(self) -> bool:
        """Whether there is anything to undo."""
        return "undo" in vars(self) or type(self).undo is not Step.undo


@dataclass(frozen=True)
class Restart:
    """An operation that has been undone goes again from its first step, with this memory in place of the
    old."""

    memory: dict[str, Any] = field(default_factory=dict)


class Kind:
    """A kind of operation. The three ends commit together with the operation's last change of state."""

    name: str = ""
    steps: Sequence[Step] = ()
    # The engine that runs it, from the engine's making on: by it an end can begin what follows, in its transaction.
    engine: Engine
    # When it turns back if it has not finished by then.
    deadline_seconds: float = 3600.0

    def finished(self, run: Run, connection: Connection) -> None:
        """All steps are done."""

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        """Everything is undone; `error` is what it was undone for."""

    def preempted(self, run: Run, connection: Connection) -> None:
        """It gave way, with nothing undone, to an operation that cleans up after it."""


class PreemptedError(Exception):
    """Raised by `Run.check`: the operation is to give way."""


class LeaseLostError(Exception):
    """Another replica may have taken the operation over: nothing more must be done for it here."""
