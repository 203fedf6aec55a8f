"""Conducts one workflow with Orquesta, as StackStorm's workflow engine does.

One thread owns a workflow: it asks Orquesta for the next tasks, starts a thread for each action,
and goes on when one of them reports. Asked from outside (cancel, pause, resume), it gets the wish
through the same queue.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, Tuple

from packengine import workflow_functions, workflows
from packengine.datastore import new_id, now
from packengine.execution import FAILED, SUCCEEDED, Context, Execution
from packengine.run import Ending, Run, RunnerError
from packengine.store import WorkflowState
from packengine.task_record import ActionRequest, Task, TaskRecord

if TYPE_CHECKING:
    from packengine.engine import Engine

# The newest run of each task, by its name and route.
Records = Dict[Tuple[str, int], TaskRecord]

# What a workflow's context and its actions' say of who asked in chat.
_CALLER = ("api_user", "source_channel")


class WorkflowRun:
    """A workflow that is being conducted.

    :param engine: runs its actions.
    :param execution: the workflow's own execution.
    :param conductor: orquesta's WorkflowConductor.
    :param workflow_id: tells it from other runs of the same workflow.
    :param records: of tasks that have run already.
    """

    def __init__(
        self,
        engine: Engine,
        execution: Execution,
        conductor: Any,
        workflow_id: str,
        records: Records | None = None,
    ) -> None:
        self.engine = engine
        self._execution = execution
        self._conductor = conductor
        self._id = workflow_id
        self._records = records or {}
        self._active: dict[str, Execution] = {}
        self._events: queue.Queue[Callable[[], None]] = queue.Queue()
        self._door = threading.Lock()
        self._closed = False
        self._orquesta = workflows.orquesta()
        self._statuses = self._orquesta.statuses
        workflow_functions.register(workflow_id, self)

    @classmethod
    def start(cls, run: Run) -> WorkflowRun:
        """Returns the workflow of an execution that is to begin."""
        orquesta = workflows.orquesta()
        workflow_id = new_id()
        context = cls._context(run, workflow_id)
        spec = workflows.load(run.action.entry_point)
        with workflows.ORQUESTA:
            conductor = orquesta.conducting.WorkflowConductor(
                spec, context=context, inputs=run.parameters
            )
            workflow = cls(run.engine, run.execution, conductor, workflow_id)
            if conductor.get_workflow_status() not in orquesta.statuses.COMPLETED_STATUSES:
                conductor.request_workflow_status(orquesta.statuses.REQUESTED)
                conductor.request_workflow_status(orquesta.statuses.RUNNING)
        return workflow

    @staticmethod
    def _context(run: Run, workflow_id: str) -> dict[str, Any]:
        context = run.execution.context
        st2 = {
            "action_execution_id": run.execution.id,
            "api_url": run.engine.api_url,
            "user": context.get("user"),
            "pack": context.get("pack"),
            "action": run.action.ref,
            "runner": run.action.runner.name,
            "workflow_execution_id": workflow_id,
        }
        st2.update({name: context[name] for name in _CALLER if context.get(name)})
        return {"st2": st2, "parent": context}

    @classmethod
    def restore(cls, engine: Engine, execution: Execution, state: WorkflowState) -> WorkflowRun:
        """Returns a workflow that was paused, to go on from the state :meth:`conduct` saved."""
        orquesta = workflows.orquesta()
        with workflows.ORQUESTA:
            conductor = orquesta.conducting.WorkflowConductor.deserialize(state["conductor"])
        records = [TaskRecord(**data) for data in state["records"]]
        return cls(
            engine,
            execution,
            conductor,
            state["id"],
            {(record.name, record.route): record for record in records},
        )

    def task_record(self, name: str, route: int) -> TaskRecord | None:
        """Returns the newest run of a task, or None."""
        return self._records.get((name, route))

    def cancel(self) -> bool:
        """Starts nothing more; returns False when it is too late for that."""
        return self._let_in(self._do_cancel)

    def pause(self) -> bool:
        """Pauses once what runs has ended; returns False when it is too late for that."""
        return self._let_in(self._do_pause)

    def conduct(self) -> Ending:
        """Runs until the workflow is completed or paused."""
        if self._status() in self._statuses.COMPLETED_STATUSES:
            return self._status(), self._result()  # its input or vars could not be rendered
        while True:
            self._dispatch()
            if not self._active and self._is_at_rest():
                status = self._status()
                if status in self._statuses.COMPLETED_STATUSES:
                    return status, self._result()
                self._save()
                return self._statuses.PAUSED, self._execution.result
            self._events.get()()
            self._render_output()

    def _is_at_rest(self) -> bool:
        """Returns whether nothing is left to do; if so, no more events are let in."""
        status = self._status()
        completed = status in self._statuses.COMPLETED_STATUSES
        waits = status == self._statuses.PAUSED or self._waits_for_somebody()
        if not completed and not waits and self._events.empty():
            self._fail(RuntimeError("The workflow has no task left that could run"))
        with self._door:
            self._closed = self._events.empty()
        return self._closed

    def _let_in(self, event: Callable[[], None]) -> bool:
        """Has :meth:`conduct` call a function; returns False when it is too late for that."""
        with self._door:
            if not self._closed:
                self._events.put(event)
            return not self._closed

    def resume(self) -> None:
        """Lets a paused workflow go on; call before :meth:`conduct`."""
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.RESUMING)

    def expect(self, execution: Execution) -> None:
        """Waits for a workflow below this one, which somebody else resumes and reports."""
        self._active[execution.id] = execution

    def report(self, execution: Execution) -> bool:
        """Tells the workflow that an action it waits for has ended or waits again.

        :returns: False when the workflow is about to end or pause and does not listen any more.
        """
        orquesta_context = execution.context["orquesta"]
        record = self._records[orquesta_context["task_id"], orquesta_context["task_route"]]
        item = orquesta_context.get("item_id")
        return self._let_in(lambda: self._take_report(record, item, execution))

    def _take_report(self, record: TaskRecord, item: int | None, execution: Execution) -> None:
        pauses = (self._statuses.PAUSING, self._statuses.PAUSED)
        if execution.is_completed and self._status() in pauses:
            self.resume()
        self._take(record, item, execution)

    def _status(self) -> str:
        return self._conductor.get_workflow_status()

    def _waits_for_somebody(self) -> bool:
        return self._conductor.workflow_state.has_paused_tasks

    def _dispatch(self) -> None:
        while True:
            with workflows.ORQUESTA:
                tasks = self._conductor.get_next_tasks()
                for task in tasks:
                    self._mark_running(task)
            if not tasks:
                self._render_output()
                return
            for task in tasks:
                try:
                    self._request_task(task)
                except Exception as error:
                    self._fail(error, task["id"], task["route"])
                    return

    def _mark_running(self, task: Task) -> None:
        items: list[int | None] = [action.get("item_id") for action in task["actions"]]
        if task["spec"].has_items() and task.get("items_count") == 0:
            items.append(None)
        for item in items:
            event = self._running_event(item)
            self._conductor.update_task_state(task["id"], task["route"], event)

    def _running_event(self, item: int | None) -> Any:
        events = self._orquesta.events
        if item is None:
            return events.ActionExecutionEvent(self._statuses.RUNNING)
        return events.TaskItemActionExecutionEvent(item, self._statuses.RUNNING)

    def _request_task(self, task: Task) -> None:
        record = self._record_for(task)
        if task["spec"].action is None or (record.itemized and task["items_count"] == 0):
            self._finish_without_action(record)
            return
        for request in task["actions"]:
            self._request_action(task, record, request)

    def _record_for(self, task: Task) -> TaskRecord:
        key = (task["id"], task["route"])
        record = self._records.get(key)
        # The items of a task come in portions when it has a concurrency.
        if record is None or not (record.itemized and record.status == "running"):
            record = self._records[key] = TaskRecord.of(task, self._id)
        record.status = "running"
        return record

    def _finish_without_action(self, record: TaskRecord) -> None:
        record.status = SUCCEEDED
        record.end_timestamp = now()
        event = self._orquesta.events.ActionExecutionEvent(self._statuses.SUCCEEDED)
        with workflows.ORQUESTA:
            self._conductor.update_task_state(record.name, record.route, event)

    def _request_action(self, task: Task, record: TaskRecord, request: ActionRequest) -> None:
        item = request.get("item_id")
        execution = self.engine.request(
            request["action"],
            request["input"] or {},
            context=self._action_context(request["action"], record, item),
            parent=self._execution.id,
        )
        self._active[execution.id] = execution
        threading.Thread(
            target=self._perform,
            args=(record, item, execution, _delay(task, item)),
            name=execution.action,
            daemon=True,
        ).start()

    def _action_context(self, ref: str, record: TaskRecord, item: int | None) -> Context:
        inherited = self._conductor.get_workflow_parent_context()["st2"]
        callers = {name: inherited[name] for name in _CALLER if inherited.get(name)}
        user = inherited.get("user")
        return {
            "pack": ref.split(".")[0],
            "user": user,
            "parent": {
                "execution_id": self._execution.id,
                "user": user,
                "pack": inherited.get("pack"),
                **callers,
            },
            "orquesta": record.context(item),
            **callers,
        }

    def _perform(
        self, record: TaskRecord, item: int | None, execution: Execution, delay: float
    ) -> None:
        try:
            self.engine.perform(execution, delay)
        finally:
            self._events.put(lambda: self._take(record, item, execution))

    def _take(self, record: TaskRecord, item: int | None, execution: Execution) -> None:
        """Tells Orquesta how an action ended, or that it waits."""
        self._active.pop(execution.id, None)
        record.update(execution, item)
        events = self._orquesta.events
        if item is None:
            event = events.ActionExecutionEvent(execution.status, result=execution.result)
        else:
            event = events.TaskItemActionExecutionEvent(
                item,
                execution.status,
                result=execution.result,
                accumulated_result=record.item_results(),
            )
        try:
            with workflows.ORQUESTA:
                self._run_again_if_paused(record, item, execution)
                entry = self._conductor.update_task_state(record.name, record.route, event)
        except Exception as error:
            self._fail(error, record.name, record.route)
            return
        # A task that Orquesta is done with, or tries again, starts with a new record.
        if record.itemized and entry["status"] not in self._statuses.ACTIVE_STATUSES:
            record.status = entry["status"]

    def _run_again_if_paused(
        self, record: TaskRecord, item: int | None, execution: Execution
    ) -> None:
        """For Orquesta, a task that was paused must run again before it can end."""
        entry = self._conductor.get_task_state_entry(record.name, record.route)
        if entry.get("status") != self._statuses.PAUSED or not execution.is_completed:
            return
        self._conductor.update_task_state(record.name, record.route, self._running_event(item))

    def _fail(self, error: Exception, name: str | None = None, route: int | None = None) -> None:
        """Fails the workflow.

        :param name: of the task whose fault it is, if it is a task's.
        :param route: of that task.
        """
        with workflows.ORQUESTA:
            if self._status() not in self._statuses.COMPLETED_STATUSES:
                self._conductor.request_workflow_status(self._statuses.FAILED)
            self._conductor.log_error(error, task_id=name, route=route)

    def _render_output(self) -> None:
        # As early as StackStorm: once the status is final, even if clean-up tasks still run.
        if self._status() in self._statuses.COMPLETED_STATUSES:
            with workflows.ORQUESTA:
                self._conductor.render_workflow_output()

    def _result(self) -> dict[str, Any]:
        result = {"output": self._conductor.get_workflow_output() or None}
        if self._status() in self._statuses.ABENDED_STATUSES:
            result["errors"] = self._conductor.errors
        return result

    def _do_cancel(self) -> None:
        if self._status() in self._statuses.COMPLETED_STATUSES:
            return
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.CANCELED)
        self.engine.set_status(self._execution, self._status_for_record())
        # As in StackStorm: what is at work finishes, what waits and workflows below are canceled.
        for execution in list(self._active.values()):
            if execution.runner == "orquesta" or execution.status == "delayed":
                self.engine.cancel(execution.id)

    def _do_pause(self) -> None:
        status = self._status()
        if status in self._statuses.COMPLETED_STATUSES or status == self._statuses.PAUSED:
            return
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.PAUSED)
        self.engine.set_status(self._execution, "pausing")
        for execution in list(self._active.values()):
            if execution.runner == "orquesta":
                self.engine.pause(execution.id)

    def _status_for_record(self) -> str:
        # The record ends with conduct(), which may have to wait for actions.
        status = self._status()
        return "canceling" if status in self._statuses.CANCEL_STATUSES else status

    def _save(self) -> None:
        with workflows.ORQUESTA:
            state = {
                "id": self._id,
                "conductor": self._conductor.serialize(),
                "records": [vars(record) for record in self._records.values()],
            }
        self.engine.store.save_workflow_state(self._execution.id, state)


def _delay(task: Task, item: int | None) -> float:
    """Returns the seconds an action of the task waits; later portions of items do not wait."""
    delay = task.get("delay") or 0
    concurrency = task.get("concurrency")
    if item is not None and concurrency and item >= concurrency:
        return 0
    return delay


def orquesta(run: Run) -> Ending:
    """``orquesta``: a workflow; {output, errors}."""
    try:
        errors = workflows.inspect(run.action, run.engine.registry)
        if errors:
            return FAILED, {"errors": errors, "output": None}
        workflow = WorkflowRun.start(run)
    except OSError as error:
        raise RunnerError(f"{run.action.entry_point}: {error.strerror}") from error
    except Exception as error:
        return FAILED, {"errors": [{"message": str(error)}], "output": None}
    with run.engine.wishes.granted_by(
        run.execution.id, workflow.cancel, workflow.pause, workflow.report
    ):
        return workflow.conduct()


def carry_on(
    engine: Engine, execution: Execution, state: WorkflowState, report: Execution | None = None
) -> Ending:
    """Goes on with a paused workflow until it ends or pauses again.

    :param state: what the store kept when it paused.
    :param report: execution of one of its tasks that has changed; None when somebody resumed the
        workflow, and with it the paused workflows below.
    """
    workflow = WorkflowRun.restore(engine, execution, state)
    workflow.resume()
    with engine.wishes.granted_by(execution.id, workflow.cancel, workflow.pause, workflow.report):
        if report is not None:
            workflow.report(report)
        else:
            for child in engine.children(execution.id):
                if child.status == "paused":
                    workflow.expect(child)
                    engine.in_background(engine.waiting.carry_on, child)
        return workflow.conduct()
