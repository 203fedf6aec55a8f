from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery import ci
from delivery.application import Application
from delivery.ci import builds
from delivery.errors import DeliveryError


class CiBuild(DeliveryAction):
    def deliver(self, app: str, commit: str) -> dict[str, Any]:
        application = self.application(app)
        job = builds.job_of(self.configuration, application, application.builds.get(commit))
        verdict = builds.begin(self.server(application, commit), application, job)
        if verdict.status == "failed":
            self.logger.info(verdict.log)
            raise DeliveryError(f"{app} {commit[:7]} did not pass CI: {verdict.reason}")
        return {
            "status": verdict.status,
            "seconds": dict(verdict.seconds),
            "log": verdict.log,
            "reason": verdict.reason,
            "url": verdict.record.get("url"),
        }

    def server(self, application: Application, commit: str) -> ci.CiServer:
        """Returns what builds; a configuration it cannot be made of fails the build."""
        try:
            return ci.TOOLS.create(self.configuration)
        except DeliveryError as error:
            application.builds.finish(commit, passed=False, reason=str(error))
            raise
