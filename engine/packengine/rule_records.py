"""What is kept about rules: whether they are enabled, what triggered them and what they started."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypedDict

from packengine import datastore
from packengine.database import Database
from packengine.datastore import new_id, now


@dataclass
class TriggerInstance:
    """One event: what the rules of its trigger are tried on.

    :ivar parameters: tell triggers of one type apart, such as the URL of a webhook.
    :ivar status: pending, processed, processing_failed, or rejected when the payload did not fit
        its schema.
    """

    id: str
    trigger: str
    parameters: dict[str, Any]
    payload: Any
    trace_tag: str | None
    occurrence_time: str
    status: str


_INSTANCE_COLUMNS = "id, trigger, parameters, payload, trace_tag, occurrence_time, status"


def _trigger_instance(row: tuple[Any, ...]) -> TriggerInstance:
    return TriggerInstance(row[0], row[1], json.loads(row[2]), json.loads(row[3]), *row[4:])


class Enforcement(TypedDict):
    """A rule that matched: the execution it started, or why it could not.

    `trigger_instance` and `execution` are ids, `enforced_at` is ISO 8601, UTC.
    """

    id: str
    rule: str
    trigger_instance: str
    execution: str | None
    failure_reason: str | None
    enforced_at: str


class RuleRecords:
    """
    :param database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> dict[str, bool]:
        """Returns ref -> enabled for rules somebody enabled or disabled."""
        rows = self._database.execute("SELECT ref, enabled FROM rule_state").fetchall()
        return {ref: bool(enabled) for ref, enabled in rows}

    def set_state(self, ref: str, enabled: bool) -> None:
        self._database.execute(
            "INSERT OR REPLACE INTO rule_state VALUES (?, ?)", (ref, int(enabled))
        )

    def add_instance(
        self,
        trigger: str,
        payload: Any,
        trace_tag: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Leaves a trigger instance for the rules; returns its id."""
        return datastore.enqueue_trigger(self._database, trigger, payload, trace_tag, parameters)

    def take_instances(self) -> list[TriggerInstance]:
        """Returns the pending trigger instances, oldest first, each only once."""
        with self._database.lock:
            rows = self._database.execute(
                f"SELECT {_INSTANCE_COLUMNS} FROM trigger_instance WHERE status = 'pending'"
                " ORDER BY rowid"
            ).fetchall()
            taken = []
            for row in rows:
                cursor = self._database.execute(
                    "UPDATE trigger_instance SET status = 'processed'"
                    " WHERE id = ? AND status = 'pending'",
                    (row[0],),
                )
                if cursor.rowcount:
                    taken.append(_trigger_instance(row))
        return taken

    def set_instance_status(self, identifier: str, status: str) -> None:
        self._database.execute(
            "UPDATE trigger_instance SET status = ? WHERE id = ?", (status, identifier)
        )

    def instances(self, limit: int = 50) -> list[TriggerInstance]:
        """Returns the newest trigger instances first."""
        rows = self._database.execute(
            f"SELECT {_INSTANCE_COLUMNS} FROM trigger_instance ORDER BY rowid DESC LIMIT ?",
            (limit,),
        ).fetchall()
        return [_trigger_instance(row) for row in rows]

    def add_enforcement(
        self,
        rule: str,
        trigger_instance: str,
        execution: str | None = None,
        failure_reason: str | None = None,
    ) -> None:
        """Records that a rule started an execution, or why it could not."""
        self._database.execute(
            "INSERT INTO rule_enforcement VALUES (?, ?, ?, ?, ?, ?)",
            (new_id(), rule, trigger_instance, execution, failure_reason, now()),
        )

    def enforcements(self, limit: int = 50) -> list[Enforcement]:
        """Returns the newest rule enforcements first."""
        rows = self._database.execute(
            "SELECT id, rule, trigger_instance, execution, failure_reason, enforced_at"
            " FROM rule_enforcement ORDER BY rowid DESC LIMIT ?",
            (limit,),
        ).fetchall()
        return [
            Enforcement(
                id=row[0],
                rule=row[1],
                trigger_instance=row[2],
                execution=row[3],
                failure_reason=row[4],
                enforced_at=row[5],
            )
            for row in rows
        ]
