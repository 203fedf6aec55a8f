"""The engine: requests, runs, cancels and remembers executions of actions."""

from __future__ import annotations

import copy
import dataclasses
import os
import sys
import tempfile
import threading
import time
import traceback
from typing import Any, Callable, Iterable

from packengine import (
    config,
    inquiries,
    masking,
    parameters,
    policies,
    runners,
    service,
)
from packengine.datastore import new_id, now
from packengine.execution import (
    ABANDONED,
    CANCELED,
    COMPLETED,
    FAILED,
    PAUSED,
    PENDING,
    SUCCEEDED,
    SYSTEM_USER,
    Context,
    Execution,
    Parameters,
)
from packengine.packs import ActionDisabled, Registry
from packengine.resources import Action, Rule
from packengine.run import Ending, Run, RunnerError
from packengine.store import Store
from packengine.waiting import Waiting
from packengine.wishes import Wishes

# Where StackStorm's own API listens.
DEFAULT_API_PORT = 9101

# Tells rules that an action has ended.
ACTION_TRIGGER = "core.st2.generic.actiontrigger"

# Seconds between looks for what has started since, when everything is to end.
_ABANDON_INTERVAL_S = 0.05

# Is told ("status", execution) and ("announcement", {"route", "message"}).
Listener = Callable[[str, Any], None]


class Engine:
    """Runs packs.

    :param packs: directories of packs; the core pack is always there.
    :param config_dir: directory of ``<pack>.yaml`` configurations, None for defaults only.
    :param data_dir: directory of the database and virtualenvs; a temporary one when None.
    :param api_port: TCP port of webhooks, which :meth:`serve` listens on.
    :raises packengine.packs.PackError: when a directory is no pack.
    """

    def __init__(
        self,
        packs: Iterable[str] = (),
        config_dir: str | None = None,
        data_dir: str | None = None,
        api_port: int = DEFAULT_API_PORT,
    ) -> None:
        self.registry = Registry(packs)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        if not data_dir:
            self._temporary = tempfile.TemporaryDirectory(prefix="engine-")
            data_dir = self._temporary.name
        self.data_dir = os.path.abspath(data_dir)
        self.store = Store(self.data_dir)
        self.configurations = config.Configurations(config_dir, self.store.keys)
        self.api_port = api_port
        self._action_trigger_is_used = any(
            rule.trigger == ACTION_TRIGGER for rule in self.registry.rules.values()
        )
        self.wishes = Wishes(self.store)
        self.waiting = Waiting(self)
        self._listeners: list[Listener] = []
        self._background: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._service: service.Service | None = None
        self._stop_wished = False
        self.store.abandon_orphans()

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}/api/v1"

    def close(self) -> None:
        """Waits for what runs in the background, then lets go of the database."""
        self.wait_for_background()
        self.wishes.close()
        self.store.close()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Running actions

    def run(
        self,
        ref: str,
        parameters: Parameters | None = None,
        user: str | None = None,
        trace_tag: str | None = None,
        context: Context | None = None,
    ) -> Execution:
        """Runs an action and returns its execution, completed (or paused, or pending an answer).

        :param ref: ``pack.action``.
        :param parameters: name -> value.
        :param user: who asks, the system user when None.
        :param trace_tag: ties executions of one cause together.
        :param context: more for the execution's context, such as ``api_user``.
        :raises packengine.packs.UnknownReference: when there is no such action.
        :raises packengine.packs.ActionDisabled: when it may not be run.
        :raises packengine.parameters.ParameterError: when a parameter does not fit.
        """
        execution = self.request(ref, parameters, self.context(user, trace_tag, context))
        return self.perform(execution)

    def start(
        self,
        ref: str,
        parameters: Parameters | None = None,
        user: str | None = None,
        trace_tag: str | None = None,
        context: Context | None = None,
        literal: bool = False,
    ) -> Execution:
        """Like :meth:`run`, but return at once; the action runs in a thread of this process.

        :param literal: take the parameters as they are, templates and all.
        """
        context = self.context(user, trace_tag, context)
        execution = self.request(ref, parameters, context, literal=literal)
        self.in_background(self.perform, copy.deepcopy(execution))
        return execution

    @staticmethod
    def context(
        user: str | None = None, trace_tag: str | None = None, more: Context | None = None
    ) -> Context:
        """Returns the context of an execution that somebody asks for."""
        context = dict(more or {}, user=user or SYSTEM_USER)
        if trace_tag:
            context["trace_context"] = {"trace_tag": trace_tag}
        return context

    def request(
        self,
        ref: str,
        given: Parameters | None = None,
        context: Context | None = None,
        parent: str | None = None,
        extra: dict[str, Any] | None = None,
        literal: bool = False,
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
        self.wishes.watch()
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
        self.waiting.settle(execution)
        policies.retry(self, execution)
        return execution

    def _run(self, execution: Execution) -> Ending:
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

    def _wait_delayed(self, execution: Execution, seconds: float) -> bool:
        """Waits; returns whether the execution may go on."""
        self.set_status(execution, "delayed")
        canceled = threading.Event()
        with self.wishes.granted_by(execution.id, canceled.set):
            if not canceled.wait(seconds):
                return True
        self.set_status(execution, CANCELED, {})
        return False

    def in_background(self, function: Callable[..., object], *arguments: object) -> None:
        """Calls a function in a thread that :meth:`close` waits for."""
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        with self._lock:
            self._background = [other for other in self._background if other.is_alive()]
            self._background.append(thread)
        thread.start()

    def wait_for_background(self) -> None:
        """Waits until nothing runs in the background any more."""
        while True:
            with self._lock:
                running = [thread for thread in self._background if thread.is_alive()]
            if not running:
                return
            running[0].join()

    def stop_background(self, seconds: float) -> None:
        """Lets what runs in the background end within some seconds, then abandons and kills it."""
        deadline = time.monotonic() + seconds
        with self._lock:
            threads = list(self._background)
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
        # What is only about to start shows up among what runs a moment later.
        while any(thread.is_alive() for thread in threads):
            for identifier in self.wishes.running():
                self.set_status(self.store.execution(identifier), ABANDONED)
                self.wishes.grant(identifier, {"do": "cancel"})
            time.sleep(_ABANDON_INTERVAL_S)

    # What actions and their runners need

    def python(self, pack: str) -> str:
        """Returns the Python of a pack's virtualenv, or this one when the pack has none."""
        own = os.path.join(self.data_dir, "virtualenvs", pack, "bin", "python")
        return own if os.path.exists(own) else sys.executable

    def config(self, pack: str, user: str | None = None) -> dict[str, Any]:
        """Returns a pack's configuration as an action of the pack sees it.

        :param user: whose keys of the datastore it may name.
        :raises packengine.config.ConfigError: when it cannot be used.
        """
        return self.configurations.get(self.registry.packs[pack], user)

    def _config_or_nothing(self, action: Action, context: Context) -> dict[str, Any]:
        # A configuration that cannot be read fails the action when it runs, not when it is asked
        # for: StackStorm does the same.
        try:
            return self.config(action.pack, context.get("user"))
        except config.ConfigError:
            return {}

    def set_status(self, execution: Execution, status: str, result: Any = None) -> None:
        """Records a status and tells the listeners; a completed execution stays as it is."""
        if status not in COMPLETED and status == execution.status and result is None:
            return
        if self.store.set_status(execution, status, result):
            self._tell("status", execution)
            if status in COMPLETED and self._action_trigger_is_used:
                self.dispatch(ACTION_TRIGGER, service.action_payload(execution))

    def subscribe(self, listener: Listener) -> None:
        """Tells a listener what happens from now on.

        It is called by the thread that made the change, and must be quick.
        """
        self._listeners.append(listener)

    def announce(self, route: str, message: Parameters) -> None:
        """Tells the listeners something."""
        self._tell("announcement", {"route": route, "message": message})

    def tell_status(self, execution: Execution) -> None:
        """Tells the listeners of a status that was recorded already."""
        self._tell("status", execution)

    def _tell(self, event: str, what: Any) -> None:
        for listener in self._listeners:
            listener(event, what)

    # Triggers and rules

    def dispatch(
        self,
        trigger: str,
        payload: Any,
        trace_tag: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Leaves a trigger instance for the rules; returns its id.

        :param parameters: tell triggers of one type apart, such as the URL of a webhook.
        :raises ValueError: when there is no such trigger or the payload does not fit its schema.
        """
        problem = service.payload_problem(self.registry, trigger, payload)
        if problem:
            raise ValueError(problem)
        identifier = self.store.rules.add_instance(trigger, payload, trace_tag, parameters)
        if self._service:
            self._service.wake()
        return identifier

    def rules(self) -> list[Rule]:
        """Returns all rules, as enabled as somebody made them."""
        states = self.store.rules.states()
        return [
            dataclasses.replace(rule, enabled=states.get(ref, rule.enabled))
            for ref, rule in sorted(self.registry.rules.items())
        ]

    def enable_rule(self, ref: str, enabled: bool = True) -> None:
        """Enables or disables a rule; it stays so.

        :raises packengine.packs.UnknownReference: when there is no such rule.
        """
        self.registry.rule(ref)
        self.store.rules.set_state(ref, enabled)

    def serve(self, ready: Callable[[], None] | None = None) -> None:
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

    def stop(self) -> None:
        """Makes :meth:`serve` return, also one that is only about to begin."""
        self._stop_wished = True
        if self._service:
            self._service.stop()

    # Cancel, pause, resume, answer

    def cancel(self, identifier: str) -> Execution:
        """Asks for an execution to be canceled.

        A single action is killed. A workflow starts nothing more and ends when its actions have.

        :raises LookupError: when there is no such execution.
        :raises ValueError: when it is over.
        """
        execution = self.store.execution(identifier)
        if execution.is_completed:
            raise ValueError(
                f'Unable to cancel execution "{identifier}" because it is already in a completed '
                "state."
            )
        if execution.status in (PAUSED, PENDING):
            self.waiting.cancel(execution)
        elif not self.wishes.make(execution, {"do": "cancel"}):
            self.set_status(execution, CANCELED, execution.result)
        if execution.runner == "orquesta" and execution.parent:
            self._cancel_upwards(execution.parent)
        return self.store.execution(identifier)

    def _cancel_upwards(self, identifier: str) -> None:
        """Cancels the workflows above a canceled one, as StackStorm does."""
        execution = self.store.execution(identifier)
        if not execution.is_completed and execution.status != "canceling":
            self.cancel(identifier)

    def pause(self, identifier: str) -> Execution:
        """Asks for a workflow to pause once its running tasks have ended.

        :raises LookupError: when there is no such execution.
        :raises ValueError: when it is no workflow that runs.
        """
        execution = self.store.execution(identifier)
        if execution.runner != "orquesta" or not self.wishes.make(execution, {"do": "pause"}):
            raise ValueError(f'Execution "{identifier}" is not a workflow that runs.')
        return self.store.execution(identifier)

    def resume(self, identifier: str) -> Execution:
        """Goes on with a paused workflow in the background of this process.

        :raises LookupError: when there is no such execution.
        :raises ValueError: when it is not paused.
        """
        execution = self.store.execution(identifier)
        if execution.runner != "orquesta" or execution.status != PAUSED:
            raise ValueError(f'Execution "{identifier}" is not paused (it is {execution.status}).')
        self.in_background(self.waiting.carry_on, copy.deepcopy(execution))
        return execution

    def respond(
        self, identifier: str, response: dict[str, Any], user: str | None = None
    ) -> Execution:
        """Answers an inquiry; its workflow goes on in the background of this process.

        :param response: what the inquiry's schema asks for.
        :param user: who answers.
        :raises LookupError: when there is no such execution.
        :raises ValueError: when nobody asks any more, the user may not answer, or the response
            does not fit.
        """
        execution = self.store.execution(identifier)
        inquiries.check(execution, response, user or SYSTEM_USER)
        self.set_status(execution, SUCCEEDED, dict(execution.result, response=response))
        self.waiting.report(execution)
        return execution

    # Looking at executions

    def execution(self, identifier: str) -> Execution:
        """Returns an execution.

        :raises LookupError: when there is none of that id.
        """
        return self.store.execution(identifier)

    def executions(
        self,
        action: str | None = None,
        status: str | None = None,
        limit: int | None = None,
        top_level: bool = True,
    ) -> list[Execution]:
        """Returns executions, newest first.

        :param limit: how many, None for all.
        :param top_level: leave out the tasks of workflows.
        """
        return self.store.executions(action, status, limit, top_level)

    def children(self, identifier: str) -> list[Execution]:
        """Returns the executions of a workflow's tasks, oldest first."""
        return self.store.children(identifier)

    def masked(self, execution: Execution) -> Execution:
        """Returns a copy fit to be shown: secret parameters, results and settings replaced."""
        return masking.masked(execution, self.registry, self.configurations)
