"""The key-value datastore. Standard library only: action and sensor processes import it too."""

from __future__ import annotations

import datetime
import itertools
import json
import os
import secrets
import sqlite3
import time

TYPE_CHECKING = False  # Not imported: action processes start faster without typing.
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Cursor(Protocol):
        """What a statement found or changed."""

        rowcount: int

        def fetchone(self) -> Any: ...

        def fetchall(self) -> list[Any]: ...

    class Connection(Protocol):
        """A connection of :func:`connect`, or one that several threads share."""

        def execute(self, statement: str, values: tuple[Any, ...] = ..., /) -> Cursor: ...


SYSTEM_SCOPE = "st2kv.system"
USER_SCOPE = "st2kv.user"
SCOPES = {
    "system": SYSTEM_SCOPE,
    "user": USER_SCOPE,
    SYSTEM_SCOPE: SYSTEM_SCOPE,
    USER_SCOPE: USER_SCOPE,
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS key_value (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    secret INTEGER NOT NULL DEFAULT 0,
    sealed TEXT,
    expires REAL,
    PRIMARY KEY (scope, name)
);
CREATE TABLE IF NOT EXISTS trigger_instance (
    id TEXT PRIMARY KEY,
    trigger TEXT NOT NULL,
    parameters TEXT NOT NULL,
    payload TEXT NOT NULL,
    trace_tag TEXT,
    occurrence_time TEXT NOT NULL,
    status TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS trigger_instance_status ON trigger_instance (status);
"""


def connect(path: str) -> sqlite3.Connection:
    """Opens the engine's database so that several threads and processes can use it at once.

    :param path: file name of the database; the file is created when missing.
    """
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


class KeyNotFound(KeyError):
    """No such key, or it has expired."""

    def __str__(self) -> str:
        return self.args[0]


class Datastore:
    """Keys and values, some secret, some with an expiry.

    A secret key's ``value`` column holds a random seal that stands where StackStorm keeps the
    ciphertext: reading the key without asking for decryption gives the seal, and ``unseal`` turns
    it into the plain text. What protects secrets on disk is the database file's mode, 0600.

    :param connection: from :func:`connect`.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def set(
        self,
        name: str,
        value: str,
        scope: str = SYSTEM_SCOPE,
        secret: bool = False,
        ttl: float | None = None,
    ) -> None:
        """Stores a text value.

        :param ttl: seconds until the key expires, None for never.
        :raises ValueError: when the value is no text.
        """
        if not isinstance(value, str):
            raise ValueError(
                f'The value of key "{name}" must be a string, not {type(value).__name__}'
            )
        seal = secrets.token_hex(32).upper() if secret else None
        self._connection.execute(
            "INSERT OR REPLACE INTO key_value (scope, name, value, secret, sealed, expires)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                resolve_scope(scope),
                name,
                seal if secret else value,
                int(secret),
                value if secret else None,
                time.time() + ttl if ttl else None,
            ),
        )

    def get(self, name: str, scope: str = SYSTEM_SCOPE, decrypt: bool = False) -> str:
        """Returns the value of a key, its seal when it is secret and not decrypted.

        :raises KeyNotFound: when there is no such key, or it has expired.
        """
        row = self._connection.execute(
            "SELECT value, secret, sealed FROM key_value WHERE scope = ? AND name = ?"
            " AND (expires IS NULL OR expires > ?)",
            (resolve_scope(scope), name, time.time()),
        ).fetchone()
        if row is None:
            raise KeyNotFound(f'Unable to find key "{name}" in scope {resolve_scope(scope)}')
        value, secret, sealed = row
        return sealed if secret and decrypt else value

    def unseal(self, seal: str) -> str:
        """Returns the plain text behind a seal.

        :raises ValueError: for anything else.
        """
        row = self._connection.execute(
            "SELECT sealed FROM key_value WHERE secret = 1 AND value = ?", (str(seal),)
        ).fetchone()
        if row is None:
            raise ValueError("decrypt_kv was given a value that is not an encrypted key")
        return row[0]

    def delete(self, name: str, scope: str = SYSTEM_SCOPE) -> bool:
        """Removes a key; returns whether it was there."""
        cursor = self._connection.execute(
            "DELETE FROM key_value WHERE scope = ? AND name = ?", (resolve_scope(scope), name)
        )
        return cursor.rowcount > 0

    def list(self, prefix: str = "", scope: str = SYSTEM_SCOPE) -> list[tuple[str, str, bool]]:
        """Returns (name, value, secret) of the keys that start with ``prefix``, sorted by name."""
        rows = self._connection.execute(
            "SELECT name, value, secret FROM key_value WHERE scope = ?"
            " AND substr(name, 1, ?) = ? AND (expires IS NULL OR expires > ?) ORDER BY name",
            (resolve_scope(scope), len(prefix), prefix, time.time()),
        ).fetchall()
        return [(name, value, bool(secret)) for name, value, secret in rows]


def resolve_scope(scope: str) -> str:
    """Returns the full name of a scope given its short or full name.

    :raises ValueError: for any other name.
    """
    try:
        return SCOPES[scope]
    except KeyError:
        raise ValueError(f'Scope "{scope}" is not valid; allowed: system, user') from None


def enqueue_trigger(
    connection: Connection,
    trigger: str,
    payload: Any,
    trace_tag: str | None = None,
    parameters: dict[str, Any] | None = None,
) -> str:
    """Leaves a trigger instance for the process that runs the rules; returns its id."""
    identifier = new_id()
    connection.execute(
        "INSERT INTO trigger_instance"
        " (id, trigger, parameters, payload, trace_tag, occurrence_time, status)"
        " VALUES (?, ?, ?, ?, ?, ?, 'pending')",
        (
            identifier,
            trigger,
            json.dumps(parameters or {}),
            json.dumps(payload),
            trace_tag,
            now(),
        ),
    )
    return identifier


_identifier_count = itertools.count(secrets.randbelow(1 << 24))
_process_tags: dict[int, str] = {}


def new_id() -> str:
    """Returns an id like StackStorm's: 24 hexadecimal digits that sort by time of creation."""
    tag = _process_tags.setdefault(os.getpid(), secrets.token_hex(5))
    return f"{int(time.time()):08x}{tag}{next(_identifier_count) & 0xFFFFFF:06x}"


def now() -> str:
    """Returns the time as StackStorm writes it, such as 2024-01-31T09:30:00.123456Z."""
    moment = datetime.datetime.now(datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
