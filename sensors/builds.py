"""Finds the builds on Jenkins that are done, or lost, and nobody has said so."""

from __future__ import annotations

import os
import sys

from st2reactor.sensor.base import PollingSensor

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions", "lib"))

from delivery_sensor import DeliverySensor

from delivery import ci
from delivery.ci import builds
from delivery.configuration import Configuration
from delivery.errors import DeliveryError
from delivery.release import running_builds

TRIGGER = "cicd_canary.build_finished"


class Builds(DeliverySensor, PollingSensor):
    """Asks, and leaves it to the action build_finish to do something about it.

    What it asks about is in Consul, so it can be stopped and started at any time.
    """

    def __init__(self, sensor_service, config=None, poll_interval=30):
        super().__init__(sensor_service=sensor_service, config=config, poll_interval=poll_interval)
        self._logger = sensor_service.get_logger(name=self.__class__.__name__)

    def setup(self):
        self.configuration = Configuration(self.config)
        self.store = self.configuration.store()

    def poll(self):
        try:
            if self.configuration.section("ci").get("tool", "jenkins") == "jenkins":
                self._look_at_builds(ci.create(self.configuration))
        except DeliveryError as error:
            self._logger.error("Trying again in %s s: %s", self._poll_interval, error)
        except Exception:
            # The message bus may be away; StackStorm does not start a sensor a third time.
            self._logger.exception("Trying again in %s s", self._poll_interval)

    def _look_at_builds(self, server):
        """Looks at each, the oldest first: what is overdue is so even while Jenkins is away."""
        running = sorted(running_builds(self.store), key=lambda each: each[1]["started_at"])
        for application, build in running:
            job = builds.job_of(self.configuration, application, build)
            try:
                news = builds.has_news(server, job, build, ci.timeout_s(self.configuration))
            except ci.NoAnswer:
                raise
            except DeliveryError as error:
                self._logger.error("%s %s: %s", application.name, build["commit"][:7], error)
                continue
            if news:
                self._dispatch(application.name, build["commit"])

    def _dispatch(self, app, commit):
        self.hand_over(TRIGGER, {"app": app, "commit": commit, "number": 0}, f"{app}-{commit[:12]}")
