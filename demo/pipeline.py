"""Follows the embedded engine's steps and the delivery's events as they happen."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any, Callable

from delivery.application import Application
from demo import screen
from packengine.engine import Engine
from sandbox import pace

POLL_S = 0.05
# Steps of the engine, not of the story.
UNTOLD_ACTIONS = ("core.noop", "chatops.post_message", "cicd_canary.github_report")


class PipelineFailed(Exception):
    """The awaited state will not come."""


class Follower:
    """Tells of every step that ends, and of every event, until something has happened.

    :param engine: shares its database with the engine that serves.
    :param application: whose events are told.
    """

    def __init__(self, engine: Engine, application: Application) -> None:
        self.engine = engine
        self.application = application
        self.told: set[str] = {each.id for each in self._completed()}
        self.steps: list[Any] = []
        self.began = time.monotonic()
        self.began_at = time.time()
        self._last_event = self._newest_event()

    def follow(
        self,
        until: Callable[[], bool],
        timeout_s: float,
        failures: tuple[str, ...] = ("build_failed", "packaging_failed", "rollout_failed"),
    ) -> float:
        """Tells what happens until `until()` is true and all has ended.

        :param timeout_s: seconds in which nothing happens, after which it is given up.

        :returns: the seconds until it was true.

        :raises PipelineFailed: when one of these events happens instead, or nothing happens.
        """
        took_s = 0.0
        alive_at = self.began
        while True:
            took_s = took_s or (time.monotonic() - self.began if until() else 0.0)
            at_rest = self._at_rest()
            steps, events = self._tell_steps(), self._tell_events()
            failed = [each for each in events if each["type"] in failures]
            if failed:
                raise PipelineFailed(failed[0]["message"])
            if took_s and at_rest:
                return took_s
            if steps or events:
                alive_at = time.monotonic()
            if time.monotonic() - alive_at > timeout_s:
                raise PipelineFailed(
                    f"nothing happened for {timeout_s:g} s, with {pace.load()}; "
                    f"{self._running() or 'no step'} was running"
                )
            time.sleep(POLL_S)

    def _running(self) -> str:
        """Returns the steps that have not ended, in words."""
        found = self.engine.executions(top_level=False)
        return ", ".join(each.action for each in found if not each.is_completed)

    def _tell_steps(self) -> int:
        """Tells the steps that have ended since last time; returns how many."""
        told = len(self.steps)
        for execution in sorted(self._completed(), key=lambda each: each.end_timestamp):
            if execution.id in self.told:
                continue
            self.told.add(execution.id)
            if execution.runner == "orquesta" or execution.action in UNTOLD_ACTIONS:
                continue
            self.steps.append(execution)
            screen.step(
                self._seconds_in(execution.end_timestamp),
                self._workflow(execution),
                execution.task_name or execution.action.split(".")[1],
                execution.elapsed_seconds,
                execution.status == "succeeded",
            )
        return len(self.steps) - told

    def _tell_events(self) -> list[dict[str, Any]]:
        new = [each for each in self.application.events.all() if each["id"] > self._last_event]
        for each in new:
            self._last_event = each["id"]
            screen.event(time.monotonic() - self.began, each["message"])
        return new

    def _completed(self) -> list[Any]:
        return [each for each in self.engine.executions(top_level=False) if each.is_completed]

    def _at_rest(self) -> bool:
        return all(each.is_completed for each in self.engine.executions(top_level=False))

    def _workflow(self, execution: Any) -> str:
        parent: str | None = execution.parent
        return self.engine.execution(parent).action.split(".")[1] if parent else ""

    def _newest_event(self) -> str:
        events = self.application.events.all()
        return events[-1]["id"] if events else ""

    def _seconds_in(self, timestamp: str) -> float:
        return seconds_of(timestamp) - self.began_at


def seconds_of(timestamp: str) -> float:
    """Returns the seconds since the epoch of an execution's timestamp."""
    moment = datetime.strptime(timestamp + "+0000", "%Y-%m-%dT%H:%M:%S.%fZ%z")
    return moment.timestamp()
