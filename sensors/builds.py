"""Finds the builds on a CI server that are done, or lost, and nobody has said so."""

from __future__ import annotations

import os
import sys
from typing import Any, Mapping

from st2reactor.sensor.base import PollingSensor

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "actions", "lib"))

from delivery_sensor import DeliverySensor

from delivery import ci
from delivery.application import running_builds
from delivery.ci import builds
from delivery.errors import DeliveryError
from delivery.store import ConsulUnreachable

TRIGGER = "cicd_canary.build_finished"


class Builds(DeliverySensor, PollingSensor):
    """Asks, and leaves it to the action build_finish to do something about it.

    What it asks about is in Consul, so it can be stopped and started at any time.
    """

    def __init__(
        self,
        sensor_service: Any,
        config: Mapping[str, Any] | None = None,
        poll_interval: int = 30,
    ) -> None:
        super().__init__(sensor_service=sensor_service, config=config, poll_interval=poll_interval)
        self._logger = sensor_service.get_logger(name=self.__class__.__name__)

    def setup(self) -> None:
        self.configured = self.configuration()
        self.store = self.configured.store()

    def poll(self) -> None:
        try:
            if ci.TOOLS.chosen(self.configured).polled:
                self._look_at_builds(ci.TOOLS.create(self.configured))
        except DeliveryError as error:
            self._logger.error("Trying again in %s s: %s", self._poll_interval, error)
        except Exception:
            # The message bus may be away; StackStorm does not start a sensor a third time.
            self._logger.exception("Trying again in %s s", self._poll_interval)

    def _look_at_builds(self, server: ci.CiServer) -> None:
        """Looks at each, the oldest first: what is overdue is so even while the server is away."""
        timeout_s = self.configured.section("ci")["timeout_s"]
        running = sorted(running_builds(self.store), key=lambda each: each[1].started_at)
        for application, build in running:
            try:
                job = builds.job_of(self.configured, application, build)
                news = builds.has_news(server, job, build, timeout_s)
            except (ci.NoAnswer, ConsulUnreachable):
                raise
            except Exception as error:
                # A tool's file may be anybody's: one build must not hold up the others.
                self._logger.error("%s %s: %s", application.name, build.commit[:7], error)
                continue
            if news:
                self._dispatch(application.name, build.commit)

    def _dispatch(self, app: str, commit: str) -> None:
        self.hand_over(TRIGGER, {"app": app, "commit": commit, "number": 0}, f"{app}-{commit[:12]}")
