"""What `serve` runs: sensors, timers, webhooks, and the rules they feed."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Callable, Protocol, TextIO

from packengine import ports, rules, schema, workflows
from packengine.execution import Execution
from packengine.packs import Registry
from packengine.rule_records import TriggerInstance
from packengine.sensors import RESPAWN_DELAY_S, SensorContainer
from packengine.timers import Timers
from packengine.webhooks import WebhookServer

if TYPE_CHECKING:
    from packengine.engine import Engine

LOG = logging.getLogger(__name__)

# Seconds between looks for trigger instances that other processes left.
_INTERVAL_S = 0.05
# Seconds running executions get to end when the service stops.
GRACE_S = 5


class AlreadyServed(ValueError):
    """Another process serves this data directory, or listens on the port."""


class _Part(Protocol):
    """What feeds the rules."""

    def start(self) -> None: ...

    def stop(self) -> None: ...


class Service:
    """Runs until it is stopped.

    :param engine: what is served.
    :param respawn_delay_s: seconds before a sensor that died is started again.
    :raises AlreadyServed: when another process does.
    """

    def __init__(self, engine: Engine, respawn_delay_s: float = RESPAWN_DELAY_S) -> None:
        self._engine = engine
        self._lock = self._take_lock()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._rules = rules.RuleEngine(engine)
        self.sensors = SensorContainer(engine, respawn_delay_s)
        self._timers = Timers(engine)
        self._webhooks = self._listen()
        engine.api_port = self._webhooks.port

    def _take_lock(self) -> TextIO:
        path = os.path.join(self._engine.data_dir, "serve.lock")
        lock = open(path, "w", encoding="utf-8")  # noqa: SIM115 - held for as long as it serves
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise AlreadyServed(
                f"Another process serves {self._engine.data_dir}; stop it first, "
                "or name another directory with --data-dir"
            ) from None
        return lock

    def _listen(self) -> WebhookServer:
        port = self._engine.api_port
        try:
            return WebhookServer(self._engine, port)
        except OSError as error:
            self._lock.close()
            why = error.strerror
            if error.errno == errno.EADDRINUSE:
                why = f"{ports.holder(port) or 'another process'} listens there"
            raise AlreadyServed(
                f"Cannot listen for webhooks on 127.0.0.1:{port}: {why}; "
                "choose another port with --api-port"
            ) from error

    def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serves until :meth:`stop`.

        :param ready: called once everything listens.
        """
        if any(action.is_workflow for action in self._engine.registry.actions.values()):
            workflows.orquesta()  # now, so that the first workflow need not wait for it
        parts: tuple[_Part, ...] = (self._webhooks, self.sensors, self._timers)
        for part in parts:
            part.start()
        try:
            if ready:
                ready()
            self._handle_instances()
        finally:
            for part in parts:
                part.stop()
            self._engine.stop_background(GRACE_S)
            self._lock.close()

    def stop(self) -> None:
        """Makes :meth:`run` return; may be called by a signal handler or another thread."""
        self._stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """Has trigger instances of this process looked at now."""
        self._wake.set()

    def _handle_instances(self) -> None:
        seen = None
        while not self._stopping.is_set():
            woken = self._wake.wait(_INTERVAL_S)
            self._wake.clear()
            count = self._engine.store.change_count()
            if woken or count != seen:
                seen = count
                for instance in self._engine.store.rules.take_instances():
                    self._handle(instance)

    def _handle(self, instance: TriggerInstance) -> None:
        try:
            problem = payload_problem(self._engine.registry, instance.trigger, instance.payload)
            if problem:
                LOG.warning(
                    "Trigger payload validation failed, not dispatching a trigger %s: %s",
                    instance.trigger,
                    problem,
                )
                self._engine.store.rules.set_instance_status(instance.id, "rejected")
                return
            self._rules.handle(instance)
        except Exception:
            LOG.exception("Trigger instance %s of %s", instance.id, instance.trigger)
            self._engine.store.rules.set_instance_status(instance.id, "processing_failed")


def payload_problem(registry: Registry, ref: str, payload: Any) -> str | None:
    """Returns why a payload may not be dispatched, None when it may."""
    trigger = registry.triggers.get(ref)
    if trigger is None:
        return f'Trigger type with reference "{ref}" doesn\'t exist'
    if not trigger.payload_schema:
        return None
    try:
        schema.validate(payload, trigger.payload_schema, schema.dotted)
    except schema.SchemaError as error:
        return str(error)
    return None


def action_payload(execution: Execution) -> dict[str, Any]:
    """Returns the payload of core.st2.generic.actiontrigger for a completed execution."""
    return {
        "execution_id": execution.id,
        "status": execution.status,
        "start_timestamp": execution.start_timestamp,
        "action_name": execution.action,
        "action_ref": execution.action,
        "runner_ref": execution.runner,
        "parameters": execution.parameters,
        "result": execution.result,
    }
