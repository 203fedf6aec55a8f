"""The SQLite database of a data directory, shared by all threads and processes that use it."""

from __future__ import annotations

import os
import threading
from typing import Any, Sequence

from packengine import datastore

# Of the tables below; a database of another version is not used.
_VERSION = 1

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


class Database:
    """One connection, used by one thread at a time.

    :param data_dir: directory, made with mode 0700 when missing, since it holds secrets.
    :raises ValueError: when the database was made by another version of the engine.
    :raises OSError: when the directory or the file cannot be made.
    :raises sqlite3.Error: when the file is no database, or cannot be read or written.
    """

    def __init__(self, data_dir: str) -> None:
        os.makedirs(data_dir, mode=0o700, exist_ok=True)
        self.path = os.path.join(data_dir, "engine.sqlite")
        if not os.path.exists(self.path):
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600))
        # Held for longer by who reads and then writes.
        self.lock = threading.RLock()
        self._connection = datastore.connect(self.path)
        self._create_tables()

    def _create_tables(self) -> None:
        version = self.execute("PRAGMA user_version").fetchone()[0]
        if version == _VERSION:
            return  # Nothing is written, so that what there is can be read from a full disk.
        if version != 0:
            raise ValueError(
                f"{self.path} was made by another version of the engine; remove it or use another "
                "data directory"
            )
        for statement in (datastore.SCHEMA + _SCHEMA).split(";"):
            self.execute(statement)
        self.execute(f"PRAGMA user_version = {_VERSION}")

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Rows:
        """Runs a statement and fetches all its rows."""
        with self.lock:
            cursor = self._connection.execute(statement, values)
            return Rows(cursor.fetchall() if cursor.description else [], cursor.rowcount)

    def close(self) -> None:
        with self.lock:
            self._connection.close()


class Rows:
    """What a statement found or changed, read like a cursor.

    :param rowcount: how many rows an update, an insertion or a deletion changed.
    """

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchone(self) -> Any:
        return self._rows[0] if self._rows else None

    def fetchall(self) -> list[Any]:
        return self._rows
