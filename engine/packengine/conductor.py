"""Conducts one workflow with Orquesta, as StackStorm's workflow engine does.

One thread owns a workflow: it asks Orquesta for the next tasks, starts a thread for each action,
and goes on when one of them reports. Asked from outside (cancel, pause, resume), it gets the wish
through the same queue.
"""

from __future__ import annotations

import queue
import threading

from packengine import store, workflow_functions, workflows
from packengine.datastore import new_id, now
from packengine.run import RunnerError


class TaskRecord:
    """One run of a task; what the ``task()`` expression function shows of it."""

    def __init__(self, workflow_id, task, identifier=None):
        self.id = identifier or new_id()
        self.workflow_id = workflow_id
        self.name = task["id"]
        self.route = task["route"]
        self.itemized = "items_count" in task
        self.result = {"items": [None] * task["items_count"]} if self.itemized else None
        self.status = "requested"
        self.start_timestamp = now()
        self.end_timestamp = None

    def update(self, execution, item):
        """Takes over what an action of this task ended with."""
        if item is None:
            self.status = execution.status
            self.result = execution.result if execution.result else self.result
        else:
            self.result["items"][item] = {"status": execution.status, "result": execution.result}
            self._update_from_items()
        if self.status in store.COMPLETED:
            self.end_timestamp = now()

    def _update_from_items(self):
        statuses = [entry["status"] if entry else None for entry in self.result["items"]]
        if all(status in store.COMPLETED for status in statuses):
            succeeded = all(status == store.SUCCEEDED for status in statuses)
            self.status = store.SUCCEEDED if succeeded else store.FAILED

    def item_results(self):
        return [entry["result"] if entry else None for entry in self.result["items"]]

    def as_result(self):
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

    def serialize(self):
        return dict(vars(self))

    @classmethod
    def deserialize(cls, data):
        record = cls.__new__(cls)
        vars(record).update(data)
        return record


class WorkflowRun:
    """A workflow that is being conducted.

    :param engine: packengine.engine.Engine.
    :param execution: the workflow's own execution.
    :param conductor: orquesta's WorkflowConductor.
    """

    def __init__(self, engine, execution, conductor, workflow_id, records=None):
        self.engine = engine
        self._execution = execution
        self._conductor = conductor
        self._id = workflow_id
        self._records = records or {}
        self._active = {}
        self._events = queue.Queue()
        self._door = threading.Lock()
        self._closed = False
        self._orquesta = workflows.orquesta()
        self._statuses = self._orquesta.statuses
        workflow_functions.register(workflow_id, self)

    @classmethod
    def start(cls, run):
        """Returns the workflow of an execution that is to begin.

        :param run: packengine.run.Run.
        """
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
    def _context(run, workflow_id):
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
        for name in ("api_user", "source_channel"):
            if context.get(name):
                st2[name] = context[name]
        return {"st2": st2, "parent": context}

    @classmethod
    def restore(cls, engine, execution, state):
        """Returns a workflow that was paused, to go on from the state :meth:`conduct` saved."""
        orquesta = workflows.orquesta()
        with workflows.ORQUESTA:
            conductor = orquesta.conducting.WorkflowConductor.deserialize(state["conductor"])
        records = [TaskRecord.deserialize(data) for data in state["records"]]
        return cls(
            engine,
            execution,
            conductor,
            state["id"],
            {(record.name, record.route): record for record in records},
        )

    def task_record(self, name, route):
        """Returns the newest run of a task, or None."""
        return self._records.get((name, route))

    def cancel(self):
        return self._let_in(self._do_cancel)

    def pause(self):
        return self._let_in(self._do_pause)

    def conduct(self):
        """Runs until the workflow is completed or paused; returns (status, result)."""
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

    def _is_at_rest(self):
        """Returns whether nothing is left to do; if so, no more events are let in."""
        status = self._status()
        completed = status in self._statuses.COMPLETED_STATUSES
        waits = status == self._statuses.PAUSED or self._waits_for_somebody()
        if not completed and not waits and self._events.empty():
            self._fail(RuntimeError("The workflow has no task left that could run"))
        with self._door:
            self._closed = self._events.empty()
        return self._closed

    def _let_in(self, event):
        """Has :meth:`conduct` call a function; returns False when it is too late for that."""
        with self._door:
            if not self._closed:
                self._events.put(event)
            return not self._closed

    def resume(self):
        """Lets a paused workflow go on; call before :meth:`conduct`."""
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.RESUMING)

    def expect(self, execution):
        """Waits for a workflow below this one, which somebody else resumes and reports."""
        self._active[execution.id] = execution

    def report(self, execution):
        """Tells the workflow that an action it waits for has ended or waits again.

        Returns False when the workflow is about to end or pause and does not listen any more.
        """
        orquesta_context = execution.context["orquesta"]
        record = self._records[orquesta_context["task_id"], orquesta_context["task_route"]]
        item = orquesta_context.get("item_id")
        return self._let_in(lambda: self._take_report(record, item, execution))

    def _take_report(self, record, item, execution):
        pauses = (self._statuses.PAUSING, self._statuses.PAUSED)
        if execution.is_completed and self._status() in pauses:
            self.resume()
        self._take(record, item, execution)

    def _status(self):
        return self._conductor.get_workflow_status()

    def _waits_for_somebody(self):
        return self._conductor.workflow_state.has_paused_tasks

    def _dispatch(self):
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
                    self._fail(error, task)
                    return

    def _mark_running(self, task):
        events = self._orquesta.events
        running = self._statuses.RUNNING
        if task["spec"].has_items() and task.get("items_count") == 0:
            event = events.ActionExecutionEvent(running)
            self._conductor.update_task_state(task["id"], task["route"], event)
        for action in task["actions"]:
            if action.get("item_id") is None:
                event = events.ActionExecutionEvent(running)
            else:
                event = events.TaskItemActionExecutionEvent(action["item_id"], running)
            self._conductor.update_task_state(task["id"], task["route"], event)

    def _request_task(self, task):
        record = self._record_for(task)
        if task["spec"].action is None or (record.itemized and task["items_count"] == 0):
            self._finish_without_action(record)
            return
        for request in task["actions"]:
            self._request_action(task, record, request)

    def _record_for(self, task):
        key = (task["id"], task["route"])
        record = self._records.get(key)
        # The items of a task come in portions when it has a concurrency.
        if record is None or not (record.itemized and record.status == "running"):
            record = self._records[key] = TaskRecord(self._id, task)
        record.status = "running"
        return record

    def _finish_without_action(self, record):
        record.status = store.SUCCEEDED
        record.end_timestamp = now()
        event = self._orquesta.events.ActionExecutionEvent(self._statuses.SUCCEEDED)
        with workflows.ORQUESTA:
            self._conductor.update_task_state(record.name, record.route, event)

    def _request_action(self, task, record, request):
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

    def _action_context(self, ref, record, item):
        inherited = self._conductor.get_workflow_parent_context()["st2"]
        parent = {
            "execution_id": self._execution.id,
            "user": inherited.get("user"),
            "pack": inherited.get("pack"),
        }
        for name in ("api_user", "source_channel"):
            if inherited.get(name):
                parent[name] = inherited[name]
        context = {
            "pack": ref.split(".")[0],
            "user": parent["user"],
            "parent": parent,
            "orquesta": {
                "workflow_execution_id": self._id,
                "task_execution_id": record.id,
                "task_name": record.name,
                "task_id": record.name,
                "task_route": record.route,
            },
        }
        for name in ("api_user", "source_channel"):
            if name in parent:
                context[name] = parent[name]
        if item is not None:
            context["orquesta"]["item_id"] = item
        return context

    def _perform(self, record, item, execution, delay):
        try:
            self.engine.perform(execution, delay)
        finally:
            self._events.put(lambda: self._take(record, item, execution))

    def _take(self, record, item, execution):
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
            self._fail(error, {"id": record.name, "route": record.route})
            return
        # A task that Orquesta is done with, or tries again, starts with a new record.
        if record.itemized and entry["status"] not in self._statuses.ACTIVE_STATUSES:
            record.status = entry["status"]

    def _run_again_if_paused(self, record, item, execution):
        """For Orquesta, a task that was paused must run again before it can end."""
        entry = self._conductor.get_task_state_entry(record.name, record.route)
        if entry.get("status") != self._statuses.PAUSED or not execution.is_completed:
            return
        events = self._orquesta.events
        if item is None:
            event = events.ActionExecutionEvent(self._statuses.RUNNING)
        else:
            event = events.TaskItemActionExecutionEvent(item, self._statuses.RUNNING)
        self._conductor.update_task_state(record.name, record.route, event)

    def _fail(self, error, task=None):
        task = task or {}
        with workflows.ORQUESTA:
            if self._status() not in self._statuses.COMPLETED_STATUSES:
                self._conductor.request_workflow_status(self._statuses.FAILED)
            self._conductor.log_error(error, task_id=task.get("id"), route=task.get("route"))

    def _render_output(self):
        # As early as StackStorm: once the status is final, even if clean-up tasks still run.
        if self._status() in self._statuses.COMPLETED_STATUSES:
            with workflows.ORQUESTA:
                self._conductor.render_workflow_output()

    def _result(self):
        result = {"output": self._conductor.get_workflow_output() or None}
        if self._status() in self._statuses.ABENDED_STATUSES:
            result["errors"] = self._conductor.errors
        return result

    def _do_cancel(self):
        if self._status() in self._statuses.COMPLETED_STATUSES:
            return
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.CANCELED)
        self.engine.set_status(self._execution, self._status_for_record())
        # As in StackStorm: what is at work finishes, what waits and workflows below are canceled.
        for execution in list(self._active.values()):
            if execution.runner == "orquesta" or execution.status == "delayed":
                self.engine.cancel(execution.id)

    def _do_pause(self):
        status = self._status()
        if status in self._statuses.COMPLETED_STATUSES or status == self._statuses.PAUSED:
            return
        with workflows.ORQUESTA:
            self._conductor.request_workflow_status(self._statuses.PAUSED)
        self.engine.set_status(self._execution, "pausing")
        for execution in list(self._active.values()):
            if execution.runner == "orquesta":
                self.engine.pause(execution.id)

    def _status_for_record(self):
        # The record ends with conduct(), which may have to wait for actions.
        status = self._status()
        return "canceling" if status in self._statuses.CANCEL_STATUSES else status

    def _save(self):
        with workflows.ORQUESTA:
            state = {
                "id": self._id,
                "conductor": self._conductor.serialize(),
                "records": [record.serialize() for record in self._records.values()],
            }
        self.engine.store.save_workflow_state(self._execution.id, state)


def _delay(task, item):
    """Returns the seconds an action of the task waits; later portions of items do not wait."""
    delay = task.get("delay") or 0
    concurrency = task.get("concurrency")
    if item is not None and concurrency and item >= concurrency:
        return 0
    return delay


def orquesta(run):
    """``orquesta``: a workflow; {output, errors}."""
    try:
        errors = workflows.inspect(run.action, run.engine.registry)
        if errors:
            return store.FAILED, {"errors": errors, "output": None}
        workflow = WorkflowRun.start(run)
    except OSError as error:
        raise RunnerError(f"{run.action.entry_point}: {error.strerror}") from error
    except Exception as error:
        return store.FAILED, {"errors": [{"message": str(error)}], "output": None}
    return conduct(run.engine, run.execution, workflow)


def conduct(engine, execution, workflow):
    """Conducts a workflow while it can be canceled and paused from outside."""
    with engine.cancelable(execution.id, workflow.cancel, workflow.pause, workflow.report):
        return workflow.conduct()


def carry_on(engine, execution, state, report=None):
    """Goes on with a paused workflow until it ends or pauses again; returns (status, result).

    :param state: what the store kept when it paused.
    :param report: execution of one of its tasks that has changed; None when somebody resumed the
        workflow, and with it the paused workflows below.
    """
    workflow = WorkflowRun.restore(engine, execution, state)
    workflow.resume()
    with engine.cancelable(execution.id, workflow.cancel, workflow.pause, workflow.report):
        if report is not None:
            workflow.report(report)
        else:
            for child in engine.children(execution.id):
                if child.status == "paused":
                    workflow.expect(child)
                    engine.in_background(engine.carry_on, child)
        return workflow.conduct()
