"""An execution: one run of an action, and the statuses it may have."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any, Dict

from packengine.datastore import now

SUCCEEDED = "succeeded"
FAILED = "failed"
TIMEOUT = "timeout"
CANCELED = "canceled"
ABANDONED = "abandoned"
PAUSED = "paused"
PENDING = "pending"
COMPLETED = (SUCCEEDED, FAILED, TIMEOUT, CANCELED, ABANDONED)

# The user rules run as, and everybody who does not say who they are.
SYSTEM_USER = "stanley"

# What is passed to an action, by name.
Parameters = Dict[str, Any]
# Whose execution it is and what it is part of: user, pack, parent, orquesta, trace_context and so
# on, as in StackStorm.
Context = Dict[str, Any]


@dataclass
class Execution:
    """One run of an action.

    :ivar action: ref of the action.
    :ivar runner: name of the action's runner type.
    :ivar parameters: what was passed, rendered; secrets in the clear (`Engine.masked` hides them).
    :ivar start_timestamp: ISO 8601, UTC.
    :ivar parent: id of the workflow's execution that this is a task of.
    :ivar result: shape depends on the runner; None until there is one.
    :ivar end_timestamp: None while it runs.
    :ivar log: the statuses it had, each {"status", "timestamp"}.
    """

    id: str
    action: str
    runner: str
    status: str
    parameters: Parameters
    context: Context
    start_timestamp: str
    parent: str | None = None
    result: Any = None
    end_timestamp: str | None = None
    log: list[dict[str, str]] = field(default_factory=list)

    @property
    def user(self) -> str | None:
        return self.context.get("user")

    @property
    def task_name(self) -> str | None:
        """Name of the workflow task this execution is for, None for others."""
        return (self.context.get("orquesta") or {}).get("task_name")

    @property
    def is_completed(self) -> bool:
        return self.status in COMPLETED

    @property
    def elapsed_seconds(self) -> float:
        return seconds_between(self.start_timestamp, self.end_timestamp)


def seconds_between(start: str, end: str | None) -> float:
    """Returns the seconds between two times of :func:`packengine.datastore.now`.

    :param end: None for the present.
    """
    pattern = "%Y-%m-%dT%H:%M:%S.%fZ"
    begin = datetime.datetime.strptime(start, pattern)
    finish = datetime.datetime.strptime(end or now(), pattern)
    return (finish - begin).total_seconds()
