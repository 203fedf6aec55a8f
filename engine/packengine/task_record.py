"""What is known of a workflow's tasks."""

from __future__ import annotations

import dataclasses
from typing import Any, TypedDict

from packengine.datastore import new_id, now
from packengine.execution import COMPLETED, FAILED, SUCCEEDED, Execution


class ActionRequest(TypedDict, total=False):
    """An action that Orquesta wants to run; `item_id` counts the items of a task from 0."""

    action: str
    input: dict[str, Any] | None
    item_id: int | None


class Task(TypedDict, total=False):
    """A task that Orquesta wants to run.

    `route` tells runs apart after a split; `items_count` is there for a task with items, of which
    `concurrency` may run at once; `delay` is in seconds.
    """

    id: str
    route: int
    spec: Any
    actions: list[ActionRequest]
    items_count: int
    concurrency: int | None
    delay: float | None


@dataclasses.dataclass
class TaskRecord:
    """One run of a task.

    :ivar workflow_id: of the workflow, which is not its execution's.
    :ivar itemized: whether the task runs for each of some items.
    :ivar result: of the action; for an itemized task {"items": [{status, result} or None]}.
    :ivar start_timestamp: ISO 8601, UTC.
    :ivar end_timestamp: None while it runs.
    """

    id: str
    workflow_id: str
    name: str
    route: int
    itemized: bool
    result: Any
    status: str
    start_timestamp: str
    end_timestamp: str | None = None

    @classmethod
    def of(cls, task: Task, workflow_id: str) -> TaskRecord:
        """Returns the record of a task that begins."""
        itemized = "items_count" in task
        return cls(
            id=new_id(),
            workflow_id=workflow_id,
            name=task["id"],
            route=task["route"],
            itemized=itemized,
            result={"items": [None] * task["items_count"]} if itemized else None,
            status="requested",
            start_timestamp=now(),
        )

    def update(self, execution: Execution, item: int | None) -> None:
        """Takes over what an action of this task ended with."""
        if item is None:
            self.status = execution.status
            self.result = execution.result if execution.result else self.result
        else:
            self.result["items"][item] = {"status": execution.status, "result": execution.result}
            self._update_from_items()
        if self.status in COMPLETED:
            self.end_timestamp = now()

    def _update_from_items(self) -> None:
        statuses = [entry["status"] if entry else None for entry in self.result["items"]]
        if all(status in COMPLETED for status in statuses):
            succeeded = all(status == SUCCEEDED for status in statuses)
            self.status = SUCCEEDED if succeeded else FAILED

    def item_results(self) -> list[Any]:
        return [entry["result"] if entry else None for entry in self.result["items"]]

    def context(self, item: int | None) -> dict[str, Any]:
        """Returns what the context of an action of this task says about it.

        :param item: which item the action is for, None when the task has none.
        """
        context: dict[str, Any] = {
            "workflow_execution_id": self.workflow_id,
            "task_execution_id": self.id,
            "task_name": self.name,
            "task_id": self.name,
            "task_route": self.route,
        }
        if item is not None:
            context["item_id"] = item
        return context

    def as_result(self) -> dict[str, Any]:
        """Returns what the `task()` function of expressions gives."""
        return {
            "task_execution_id": self.id,
            "workflow_execution_id": self.workflow_id,
            "task_name": self.name,
            "task_id": self.name,
            "route": self.route,
            "result": self.result,
            "status": self.status,
            "start_timestamp": self.start_timestamp,
            "end_timestamp": str(self.end_timestamp),
        }
