"""A small world for tests of the operation engine: journeys that are booked, paid for and announced.

What is outside the database is a directory: a file per booking, payment and announcement of a journey, so
that processes that are killed share it with those that go on.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from protonova.services.runtime import errors, operations
from protonova.services.runtime.database import Database
from protonova.services.runtime.operations import Engine, Kind, Outcome, Restart, Run, Step
from tests.support.operations import LEASE_SECONDS, POLL_SECONDS

metadata = sa.MetaData()
tables = operations.tables(metadata)
journeys = sa.Table(
    "journeys",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    sa.Column("state", sa.String(32), nullable=False),
    # How many steps were applied; a step applied twice shows.
    sa.Column("applied", sa.Integer, nullable=False),
)


class Outside:
    """The directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)

    def put(self, what: str, subject: str) -> None:
        (self.path / f"{subject}.{what}").touch()

    def remove(self, what: str, subject: str) -> None:
        (self.path / f"{subject}.{what}").unlink(missing_ok=True)

    def of(self, subject: str) -> list[str]:
        return sorted(path.suffix[1:] for path in self.path.glob(f"{subject}.*"))

    def hold(self) -> None:
        """Hangs until the pipe "hold" is opened for writing and closed again."""
        (self.path / "hold").read_bytes()

    def sweep(self, subject: str) -> None:
        for path in self.path.glob(f"{subject}.*"):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()


class Effect(Step):
    """Puts a file, and takes it away again."""

    def __init__(self, name: str, outside: Outside, *, holds: bool = False) -> None:
        super().__init__(name, event=f"journey_{name}")
        self._outside = outside
        self._holds = holds

    def do(self, run: Run) -> Outcome:
        if self._holds and run.payload.get("held") and run.generation == 2:
            self._outside.hold()
        self._outside.put(self.name, run.subject)
        return Outcome(memory={self.name: run.fence.step}, apply=applied(run.subject, self.name))

    def undo(self, run: Run) -> None:
        self._outside.remove(self.name, run.subject)


class Travel(Kind):
    name = "travel"

    def __init__(self, outside: Outside) -> None:
        self.steps = [
            Step("plan", pure=True, do=lambda _run: Outcome(memory={"planned": True})),
            Effect("book", outside),
            Step("insure", needed=lambda run: bool(run.payload.get("insured")), do=lambda _run: None),
            Effect("pay", outside, holds=True),
            Step("stamp", pure=True, do=lambda run: Outcome(apply=applied(run.subject, "stamp"))),
            Effect("announce", outside),
        ]

    def finished(self, run: Run, connection: Connection) -> None:
        _set(connection, run.subject, "arrived")

    def failed(self, run: Run, error: errors.Error, connection: Connection) -> Restart | None:
        _set(connection, run.subject, "cancelled")
        return Restart({"detour": True}) if run.payload.get("rounds", 0) > run.round else None

    def preempted(self, run: Run, connection: Connection) -> None:
        _set(connection, run.subject, "interrupted")


class Forget(Kind):
    """Preempts a journey and leaves nothing of it."""

    name = "forget"

    def __init__(self, outside: Outside) -> None:
        self.steps = [Step("sweep", do=lambda run: outside.sweep(run.subject))]

    def finished(self, run: Run, connection: Connection) -> None:
        _set(connection, run.subject, "forgotten")


class Journeys:
    """The `Case` of journeys."""

    kind = "travel"

    def __init__(self, url: str, path: Path) -> None:
        self.url = url
        self.outside = Outside(path)
        self._subjects: dict[str, str] = {}
        db = Database(url)
        db.write(metadata.create_all)
        db.close()
        self.db = Database(url)

    def open(self, make: Callable[[str], Database]) -> Database:
        return make(self.url)

    def engine(self, db: Database, **options: float) -> Engine:
        kinds = [Travel(self.outside), Forget(self.outside)]
        return Engine(
            db,
            tables,
            kinds,
            owner="test",
            **{"lease_seconds": LEASE_SECONDS, "poll_seconds": POLL_SECONDS, **options},  # type: ignore[arg-type]
        )

    def begin(self, engine: Engine, subject: str = "", **payload: object) -> str:
        subject = subject or str(uuid.uuid4())

        def write(connection: Connection) -> str:
            if not connection.execute(sa.select(journeys.c.id).where(journeys.c.id == subject)).first():
                connection.execute(journeys.insert().values(id=subject, state="new", applied=0))
            return engine.create(connection, "travel", subject, payload, action="travel")

        operation_id = engine.db.write(write)
        self._subjects[operation_id] = subject
        engine.run(operation_id)
        return operation_id

    def leave(self, engine: Engine, subject: str, **payload: object) -> str:
        """An operation nobody holds: the next engine that looks takes it up."""

        def write(connection: Connection) -> str:
            connection.execute(journeys.insert().values(id=subject, state="new", applied=0))
            operation_id = engine.create(connection, "travel", subject, payload)
            engine.store.release_all(connection)
            return operation_id

        operation_id = engine.db.write(write)
        self._subjects[operation_id] = subject
        return operation_id

    def preempt(self, engine: Engine, operation_id: str) -> str:
        subject = self.subject(operation_id)

        def write(connection: Connection) -> str:
            _set(connection, subject, "forgetting")
            return engine.create(connection, "forget", subject, {}, preempt=True)

        sweeping = engine.db.write(write)
        engine.run(sweeping)
        return sweeping

    def subject(self, operation_id: str) -> str:
        return self._subjects[operation_id]

    def state(self, operation_id: str) -> tuple[str, int, list[str]]:
        subject = self.subject(operation_id)
        query = sa.select(journeys.c.state, journeys.c.applied).where(journeys.c.id == subject)
        row = self.db.read(lambda connection: connection.execute(query).one())
        return row.state, row.applied, self.outside.of(subject)

    def assert_done(self, operation_id: str) -> None:
        assert self.state(operation_id) == ("arrived", 4, ["announce", "book", "pay"])

    def assert_undone(self, operation_id: str) -> None:
        state, _applied, left = self.state(operation_id)
        assert (state, left) == ("cancelled", [])

    def assert_swept(self, operation_id: str) -> None:
        state, _applied, left = self.state(operation_id)
        assert (state, left) == ("forgotten", [])


def applied(subject: str, state: str) -> Callable[[Connection], None]:
    def apply(connection: Connection) -> None:
        connection.execute(
            journeys.update()
            .where(journeys.c.id == subject)
            .values(state=state, applied=journeys.c.applied + 1)
        )

    return apply


def _set(connection: Connection, subject: str, state: str) -> None:
    connection.execute(journeys.update().where(journeys.c.id == subject).values(state=state))
