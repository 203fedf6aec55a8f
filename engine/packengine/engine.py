"""The engine: requests, runs, cancels and remembers executions of actions."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import os
import sys
import tempfile
import threading
import time
import traceback
from typing import Any, Callable, Iterable, NamedTuple

from packengine import (
    conductor,
    config,
    inquiries,
    parameters,
    policies,
    runners,
    schema,
    service,
)
from packengine.datastore import new_id, now
from packengine.packs import ActionDisabled, Registry
from packengine.run import Run, RunnerError
from packengine.store import (
    ABANDONED,
    CANCELED,
    COMPLETED,
    FAILED,
    PAUSED,
    PENDING,
    SUCCEEDED,
    SYSTEM_USER,
    Execution,
    Store,
    is_alive,
)

# Where StackStorm's own API listens.
DEFAULT_API_PORT = 9101

# Tells rules that an action has ended.
ACTION_TRIGGER = "core.st2.generic.actiontrigger"

# Seconds between looks for wishes (cancel, pause, resume) that other processes left.
_WATCH_INTERVAL = 0.2
# Seconds between looks for what has started since, when everything is to end.
_ABANDON_INTERVAL = 0.05


class Engine:
    """Runs packs.

    :param packs: directories of packs; the core pack is always there.
    :param config_dir: directory of ``<pack>.yaml`` configurations, None for defaults only.
    :param data_dir: directory of the database and virtualenvs; a temporary one when None.
    :param api_port: TCP port of webhooks, which :meth:`serve` listens on.

    Raises packengine.packs.PackError when a directory is no pack.
    """

    def __init__(
        self,
        packs: Iterable[str] = (),
        config_dir: str | None = None,
        data_dir: str | None = None,
        api_port: int = DEFAULT_API_PORT,
    ):
        self.registry = Registry(packs)
        self._temporary = None if data_dir else tempfile.TemporaryDirectory(prefix="engine-")
        self.data_dir = os.path.abspath(data_dir or self._temporary.name)
        self.store = Store(self.data_dir)
        self.configurations = config.Configurations(config_dir, self.store.keys)
        self.api_port = api_port
        self._action_trigger_is_used = any(
            rule.trigger == ACTION_TRIGGER for rule in self.registry.rules.values()
        )
        self._listeners: list[Callable[[str, Any], None]] = []
        self._handles: dict[str, _Handle] = {}
        self._background: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._watcher = None
        self._service = None
        self._stop_wished = False
        self.store.abandon_orphans()

    @property
    def api_url(self):
        return "http://127.0.0.1:%d/api/v1" % self.api_port

    def close(self):
        """Waits for what runs in the background, then lets go of the database."""
        self.wait_for_background()
        self._closed.set()
        if self._watcher:
            self._watcher.join()
        self.store.close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    # Running actions

    def run(
        self,
        ref: str,
        parameters: dict | None = None,
        user: str | None = None,
        trace_tag: str | None = None,
        context: dict | None = None,
    ) -> Execution:
        """Runs an action and returns its execution, completed (or paused, or pending an answer).

        :param ref: ``pack.action``.
        :param parameters: name -> value.
        :param user: who asks, the system user when None.
        :param trace_tag: ties executions of one cause together.
        :param context: more for the execution's context, such as ``api_user``.

        Raises packengine.packs.UnknownReference, packengine.packs.ActionDisabled, and
        packengine.parameters.ParameterError when a parameter does not fit.
        """
        execution = self.request(ref, parameters, self.context(user, trace_tag, context))
        return self.perform(execution)

    def start(
        self, ref, parameters=None, user=None, trace_tag=None, context=None, literal=False
    ) -> Execution:
        """Like :meth:`run`, but return at once; the action runs in a thread of this process.

        :param literal: take the parameters as they are, templates and all.
        """
        context = self.context(user, trace_tag, context)
        execution = self.request(ref, parameters, context, literal=literal)
        self.in_background(self.perform, copy.deepcopy(execution))
        return execution

    @staticmethod
    def context(user=None, trace_tag=None, more=None):
        """Returns the context of an execution that somebody asks for."""
        context = dict(more or {}, user=user or SYSTEM_USER)
        if trace_tag:
            context["trace_context"] = {"trace_tag": trace_tag}
        return context

    def request(
        self, ref, given=None, context=None, parent=None, extra=None, literal=False
    ) -> Execution:
        """Renders and checks the parameters of an action and records that it is to run.

        :param given: name -> value, values may be templates.
        :param parent: id of the workflow's execution this is a task of.
        :param extra: more names for templates, such as a rule's ``trigger``.
        :param literal: take what was given as it is; templates are rendered in defaults only, and
            only when the action runs. StackStorm treats what people type in chat like this.
        """
        action = self.registry.action(ref)
        if not action.enabled:
            raise ActionDisabled(f'Unable to execute. Action "{ref}" is disabled.')
        context = dict(context or self.context(), pack=action.pack)
        live = dict(given or {})
        if not literal:
            live = parameters.live_parameters(
                action,
                live,
                context,
                self._config_or_nothing(action, context),
                self.store.keys,
                extra,
            )
        parameters.validate(action, live)
        execution = Execution(
            id=new_id(),
            action=ref,
            runner=action.runner.name,
            status="requested",
            parameters=live,
            context=context,
            start_timestamp=now(),
            parent=parent,
        )
        self.store.add_execution(execution)
        self._tell("status", execution)
        return execution

    def perform(self, execution: Execution, delay: float = 0) -> Execution:
        """Runs a requested execution to its end; never raises for what the action does.

        :param delay: seconds to wait first.
        """
        self._watch()
        if delay and not self._wait_delayed(execution, delay):
            return execution
        if not policies.admit(self, execution):
            return execution
        try:
            status, result = self._run(execution)
        except (RunnerError, parameters.ParameterError, config.ConfigError) as error:
            status, result = FAILED, {"error": str(error), "traceback": ""}
        except Exception as error:
            status = FAILED
            result = {"error": str(error), "traceback": traceback.format_exc()}
        self.set_status(execution, status, result)
        self._settle(execution)
        policies.retry(self, execution)
        return execution

    def _run(self, execution):
        action = self.registry.action(execution.action)
        runner_parameters, action_parameters = parameters.final_parameters(
            action,
            execution.parameters,
            execution.context,
            self.config(action.pack, execution.user),
            self.store.keys,
        )
        run = Run(self, execution, action, runner_parameters, action_parameters)
        return runners.RUNNERS[action.runner.name](run)

    def _wait_delayed(self, execution, seconds):
        """Waits; returns whether the execution may go on."""
        self.set_status(execution, "delayed")
        canceled = threading.Event()
        with self.cancelable(execution.id, canceled.set):
            if not canceled.wait(seconds):
                return True
        self.set_status(execution, CANCELED, {})
        return False

    def in_background(self, function, *arguments):
        """Calls a function in a thread that :meth:`close` waits for."""
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        with self._lock:
            self._background = [other for other in self._background if other.is_alive()]
            self._background.append(thread)
        thread.start()

    def wait_for_background(self):
        """Waits until nothing runs in the background any more."""
        while True:
            with self._lock:
                running = [thread for thread in self._background if thread.is_alive()]
            if not running:
                return
            running[0].join()

    def stop_background(self, seconds):
        """Lets what runs in the background end within some seconds, then abandons and kills it."""
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._background)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        # What is only about to start shows up among the handles a moment later.
        while any(thread.is_alive() for thread in threads):
            for identifier, handle in list(self._handles.items()):
                self.set_status(self.store.execution(identifier), ABANDONED)
                handle.cancel()
            time.sleep(_ABANDON_INTERVAL)

    # What actions and their runners need

    def python(self, pack):
        """Returns the Python of a pack's virtualenv, or this one when the pack has none."""
        own = os.path.join(self.data_dir, "virtualenvs", pack, "bin", "python")
        return own if os.path.exists(own) else sys.executable

    def config(self, pack, user=None):
        """Returns a pack's configuration. Raises packengine.config.ConfigError."""
        return self.configurations.get(self.registry.packs[pack], user)

    def _config_or_nothing(self, action, context):
        # A configuration that cannot be read fails the action when it runs, not when it is asked
        # for: StackStorm does the same.
        try:
            return self.config(action.pack, context.get("user"))
        except config.ConfigError:
            return {}

    def set_status(self, execution, status, result=None):
        """Records a status and tells the listeners; a completed execution stays as it is."""
        if status not in COMPLETED and status == execution.status and result is None:
            return
        if self.store.set_status(execution, status, result):
            self._tell("status", execution)
            if status in COMPLETED and self._action_trigger_is_used:
                self.dispatch(ACTION_TRIGGER, service.action_payload(execution))

    def subscribe(self, listener: Callable[[str, Any], None]):
        """Calls a function from now on with ("status", execution) and ("announcement", dict).

        It is called by the thread that made the change, and must be quick.
        """
        self._listeners.append(listener)

    def announce(self, route, message):
        """Tells the listeners something."""
        self._tell("announcement", {"route": route, "message": message})

    def tell_status(self, execution):
        """Tells the listeners of a status that was recorded already."""
        self._tell("status", execution)

    def _tell(self, event, what):
        for listener in self._listeners:
            listener(event, what)

    # Triggers and rules

    def dispatch(self, trigger, payload, trace_tag=None, parameters=None):
        """Leaves a trigger instance for the rules; returns its id.

        Raises ValueError when there is no such trigger or the payload does not fit its schema.
        """
        problem = service.payload_problem(self.registry, trigger, payload)
        if problem:
            raise ValueError(problem)
        identifier = self.store.add_trigger_instance(trigger, payload, trace_tag, parameters)
        if self._service:
            self._service.wake()
        return identifier

    def rules(self):
        """Returns all rules, as enabled as somebody made them."""
        states = self.store.rule_states()
        return [
            dataclasses.replace(rule, enabled=states.get(ref, rule.enabled))
            for ref, rule in sorted(self.registry.rules.items())
        ]

    def enable_rule(self, ref, enabled=True):
        """Enables or disables a rule; it stays so. Raises packengine.packs.UnknownReference."""
        self.registry.rule(ref)
        self.store.set_rule_state(ref, enabled)

    def serve(self, ready: Callable[[], None] | None = None):
        """Runs sensors, timers, webhooks and rules until :meth:`stop` is called.

        :param ready: called once everything listens; ``api_port`` then is the port taken.
        """
        self._service = service.Service(self)
        if self._stop_wished:
            self._service.stop()
        try:
            self._service.run(ready)
        finally:
            self._service = None

    def stop(self):
        """Makes :meth:`serve` return, also one that is only about to begin."""
        self._stop_wished = True
        if self._service:
            self._service.stop()

    # Wishes: cancel, pause, resume

    @contextlib.contextmanager
    def cancelable(self, identifier, cancel, pause=None, report=None):
        """While in this context, wishes about an execution are granted by these functions."""
        self._handles[identifier] = _Handle(cancel, pause, report)
        try:
            yield
        finally:
            self._handles.pop(identifier, None)

    def cancel(self, identifier: str, user: str | None = None) -> Execution:
        """Asks for an execution to be canceled. Raises LookupError, and ValueError when it is over.

        A single action is killed. A workflow starts nothing more and ends when its actions have.

        :param user: who asks.
        """
        execution = self.store.execution(identifier)
        if execution.is_completed:
            raise ValueError(
                f'Unable to cancel execution "{identifier}" because it is already in a completed '
                "state."
            )
        if execution.status in (PAUSED, PENDING):
            self._cancel_waiting(execution)
        elif not self._wish(execution, {"do": "cancel", "user": user}):
            self.set_status(execution, CANCELED, execution.result)
        if execution.runner == "orquesta" and execution.parent:
            self._cancel_upwards(execution.parent, user)
        return self.store.execution(identifier)

    def _cancel_upwards(self, identifier, user):
        """Cancels the workflows above a canceled one, as StackStorm does."""
        execution = self.store.execution(identifier)
        if not execution.is_completed and execution.status != "canceling":
            self.cancel(identifier, user)

    def _cancel_waiting(self, execution):
        self.store.take_workflow_state(execution.id)
        self.set_status(execution, CANCELED, execution.result)
        for child in self.children(execution.id):
            if child.status in (PAUSED, PENDING):
                self._cancel_waiting(child)
        self._report(execution)

    def pause(self, identifier: str) -> Execution:
        """Asks for a workflow to pause once its running tasks have ended.

        Raises LookupError, and ValueError for what is no workflow that runs.
        """
        execution = self.store.execution(identifier)
        if execution.runner != "orquesta" or not self._wish(execution, {"do": "pause"}):
            raise ValueError(f'Execution "{identifier}" is not a workflow that runs.')
        return self.store.execution(identifier)

    def resume(self, identifier: str) -> Execution:
        """Goes on with a paused workflow in the background of this process.

        Raises LookupError, and ValueError when it is not paused.
        """
        execution = self.store.execution(identifier)
        if execution.runner != "orquesta" or execution.status != PAUSED:
            raise ValueError(f'Execution "{identifier}" is not paused (it is {execution.status}).')
        self.in_background(self.carry_on, copy.deepcopy(execution))
        return execution

    def respond(self, identifier: str, response: dict, user: str | None = None) -> Execution:
        """Answers an inquiry; its workflow goes on in the background of this process.

        :param response: what the inquiry's schema asks for.
        :param user: who answers.

        Raises LookupError, and ValueError when nobody asks any more, the user may not answer, or
        the response does not fit.
        """
        execution = self.store.execution(identifier)
        inquiries.check(execution, response, user or SYSTEM_USER)
        self.set_status(execution, SUCCEEDED, dict(execution.result, response=response))
        self._report(execution)
        return execution

    def carry_on(self, execution: Execution, report: Execution | None = None):
        """Goes on with a paused workflow; returns when it ends or pauses again.

        :param report: the task's execution that makes it go on, None when somebody resumed it.
        """
        state = self.store.take_workflow_state(execution.id)
        if state is None:  # somebody else, here or in another process, was quicker
            if report is not None:
                time.sleep(_WATCH_INTERVAL)
                self._report(report)
            return
        self._watch()
        self.store.adopt(execution)
        self.set_status(execution, "running")
        try:
            status, result = conductor.carry_on(self, execution, state, report)
        except Exception as error:
            status, result = FAILED, {"errors": [{"message": str(error)}], "output": None}
        self.set_status(execution, status, result)
        self._settle(execution)
        self._report(execution)

    def _report(self, execution):
        """Tells the workflow an execution is a task of that it has changed."""
        if execution.parent is None:
            return
        parent = self.store.execution(execution.parent)
        if parent.status != PAUSED:
            self._wish(parent, {"do": "report", "execution": execution.id})
            parent = self.store.execution(parent.id)
            # It may have paused meanwhile, without having seen the report.
            if parent.status != PAUSED or not self.store.take_wishes({parent.id}):
                return
        self.in_background(self.carry_on, parent, copy.deepcopy(execution))

    def _wish(self, execution, wish):
        """Has the process that runs an execution do something; returns whether there is one."""
        if self._grant(execution.id, wish):
            return True
        if execution.is_completed or not is_alive(self.store.owner_of(execution.id)):
            return False
        self.store.wish(execution.id, wish)
        return True

    def _grant(self, identifier, wish):
        """Does what is wished of an execution of this process; returns whether that was possible."""
        handle = self._handles.get(identifier)
        if handle is None:
            return False
        if wish["do"] == "cancel":
            return handle.cancel() is not False
        if wish["do"] == "pause":
            return handle.pause is not None and handle.pause()
        return handle.report(self.store.execution(wish["execution"]))

    def _settle(self, execution):
        """Takes care of what was reported to a workflow just as it paused."""
        if execution.status == PAUSED:
            for _, wish in self.store.take_wishes({execution.id}):
                if wish["do"] == "report":
                    self._report(self.store.execution(wish["execution"]))

    def _watch(self):
        with self._lock:
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._grant_wishes, daemon=True)
                self._watcher.start()

    def _grant_wishes(self):
        while not self._closed.wait(_WATCH_INTERVAL):
            for identifier, wish in self.store.take_wishes(set(self._handles)):
                if not self._grant(identifier, wish):
                    self.store.wish(identifier, wish)

    # Looking at executions

    def execution(self, identifier: str) -> Execution:
        """Returns an execution. Raises LookupError."""
        return self.store.execution(identifier)

    def executions(self, action=None, status=None, limit=None, top_level=True):
        """Returns executions, newest first; tasks of workflows only if not ``top_level``."""
        return self.store.executions(action, status, limit, top_level)

    def children(self, identifier: str):
        """Returns the executions of a workflow's tasks, oldest first."""
        return self.store.children(identifier)

    def masked(self, execution: Execution) -> Execution:
        """Returns a copy fit to be shown: secret parameters, results and settings replaced."""
        shown = copy.deepcopy(execution)
        action = self.registry.actions.get(execution.action)
        if action is not None:
            shown.parameters = schema.mask(shown.parameters, action.parameter_schema())
            key = action.runner.output_key
            if key and isinstance(shown.result, dict) and key in shown.result:
                output_schema = action.output_schema
                if output_schema and "type" not in output_schema:
                    output_schema = {"type": "object", "properties": output_schema}
                shown.result[key] = schema.mask(shown.result[key], output_schema)
            if execution.runner == "inquirer":
                shown.result = inquiries.masked(shown.result)
        secrets = self._secret_settings()
        if secrets:
            shown.parameters = _without(shown.parameters, secrets)
            shown.result = _without(shown.result, secrets)
        return shown

    def _secret_settings(self):
        secrets = set()
        for pack in self.registry.packs.values():
            if pack.config_schema:
                try:
                    values = self.configurations.get(pack, None)
                except config.ConfigError:
                    continue
                secrets |= config.secret_values(values, pack.config_schema)
        # Shorter texts would also be found in places where they are no secret.
        return sorted((text for text in secrets if len(text) >= 4), key=len, reverse=True)


class _Handle(NamedTuple):
    """What to call when somebody wishes something of an execution of this process."""

    cancel: Callable[[], Any]
    pause: Callable[[], bool] | None
    report: Callable[[Execution], bool] | None


def _without(value, secrets):
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, schema.MASK)
        return value
    if isinstance(value, dict):
        return {key: _without(child, secrets) for key, child in value.items()}
    if isinstance(value, list):
        return [_without(item, secrets) for item in value]
    return value
