"""Fires the timers that rules ask for: core.st2.IntervalTimer and core.st2.DateTimer."""

from __future__ import annotations

import datetime
import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any, Dict

if TYPE_CHECKING:
    from packengine.engine import Engine

LOG = logging.getLogger(__name__)

INTERVAL = "core.st2.IntervalTimer"
DATE = "core.st2.DateTimer"

# A timer's parameters: unit and delta, or date; and timezone.
Parameters = Dict[str, Any]


class Timers:
    """One thread for each timer.

    :param engine: knows the rules and takes the triggers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Starts the timers of all rules; a timer that no enabled rule uses starts nothing."""
        seen = []
        for rule in self._engine.registry.rules.values():
            timer = (rule.trigger, rule.trigger_parameters)
            if rule.trigger in (INTERVAL, DATE) and timer not in seen:
                seen.append(timer)
                thread = threading.Thread(target=self._run, args=timer, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _run(self, trigger: str, parameters: Parameters) -> None:
        if trigger == INTERVAL:
            seconds = interval_seconds(parameters)
            while not self._stopping.wait(seconds):
                self._fire(trigger, parameters)
            return
        seconds = seconds_until(parameters)
        if seconds < 0:
            LOG.warning("Not scheduling expired timer: %s", parameters)
        elif not self._stopping.wait(seconds):
            self._fire(trigger, parameters)

    def _fire(self, trigger: str, parameters: Parameters) -> None:
        name = trigger.split(".", 1)[1]
        moment = datetime.datetime.now(datetime.timezone.utc)
        self._engine.dispatch(
            trigger,
            {"executed_at": str(moment), "schedule": None},
            trace_tag=f"{name}-{uuid.uuid4().hex}",
            parameters=parameters,
        )


def interval_seconds(parameters: Parameters) -> float:
    """Returns the length of an interval timer in seconds."""
    return datetime.timedelta(**{parameters["unit"]: parameters["delta"]}).total_seconds()


def seconds_until(parameters: Parameters) -> float:
    """Returns the seconds until a date timer's moment, negative when it has passed."""
    from dateutil import parser, tz

    moment = parser.parse(parameters["date"])
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=tz.gettz(parameters.get("timezone")) or tz.UTC)
    return (moment - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
