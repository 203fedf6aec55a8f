"""Turns the events that the delivery records in Consul into triggers, each at least once."""

from __future__ import annotations

import os
import sys
import time
from typing import Any, Mapping

from st2reactor.sensor.base import Sensor

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions", "lib"))

from delivery_sensor import DeliverySensor

from delivery.application import Application, unseen_events
from delivery.changes import what_ships
from delivery.errors import DeliveryError
from delivery.github import HOW_TO_AUTHENTICATE, is_configured
from delivery.names import plain
from delivery.next_step import next_promotion
from delivery.rollout.record import Rollout
from delivery.store import ConsulUnreachable

TRIGGER = "cicd_canary.event"
WAIT_S = 60
PAUSE_AFTER_ERROR_S = 5


class Events(DeliverySensor, Sensor):
    """Waits for Consul with blocking queries, so that an event is a trigger within milliseconds.

    How far an application's events were handed over is kept in Consul too. What happened while
    this sensor, StackStorm or Consul was away is handed over later, in order.
    """

    def __init__(self, sensor_service: Any, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(sensor_service=sensor_service, config=config)
        self._logger = sensor_service.get_logger(name=self.__class__.__name__)
        self._index = 0

    def setup(self) -> None:
        configuration = self.configuration()
        self.store = configuration.store()
        self.web_url = configuration.web_url()
        chat = configuration.section("chat")
        self.told = {"channel": chat["channel"], "route": chat["route"]}
        if not is_configured(configuration.section("github")):
            self._logger.info("Nothing is reported to GitHub; %s", HOW_TO_AUTHENTICATE)

    def run(self) -> None:
        while True:
            self.step()

    def step(self) -> None:
        """Waits for a change, at most a minute, and hands over what is new."""
        try:
            keys, self._index = self.store.wait_for_keys(self._index, WAIT_S)
            for application, event in unseen_events(self.store, keys):
                self._dispatch(application, event)
                application.events.mark_seen(event["id"])
        except DeliveryError as error:
            self._rest(error)
        except Exception as error:
            # The message bus may be away; StackStorm does not start a sensor a third time.
            self._logger.exception("Could not dispatch an event")
            self._rest(error)

    def _dispatch(self, application: Application, event: Mapping[str, Any]) -> None:
        self.hand_over(
            TRIGGER,
            dict(event, **self.told, hint=self._hint(application, event)),
            event.get("trace_tag"),
        )

    def _hint(self, application: Application, event: Mapping[str, Any]) -> str:
        """Returns what to do next; nothing after a rollback, which nobody wants to see promoted.
        Of a rollout that begins it is how to stop it, and what ships with a promotion. Of a release
        it is the warning about its metadata.

        A record that cannot be read must not hold up what follows.
        """
        if event.get("warning"):
            return plain(str(event["warning"]))
        if event["type"] == "rollout_refused":
            return f"To try again: !deploy canary {application.name} {event['version']}"
        if event["type"] not in ("rollout_started", "rollout_succeeded"):
            return ""
        try:
            latest = application.stages.get(event["stage"]).rollout
            if event["type"] == "rollout_started":
                ships = self._ships(application, latest, event)
                return f"{ships}To stop: !deploy abort {application.name}"
            if latest and latest.kind == "rollback":
                return ""
            release = application.releases.get(event["version"])
            command = next_promotion(application, event["stage"], release)
        except ConsulUnreachable:
            raise
        except DeliveryError as error:
            self._logger.error("No hint for event %s: %s", event["id"], error)
            return ""
        return f"To promote: {command}" if command else ""

    def _ships(
        self, application: Application, latest: Rollout | None, event: Mapping[str, Any]
    ) -> str:
        """Returns what ships with a promotion, in lines; nothing for other rollouts and for one
        that another has replaced."""
        if not latest or latest.kind != "promote" or latest.deployment != event["deployment"]:
            return ""
        running = latest.previous.version if latest.previous else None
        return what_ships(application, running, latest.target.version, self.web_url).text + "\n"

    def _rest(self, error: Exception) -> None:
        self._logger.error("Trying again in %s s: %s", PAUSE_AFTER_ERROR_S, error)
        self._index = 0
        time.sleep(PAUSE_AFTER_ERROR_S)
