"""The SQL of the engine: every statement on the operations' rows, each a compare-and-set where it changes
one.

Statements are built once; only values differ from call to call. A change names the state it expects
(generation, step, direction, round), so that it happens once even when it is sent again after a commit nobody
answered for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from protonova.services.runtime import context
from protonova.services.runtime.database import now
from protonova.services.runtime.operations.run import Run
from protonova.services.runtime.operations.step import LeaseLostError, PreemptedError
from protonova.services.runtime.operations.tables import DO, PENDING, STUCK, OperationTables

_bind = sa.bindparam


class Store:
    """For one replica: `owner` is its name, which no other ever had."""

    def __init__(
        self, tables: OperationTables, owner: str, kinds: Iterable[str], lease_seconds: float
    ) -> None:
        self.tables = tables
        self.owner = owner
        self._lease = int(lease_seconds * 1e6)
        o, e = tables.operations, tables.events
        lease_end = now() + sa.literal(self._lease)
        self._row = sa.select(o, now().label("now_at"))
        self._by_id = self._row.where(o.c.id == _bind("id"))
        unfinished = o.c.finished_at.is_(None)
        self._of_subject = (
            self._row.where(o.c.subject == _bind("subject"), unfinished).order_by(o.c.sequence).limit(100)
        )
        self._first_of_subject = (
            self._row.where(o.c.subject == _bind("subject"), unfinished).order_by(o.c.sequence).limit(1)
        )
        self._any_of_subject = sa.select(o.c.id).where(o.c.subject == _bind("subject"), unfinished).limit(1)
        self._preempt = (
            o.update()
            .where(o.c.subject == _bind("b_subject"), unfinished, o.c.preempted.is_(False))
            .values(preempted=True)
        )
        self._insert = o.insert().values(
            state=PENDING,
            direction=DO,
            round=0,
            attempt=1,
            generation=1,
            preempted=False,
            memory={},
            lease_until=now() + _bind("b_lease", type_=sa.BigInteger),
            not_before=now() + _bind("b_delay", type_=sa.BigInteger),
            deadline_at=now() + _bind("b_deadline", type_=sa.BigInteger),
            step_started_at=now(),
            created_at=now(),
            updated_at=now(),
        )
        mine = (
            o.c.id == _bind("b_id"),
            o.c.generation == _bind("b_generation"),
            o.c.step == _bind("b_step"),
            o.c.direction == _bind("b_direction"),
            o.c.round == _bind("b_round"),
            unfinished,
        )
        self._advance = (
            o.update()
            .where(*mine, o.c.preempted.is_(False))
            .values(attempt=1, lease_until=lease_end, step_started_at=now(), updated_at=now())
        )
        self._end = (
            o.update()
            .where(*mine, o.c.preempted.is_(False))
            .values(owner="", lease_until=0, updated_at=now(), finished_at=now())
        )
        self._give_way = (
            o.update()
            .where(o.c.id == _bind("b_id"), o.c.generation == _bind("b_generation"), unfinished)
            .values(owner="", lease_until=0, updated_at=now(), finished_at=now())
        )
        self._again = (
            o.update()
            .where(o.c.id == _bind("b_id"), o.c.generation == _bind("b_generation"))
            .values(
                owner=owner,
                lease_until=lease_end,
                attempt=1,
                step_started_at=now(),
                updated_at=now(),
                finished_at=None,
            )
        )
        self._park = o.update().where(*mine).values(owner="", lease_until=0, state=STUCK, updated_at=now())
        self._event = e.insert().values(
            started_at=now() - _bind("b_elapsed", type_=sa.BigInteger), finished_at=now()
        )
        known = o.c.kind.in_(list(kinds))
        free = sa.or_(o.c.owner == "", o.c.lease_until < now())
        self._claim = (
            o.update()
            .where(o.c.id == _bind("b_id"), o.c.generation == _bind("b_generation"), unfinished)
            .where(sa.or_(free, o.c.owner == owner))
            .values(
                owner=owner,
                lease_until=lease_end,
                generation=o.c.generation + 1,
                attempt=o.c.attempt + 1,
                updated_at=now(),
            )
        )
        self._renew_all = o.update().where(o.c.owner == owner, unfinished).values(lease_until=lease_end)
        self._renew = (
            o.update()
            .where(o.c.id == _bind("b_id"), o.c.generation == _bind("b_generation"), unfinished)
            .where(o.c.owner == owner)
            .values(lease_until=lease_end)
        )
        self._held = sa.select(o.c.id, o.c.generation, o.c.preempted).where(o.c.owner == owner, unfinished)
        earlier = o.alias()
        first_in_line = ~sa.exists().where(
            earlier.c.subject == o.c.subject,
            earlier.c.finished_at.is_(None),
            earlier.c.sequence < o.c.sequence,
        )
        self._orphans = (
            sa.select(o.c.id)
            .where(unfinished, known, free, o.c.not_before <= now())
            .where(sa.or_(o.c.state != STUCK, o.c.preempted.is_(True)), first_in_line)
            .order_by(o.c.sequence)
            .limit(200)
        )
        self._release_all = o.update().where(o.c.owner == owner, unfinished).values(owner="", lease_until=0)
        self._release = (
            o.update()
            .where(o.c.id == _bind("b_id"), o.c.generation == _bind("b_generation"), unfinished)
            .where(o.c.owner == owner)
            .values(owner="", lease_until=0)
        )

    # ---- creating ------------------------------------------------------------------------------------------

    def preempt(self, connection: Connection, subject: str) -> None:
        connection.execute(self._preempt, {"b_subject": subject})

    def busy(self, connection: Connection, subject: str) -> bool:
        """Whether anything unfinished is there that a new operation has to wait for."""
        return connection.execute(self._any_of_subject, {"subject": subject}).first() is not None

    def insert(
        self,
        connection: Connection,
        values: Mapping[str, Any],
        ctx: context.RequestContext,
        *,
        leased: bool,
        delay_seconds: float,
        deadline_seconds: float,
    ) -> int:
        """Returns the sequence."""
        result = connection.execute(
            self._insert,
            {
                **values,
                "owner": self.owner if leased else "",
                "context": ctx.to_dict(),
                "project_id": ctx.project_id,
                "user_id": ctx.user_id,
                "request_id": ctx.request_id,
                "b_lease": self._lease if leased else 0,
                "b_delay": int(delay_seconds * 1e6),
                "b_deadline": int(deadline_seconds * 1e6),
            },
        )
        key = result.inserted_primary_key
        return int(key[0]) if key is not None else 0

    # ---- going on ------------------------------------------------------------------------------------------

    def advance(
        self, connection: Connection, run: Run, step: str, direction: str, state: str, error: Any = None
    ) -> bool:
        """False when it had been advanced so already, by a commit nobody answered for. Raises PreemptedError
        or LeaseLostError when it is not this replica's to advance."""
        wanted = {
            "step": step,
            "direction": direction,
            "state": state,
            "round": run.round,
            "memory": run.memory,
            "error": error,
        }
        if connection.execute(self._advance, {**wanted, **_expected(run)}).rowcount == 1:
            return True
        return self._judge(connection, run, {"step": step, "direction": direction, "round": run.round})

    def end(self, connection: Connection, run: Run, state: str, error: Any = None) -> bool:
        """False when it had ended so already, by a commit nobody answered for."""
        wanted = {"state": state, "memory": run.memory, "error": error}
        if connection.execute(self._end, {**wanted, **_expected(run)}).rowcount == 1:
            return True
        return self._judge(connection, run, {"state": state})

    def give_way(self, connection: Connection, run: Run, state: str) -> bool:
        wanted = {"state": state, "memory": run.memory}
        mine = {"b_id": run.id, "b_generation": run.generation}
        if connection.execute(self._give_way, {**wanted, **mine}).rowcount == 1:
            return True
        return self._judge(connection, run, {"state": state})

    def again(
        self, connection: Connection, run: Run, step: str, memory: Mapping[str, Any], state: str
    ) -> None:
        """Takes an end back, in the same transaction, for another round."""
        values = {"step": step, "direction": DO, "state": state, "round": run.round + 1}
        mine = {"b_id": run.id, "b_generation": run.generation}
        connection.execute(self._again, {**values, "memory": dict(memory), "error": None, **mine})

    def park(self, connection: Connection, run: Run, error: Any) -> None:
        values = {"error": error, "memory": run.memory}
        if connection.execute(self._park, {**values, **_expected(run)}).rowcount != 1:
            self._judge(connection, run, {"state": STUCK})

    def event(
        self,
        connection: Connection,
        run: Run,
        *,
        step: str,
        event: str,
        host: str,
        elapsed: float,
        result: str,
        details: str,
    ) -> None:
        connection.execute(
            self._event,
            {
                "operation_id": run.id,
                "step": step,
                "event": event,
                "direction": run.direction,
                "host": host,
                "result": result,
                "details": details,
                "b_elapsed": int(elapsed * 1e6),
            },
        )

    def _judge(self, connection: Connection, run: Run, wanted: Mapping[str, Any]) -> bool:
        """Why a change found nothing to change. Returns False when the change is there already."""
        row = self.load(connection, run.id)
        if row is None or row.generation != run.generation:
            raise LeaseLostError
        if all(getattr(row, name) == value for name, value in wanted.items()):
            return False
        if row.finished_at is None and row.preempted:
            raise PreemptedError
        raise LeaseLostError

    # ---- leases --------------------------------------------------------------------------------------------

    def load(self, connection: Connection, operation_id: str) -> Row[Any] | None:
        return connection.execute(self._by_id, {"id": operation_id}).first()

    def line(self, connection: Connection, subject: str) -> Sequence[Row[Any]]:
        """The unfinished operations of a subject, in their order."""
        return connection.execute(self._of_subject, {"subject": subject}).all()

    def first(self, connection: Connection, subject: str) -> Row[Any] | None:
        """The head of that line."""
        return connection.execute(self._first_of_subject, {"subject": subject}).first()

    def claim(self, connection: Connection, row: Any) -> Row[Any] | None:
        """Takes over what nobody holds (or this replica itself): the row as it is then, or None."""
        mine = {"b_id": row.id, "b_generation": row.generation}
        if connection.execute(self._claim, mine).rowcount != 1:
            return None
        return self.load(connection, row.id)

    def renew_all(self, connection: Connection) -> None:
        connection.execute(self._renew_all)

    def renew(self, connection: Connection, run: Run) -> bool:
        mine = {"b_id": run.id, "b_generation": run.generation}
        return connection.execute(self._renew, mine).rowcount == 1

    def held(self, connection: Connection) -> Sequence[Any]:
        """(id, generation, preempted) of all that is leased to this replica."""
        return connection.execute(self._held).all()

    def orphans(self, connection: Connection) -> Sequence[str]:
        """Ids of what anyone may take over, first in line for its subject and due."""
        return connection.execute(self._orphans).scalars().all()

    def release(self, connection: Connection, run: Run) -> None:
        connection.execute(self._release, {"b_id": run.id, "b_generation": run.generation})

    def release_all(self, connection: Connection) -> None:
        connection.execute(self._release_all)


def _expected(run: Run) -> dict[str, Any]:
    return {
        "b_id": run.id,
        "b_generation": run.generation,
        "b_step": run.committed_step,
        "b_direction": run.direction,
        "b_round": run.round,
    }
