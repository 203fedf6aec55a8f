"""Executions and everything about them, in SQLite, shared by all processes of a data directory."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, NamedTuple, TypedDict

from packengine import datastore
from packengine.database import Database
from packengine.datastore import new_id, now
from packengine.execution import ABANDONED, COMPLETED, Execution, Parameters
from packengine.processes import is_alive, process_identity
from packengine.rule_records import RuleRecords

_COLUMNS = (
    "id, action, runner, status, parent, parameters, context, result,"
    " start_timestamp, end_timestamp, log"
)


def _execution(row: tuple[Any, ...]) -> Execution:
    return Execution(
        id=row[0],
        action=row[1],
        runner=row[2],
        status=row[3],
        parent=row[4],
        parameters=json.loads(row[5]),
        context=json.loads(row[6]),
        result=json.loads(row[7]) if row[7] is not None else None,
        start_timestamp=row[8],
        end_timestamp=row[9],
        log=json.loads(row[10]),
    )


class Wish(TypedDict, total=False):
    """What is asked of the process that runs an execution.

    `do` is always there: cancel, pause or report. With report comes `execution`, the id of the
    task's execution that has changed.
    """

    do: str
    execution: str


class Limit(NamedTuple):
    """How many executions may run at once.

    :ivar threshold: executions.
    :ivar shared: parameters that an execution must share to count.
    """

    threshold: int
    shared: Parameters


# A paused workflow, as the conductor makes and reads it.
WorkflowState = Dict[str, Any]


class Store:
    """What the engine keeps.

    :ivar path: file name of the database.
    :ivar keys: the datastore.
    :ivar rules: triggers, rules and what came of them.
    :ivar owner: identity of this process.

    :param data_dir: directory of the database, made when missing.
    :raises ValueError: when the database was made by another version of the engine.
    """

    def __init__(self, data_dir: str) -> None:
        self._database = Database(data_dir)
        self.path = self._database.path
        self.keys = datastore.Datastore(self._database)
        self.rules = RuleRecords(self._database)
        self.owner = process_identity(os.getpid())

    def close(self) -> None:
        self._database.close()

    def add_execution(self, execution: Execution) -> None:
        """Inserts a new execution, owned by this process."""
        execution.log.append({"status": execution.status, "timestamp": execution.start_timestamp})
        self._database.execute(
            f"INSERT INTO execution ({_COLUMNS}, owner) VALUES ({', '.join('?' * 12)})",
            (
                execution.id,
                execution.action,
                execution.runner,
                execution.status,
                execution.parent,
                json.dumps(execution.parameters),
                json.dumps(execution.context),
                None,
                execution.start_timestamp,
                None,
                json.dumps(execution.log),
                self.owner,
            ),
        )

    def set_status(self, execution: Execution, status: str, result: Any = None) -> bool:
        """Writes a new status, and the result when there is one, unless completed already.

        :returns: whether it was written; the execution object is brought up to date either way.
        """
        moment = now()
        log = [*execution.log, {"status": status, "timestamp": moment}]
        end = moment if status in COMPLETED else None
        cursor = self._database.execute(
            "UPDATE execution SET status = ?, result = COALESCE(?, result), end_timestamp = ?,"
            " log = ?, context = ? WHERE id = ? AND status NOT IN (?, ?, ?, ?, ?)",
            (
                status,
                None if result is None else json.dumps(result),
                end,
                json.dumps(log),
                json.dumps(execution.context),
                execution.id,
                *COMPLETED,
            ),
        )
        if cursor.rowcount == 0:
            execution.__dict__.update(self.execution(execution.id).__dict__)
            return False
        if end:
            self._database.execute("DELETE FROM wish WHERE execution = ?", (execution.id,))
        execution.status, execution.end_timestamp, execution.log = status, end, log
        if result is not None:
            execution.result = result
        return True

    def admit(self, execution: Execution, limits: list[Limit]) -> bool:
        """Makes an execution run if fewer of its action do than every limit allows.

        Those that have to wait go first in, first out; counting and admitting is one transaction
        for all processes.

        :returns: whether it now runs; completed executions are let through, to be seen as such.
        """
        with self._database.lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                admitted = self._is_admitted(execution, limits)
                if admitted:
                    self._database.execute(
                        "DELETE FROM policy_queue WHERE execution = ?", (execution.id,)
                    )
                    self.set_status(execution, "running")
                else:
                    self._database.execute(
                        "INSERT OR IGNORE INTO policy_queue VALUES (?, ?)",
                        (execution.id, execution.action),
                    )
            finally:
                self._database.execute("COMMIT")
        return admitted

    def _is_admitted(self, execution: Execution, limits: list[Limit]) -> bool:
        running = self._parameters_of(
            "SELECT id, parameters FROM execution WHERE action = ?"
            " AND status IN ('scheduled', 'running')",
            execution,
        )
        ahead = self._parameters_of(
            "SELECT e.id, e.parameters FROM policy_queue q JOIN execution e ON e.id = q.execution"
            " WHERE q.action = ? AND e.status = 'delayed' AND q.rowid < COALESCE("
            " (SELECT rowid FROM policy_queue WHERE execution = ?), 9223372036854775807)",
            execution,
            execution.id,
        )
        return all(
            _count(running, limit.shared) + _count(ahead, limit.shared) < limit.threshold
            for limit in limits
        )

    def _parameters_of(self, query: str, execution: Execution, *more: str) -> list[Parameters]:
        rows = self._database.execute(query, (execution.action, *more)).fetchall()
        return [
            json.loads(parameters) for identifier, parameters in rows if identifier != execution.id
        ]

    def leave_queue(self, identifier: str) -> None:
        """Forgets that an execution waits for its concurrency policy."""
        self._database.execute("DELETE FROM policy_queue WHERE execution = ?", (identifier,))

    def repeat(self, execution: Execution) -> Execution:
        """Adds a new execution of the same action with the same parameters; returns it."""
        again = Execution(
            id=new_id(),
            action=execution.action,
            runner=execution.runner,
            status="requested",
            parameters=execution.parameters,
            context=execution.context,
            start_timestamp=now(),
        )
        self.add_execution(again)
        return again

    def adopt(self, execution: Execution) -> None:
        """Makes this process the owner of an execution, to carry it on."""
        self._database.execute(
            "UPDATE execution SET owner = ? WHERE id = ?", (self.owner, execution.id)
        )

    def hand_over(self, execution: Execution, pid: int) -> None:
        """Makes a process that was just started the owner of an execution."""
        self._database.execute(
            "UPDATE execution SET owner = ? WHERE id = ?", (process_identity(pid), execution.id)
        )

    def execution(self, identifier: str) -> Execution:
        """Returns an execution.

        :raises LookupError: when there is none of that id.
        """
        row = self._database.execute(
            f"SELECT {_COLUMNS} FROM execution WHERE id = ?", (identifier,)
        ).fetchone()
        if row is None:
            raise LookupError(f'Execution with id "{identifier}" not found.')
        return _execution(row)

    def executions(
        self,
        action: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        top_level: bool = True,
    ) -> list[Execution]:
        """Returns the newest executions first.

        :param limit: how many, None for all.
        :param top_level: leave out the tasks of workflows.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if top_level:
            conditions.append("parent IS NULL")
        for column, value in (("action", action), ("status", status)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM execution{where}"
            " ORDER BY start_timestamp DESC, rowid DESC LIMIT ?",
            [*values, -1 if limit is None else limit],
        ).fetchall()
        return [_execution(row) for row in rows]

    def children(self, identifier: str) -> list[Execution]:
        """Returns the executions of a workflow's tasks, oldest first."""
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM execution WHERE parent = ? ORDER BY start_timestamp, rowid",
            (identifier,),
        ).fetchall()
        return [_execution(row) for row in rows]

    def wish(self, identifier: str, wish: Wish) -> None:
        """Asks the process that runs an execution to do something, such as to cancel it."""
        self._database.execute("INSERT INTO wish VALUES (?, ?)", (identifier, json.dumps(wish)))

    def owner_of(self, identifier: str) -> str | None:
        """Returns the identity of the process that runs an execution."""
        row = self._database.execute(
            "SELECT owner FROM execution WHERE id = ?", (identifier,)
        ).fetchone()
        return row[0] if row else None

    def take_wishes(self, identifiers: set[str]) -> list[tuple[str, Wish]]:
        """Returns (execution id, wish) of what is asked of these executions, and forgets it."""
        with self._database.lock:
            rows = self._database.execute(
                "SELECT rowid, execution, wish FROM wish ORDER BY rowid"
            ).fetchall()
            taken = [row for row in rows if row[1] in identifiers]
            for row in taken:
                self._database.execute("DELETE FROM wish WHERE rowid = ?", (row[0],))
        return [(row[1], json.loads(row[2])) for row in taken]

    def change_count(self) -> int:
        """Returns a number that changes when another connection has written."""
        return self._database.execute("PRAGMA data_version").fetchone()[0]

    def abandon_orphans(self) -> None:
        """Marks what processes left behind when they died.

        Paused workflows and pending inquiries need no process and are left alone.
        """
        rows = self._database.execute(
            f"SELECT {_COLUMNS}, owner FROM execution WHERE status NOT IN"
            " ('succeeded', 'failed', 'timeout', 'canceled', 'abandoned')"
            " AND status NOT IN ('paused', 'pending')"
        ).fetchall()
        alive: dict[str | None, bool] = {}
        for row in rows:
            owner = row[-1]
            if owner not in alive:
                alive[owner] = is_alive(owner)
            if not alive[owner]:
                execution = _execution(row)
                self.set_status(execution, ABANDONED, execution.result)

    def save_workflow_state(self, identifier: str, state: WorkflowState) -> None:
        """Keeps a paused workflow's state, to go on from."""
        self._database.execute(
            "INSERT OR REPLACE INTO workflow_state VALUES (?, ?)", (identifier, json.dumps(state))
        )

    def take_workflow_state(self, identifier: str) -> WorkflowState | None:
        """Returns a paused workflow's state and forgets it; None if there is none."""
        with self._database.lock:
            row = self._database.execute(
                "SELECT state FROM workflow_state WHERE execution = ?", (identifier,)
            ).fetchone()
            self._database.execute("DELETE FROM workflow_state WHERE execution = ?", (identifier,))
        return json.loads(row[0]) if row else None


def _count(executions: list[Parameters], shared: Parameters) -> int:
    return sum(
        all(parameters.get(name) == value for name, value in shared.items())
        for parameters in executions
    )
