"""Executions and everything about them, in SQLite, shared by all processes of a data directory."""

from __future__ import annotations

import datetime
import json
import os
import threading
from dataclasses import dataclass, field
from typing import Any

from packengine import datastore
from packengine.datastore import new_id, now

SUCCEEDED = "succeeded"
FAILED = "failed"
TIMEOUT = "timeout"
CANCELED = "canceled"
ABANDONED = "abandoned"
PAUSED = "paused"
PENDING = "pending"
COMPLETED = (SUCCEEDED, FAILED, TIMEOUT, CANCELED, ABANDONED)

# Of the tables below; a database of another version is not used.
_VERSION = 1

# The user rules run as, and everybody who does not say who they are.
SYSTEM_USER = "stanley"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS execution (
    id TEXT PRIMARY KEY,
    action TEXT NOT NULL,
    runner TEXT NOT NULL,
    status TEXT NOT NULL,
    parent TEXT,
    parameters TEXT NOT NULL,
    context TEXT NOT NULL,
    result TEXT,
    start_timestamp TEXT NOT NULL,
    end_timestamp TEXT,
    log TEXT NOT NULL,
    owner TEXT
);
CREATE INDEX IF NOT EXISTS execution_parent ON execution (parent);
CREATE INDEX IF NOT EXISTS execution_action ON execution (action, status);
CREATE INDEX IF NOT EXISTS execution_start ON execution (start_timestamp);
CREATE INDEX IF NOT EXISTS execution_unfinished ON execution (owner)
    WHERE status NOT IN ('succeeded', 'failed', 'timeout', 'canceled', 'abandoned');
CREATE TABLE IF NOT EXISTS wish (
    execution TEXT NOT NULL,
    wish TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS policy_queue (
    execution TEXT PRIMARY KEY,
    action TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS workflow_state (
    execution TEXT PRIMARY KEY,
    state TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS rule_state (
    ref TEXT PRIMARY KEY,
    enabled INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS rule_enforcement (
    id TEXT PRIMARY KEY,
    rule TEXT NOT NULL,
    trigger_instance TEXT NOT NULL,
    execution TEXT,
    failure_reason TEXT,
    enforced_at TEXT NOT NULL
);
"""


def seconds_between(start, end):
    """Returns the seconds between two times of :func:`now`; an end of None is the present."""
    pattern = "%Y-%m-%dT%H:%M:%S.%fZ"
    begin = datetime.datetime.strptime(start, pattern)
    finish = datetime.datetime.strptime(end or now(), pattern)
    return (finish - begin).total_seconds()


@dataclass
class Execution:
    """One run of an action.

    :ivar parameters: what was passed, rendered; secrets in the clear (``Engine.masked`` hides them).
    :ivar result: shape depends on the runner; None until there is one.
    :ivar context: user, pack, parent, orquesta, trace_context and so on, as in StackStorm.
    :ivar start_timestamp: ISO 8601, UTC.
    :ivar end_timestamp: None while it runs.
    :ivar log: list of {"status", "timestamp"}.
    """

    id: str
    action: str
    runner: str
    status: str
    parameters: dict[str, Any]
    context: dict[str, Any]
    start_timestamp: str
    parent: str | None = None
    result: Any = None
    end_timestamp: str | None = None
    log: list[dict] = field(default_factory=list)

    @property
    def user(self):
        return self.context.get("user")

    @property
    def task_name(self):
        """Name of the workflow task this execution is for, None for others."""
        return (self.context.get("orquesta") or {}).get("task_name")

    @property
    def is_completed(self):
        return self.status in COMPLETED

    @property
    def elapsed_seconds(self):
        return seconds_between(self.start_timestamp, self.end_timestamp)


_COLUMNS = (
    "id, action, runner, status, parent, parameters, context, result,"
    " start_timestamp, end_timestamp, log"
)


def _execution(row):
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


@dataclass
class TriggerInstance:
    """One event: what the rules of its trigger are tried on.

    :ivar parameters: tell triggers of one type apart, such as the URL of a webhook.
    :ivar status: pending, processed, or rejected when the payload did not fit its schema.
    """

    id: str
    trigger: str
    parameters: dict[str, Any]
    payload: Any
    trace_tag: str | None
    occurrence_time: str
    status: str


_INSTANCE_COLUMNS = "id, trigger, parameters, payload, trace_tag, occurrence_time, status"


def _trigger_instance(row):
    return TriggerInstance(row[0], row[1], json.loads(row[2]), json.loads(row[3]), *row[4:])


class Store:
    """The database of one data directory; one connection, used by one thread at a time.

    :param data_dir: directory, made with mode 0700 when missing, since it holds secrets.
    """

    def __init__(self, data_dir):
        os.makedirs(data_dir, mode=0o700, exist_ok=True)
        self.path = os.path.join(data_dir, "engine.sqlite")
        if not os.path.exists(self.path):
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._lock = threading.RLock()
        self._connection = _LockedConnection(datastore.connect(self.path), self._lock)
        self._create_tables()
        self.keys = datastore.Datastore(self._connection)
        self.owner = process_identity(os.getpid())

    def _create_tables(self):
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise ValueError(
                f"{self.path} was made by another version of the engine; remove it or use another data "
                "directory"
            )
        for statement in (datastore.SCHEMA + _SCHEMA).split(";"):
            self._connection.execute(statement)
        self._connection.execute("PRAGMA user_version = %d" % _VERSION)

    def close(self):
        self._connection.close()

    def add_execution(self, execution):
        """Inserts a new execution, owned by this process."""
        execution.log.append({"status": execution.status, "timestamp": execution.start_timestamp})
        self._connection.execute(
            f"INSERT INTO execution ({_COLUMNS}, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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

    def set_status(self, execution, status, result=None):
        """Writes a new status, and the result when there is one, unless completed already.

        Returns whether it was written; the execution object is brought up to date either way.
        """
        moment = now()
        log = [*execution.log, {"status": status, "timestamp": moment}]
        end = moment if status in COMPLETED else None
        cursor = self._connection.execute(
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
            self._connection.execute("DELETE FROM wish WHERE execution = ?", (execution.id,))
        execution.status, execution.end_timestamp, execution.log = status, end, log
        if result is not None:
            execution.result = result
        return True

    def admit(self, execution, limits):
        """Makes an execution run if fewer of its action do than every limit allows.

        Those that have to wait go first in, first out; counting and admitting is one transaction
        for all processes.

        :param limits: (threshold, parameters an execution must share to count) pairs.
        :returns: whether it now runs; completed executions are let through, to be seen as such.
        """
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                admitted = self._is_admitted(execution, limits)
                if admitted:
                    self._connection.execute(
                        "DELETE FROM policy_queue WHERE execution = ?", (execution.id,)
                    )
                    self.set_status(execution, "running")
                else:
                    self._connection.execute(
                        "INSERT OR IGNORE INTO policy_queue VALUES (?, ?)",
                        (execution.id, execution.action),
                    )
            finally:
                self._connection.execute("COMMIT")
        return admitted

    def _is_admitted(self, execution, limits):
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
            _count(running, shared) + _count(ahead, shared) < threshold
            for threshold, shared in limits
        )

    def _parameters_of(self, query, execution, *more):
        rows = self._connection.execute(query, (execution.action, *more)).fetchall()
        return [
            json.loads(parameters) for identifier, parameters in rows if identifier != execution.id
        ]

    def leave_queue(self, identifier):
        """Forgets that an execution waits for its concurrency policy."""
        self._connection.execute("DELETE FROM policy_queue WHERE execution = ?", (identifier,))

    def repeat(self, execution):
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

    def adopt(self, execution):
        """Makes this process the owner of an execution, to carry it on."""
        self._connection.execute(
            "UPDATE execution SET owner = ? WHERE id = ?", (self.owner, execution.id)
        )

    def hand_over(self, execution, pid):
        """Makes a process that was just started the owner of an execution."""
        self._connection.execute(
            "UPDATE execution SET owner = ? WHERE id = ?", (process_identity(pid), execution.id)
        )

    def execution(self, identifier):
        """Returns an execution. Raises LookupError."""
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM execution WHERE id = ?", (identifier,)
        ).fetchone()
        if row is None:
            raise LookupError(f'Execution with id "{identifier}" not found.')
        return _execution(row)

    def executions(self, action=None, status=None, limit=None, top_level=True):
        """Returns the newest executions first.

        :param top_level: leave out the tasks of workflows.
        """
        conditions, values = [], []
        if top_level:
            conditions.append("parent IS NULL")
        for column, value in (("action", action), ("status", status)):
            if value is not None:
                conditions.append(f"{column} = ?")
                values.append(value)
        where = " WHERE " + " AND ".join(conditions) if conditions else ""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM execution{where} ORDER BY start_timestamp DESC, rowid DESC LIMIT ?",
            [*values, -1 if limit is None else limit],
        ).fetchall()
        return [_execution(row) for row in rows]

    def children(self, identifier):
        """Returns the executions of a workflow's tasks, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM execution WHERE parent = ? ORDER BY start_timestamp, rowid",
            (identifier,),
        ).fetchall()
        return [_execution(row) for row in rows]

    def wish(self, identifier, wish):
        """Asks the process that runs an execution to do something, such as to cancel it."""
        self._connection.execute("INSERT INTO wish VALUES (?, ?)", (identifier, json.dumps(wish)))

    def owner_of(self, identifier):
        """Returns the identity of the process that runs an execution."""
        row = self._connection.execute(
            "SELECT owner FROM execution WHERE id = ?", (identifier,)
        ).fetchone()
        return row[0] if row else None

    def take_wishes(self, identifiers):
        """Returns (execution id, wish) of what is asked of these executions, and forgets it."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT rowid, execution, wish FROM wish ORDER BY rowid"
            ).fetchall()
            taken = [row for row in rows if row[1] in identifiers]
            for row in taken:
                self._connection.execute("DELETE FROM wish WHERE rowid = ?", (row[0],))
        return [(row[1], json.loads(row[2])) for row in taken]

    def change_count(self):
        """Returns a number that changes when another connection has written."""
        return self._connection.execute("PRAGMA data_version").fetchone()[0]

    def abandon_orphans(self):
        """Marks what processes left behind when they died; returns those executions.

        Paused workflows and pending inquiries need no process and are left alone.
        """
        abandoned = []
        rows = self._connection.execute(
            f"SELECT {_COLUMNS}, owner FROM execution WHERE status NOT IN"
            " ('succeeded', 'failed', 'timeout', 'canceled', 'abandoned')"
            " AND status NOT IN ('paused', 'pending')"
        ).fetchall()
        alive = {}
        for row in rows:
            owner = row[-1]
            if owner not in alive:
                alive[owner] = is_alive(owner)
            if not alive[owner]:
                execution = _execution(row)
                if self.set_status(execution, ABANDONED, execution.result):
                    abandoned.append(execution)
        return abandoned

    def save_workflow_state(self, identifier, state):
        """Keeps a paused workflow's state, to go on from."""
        self._connection.execute(
            "INSERT OR REPLACE INTO workflow_state VALUES (?, ?)", (identifier, json.dumps(state))
        )

    def take_workflow_state(self, identifier):
        """Returns a paused workflow's state and forgets it; None if there is none."""
        with self._lock:
            row = self._connection.execute(
                "SELECT state FROM workflow_state WHERE execution = ?", (identifier,)
            ).fetchone()
            self._connection.execute(
                "DELETE FROM workflow_state WHERE execution = ?", (identifier,)
            )
        return json.loads(row[0]) if row else None

    def rule_states(self):
        """Returns ref -> enabled for rules somebody enabled or disabled."""
        rows = self._connection.execute("SELECT ref, enabled FROM rule_state").fetchall()
        return {ref: bool(enabled) for ref, enabled in rows}

    def set_rule_state(self, ref, enabled):
        self._connection.execute(
            "INSERT OR REPLACE INTO rule_state VALUES (?, ?)", (ref, int(enabled))
        )

    def add_trigger_instance(self, trigger, payload, trace_tag=None, parameters=None):
        """Leaves a trigger instance for the rules; returns its id."""
        return datastore.enqueue_trigger(self._connection, trigger, payload, trace_tag, parameters)

    def take_trigger_instances(self):
        """Returns the pending :class:`TriggerInstance` s, oldest first, each only once."""
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {_INSTANCE_COLUMNS} FROM trigger_instance WHERE status = 'pending' ORDER BY rowid"
            ).fetchall()
            taken = []
            for row in rows:
                cursor = self._connection.execute(
                    "UPDATE trigger_instance SET status = 'processed'"
                    " WHERE id = ? AND status = 'pending'",
                    (row[0],),
                )
                if cursor.rowcount:
                    taken.append(_trigger_instance(row))
        return taken

    def set_trigger_instance_status(self, identifier, status):
        self._connection.execute(
            "UPDATE trigger_instance SET status = ? WHERE id = ?", (status, identifier)
        )

    def trigger_instances(self, limit=50):
        """Returns the newest trigger instances first."""
        rows = self._connection.execute(
            f"SELECT {_INSTANCE_COLUMNS} FROM trigger_instance ORDER BY rowid DESC LIMIT ?",
            (limit,),
        ).fetchall()
        return [_trigger_instance(row) for row in rows]

    def add_enforcement(self, rule, trigger_instance, execution=None, failure_reason=None):
        """Records that a rule started an execution, or why it could not."""
        self._connection.execute(
            "INSERT INTO rule_enforcement VALUES (?, ?, ?, ?, ?, ?)",
            (new_id(), rule, trigger_instance, execution, failure_reason, now()),
        )

    def enforcements(self, limit=50):
        """Returns the newest rule enforcements first, as dicts."""
        rows = self._connection.execute(
            "SELECT id, rule, trigger_instance, execution, failure_reason, enforced_at"
            " FROM rule_enforcement ORDER BY rowid DESC LIMIT ?",
            (limit,),
        ).fetchall()
        names = ("id", "rule", "trigger_instance", "execution", "failure_reason", "enforced_at")
        return [dict(zip(names, row)) for row in rows]


def _count(executions, shared):
    return sum(
        all(parameters.get(name) == value for name, value in shared.items())
        for parameters in executions
    )


class _LockedConnection:
    """A connection several threads may use: statements and their rows are fetched one at a time."""

    def __init__(self, connection, lock):
        self._connection = connection
        self._lock = lock

    def execute(self, statement, values=()):
        with self._lock:
            cursor = self._connection.execute(statement, values)
            return _Rows(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    def close(self):
        with self._lock:
            self._connection.close()


class _Rows:
    def __init__(self, rows, rowcount):
        self._rows = rows
        self.rowcount = rowcount

    def fetchone(self):
        return self._rows[0] if self._rows else None

    def fetchall(self):
        return self._rows


def process_identity(pid):
    """Returns a name for a process that a later one with the same number does not share, or None."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return None
    return "%d:%s" % (pid, fields[19])


def is_alive(identity):
    """Returns whether the process of that identity still runs (and is not a zombie)."""
    if not identity:
        return False
    pid = int(identity.split(":", 1)[0])
    if process_identity(pid) != identity:
        return False
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as stream:
            return stream.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
