"""Executions that wait: paused workflows and pending inquiries, and how they go on.

What waits needs no process. Its state is in the store, and whoever resumes it, answers it or
changes a task of it carries it on.
"""

from __future__ import annotations

import copy
import time
from typing import TYPE_CHECKING

from packengine import conductor
from packengine.execution import CANCELED, FAILED, PAUSED, PENDING, Execution
from packengine.wishes import WATCH_INTERVAL_S

if TYPE_CHECKING:
    from packengine.engine import Engine


class Waiting:
    """
    :param engine: keeps the executions and runs what goes on.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._store = engine.store

    def carry_on(self, execution: Execution, report: Execution | None = None) -> None:
        """Goes on with a paused workflow; returns when it ends or pauses again.

        :param report: the task's execution that makes it go on, None when somebody resumed it.
        """
        state = self._store.take_workflow_state(execution.id)
        if state is None:  # somebody else, here or in another process, was quicker
            if report is not None:
                time.sleep(WATCH_INTERVAL_S)
                self.report(report)
            return
        self._engine.wishes.watch()
        self._store.adopt(execution)
        self._engine.set_status(execution, "running")
        try:
            status, result = conductor.carry_on(self._engine, execution, state, report)
        except Exception as error:
            status, result = FAILED, {"errors": [{"message": str(error)}], "output": None}
        self._engine.set_status(execution, status, result)
        self.settle(execution)
        self.report(execution)

    def report(self, execution: Execution) -> None:
        """Tells the workflow an execution is a task of that it has changed."""
        if execution.parent is None:
            return
        parent = self._store.execution(execution.parent)
        if parent.status != PAUSED:
            self._engine.wishes.make(parent, {"do": "report", "execution": execution.id})
            parent = self._store.execution(parent.id)
            # It may have paused meanwhile, without having seen the report.
            if parent.status != PAUSED or not self._store.take_wishes({parent.id}):
                return
        self._engine.in_background(self.carry_on, parent, copy.deepcopy(execution))

    def settle(self, execution: Execution) -> None:
        """Takes care of what was reported to a workflow just as it paused."""
        if execution.status == PAUSED:
            for _, wish in self._store.take_wishes({execution.id}):
                if wish["do"] == "report":
                    self.report(self._store.execution(wish["execution"]))

    def cancel(self, execution: Execution) -> None:
        """Cancels what waits, and what waits below it."""
        self._store.take_workflow_state(execution.id)
        self._engine.set_status(execution, CANCELED, execution.result)
        for child in self._store.children(execution.id):
            if child.status in (PAUSED, PENDING):
                self.cancel(child)
        self.report(execution)
