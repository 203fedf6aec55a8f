from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery import ci
from delivery.ci import builds

# A pipeline calls back a moment before its server has written the build's result.
PATIENCE_S = 20


class BuildFinish(DeliveryAction):
    def deliver(self, app: str, commit: str, number: int) -> dict[str, Any]:
        application = self.application(app)
        build = application.builds.get(commit)
        verdict = builds.finish(
            ci.TOOLS.create(self.configuration),
            application,
            builds.job_of(self.configuration, application, build),
            self.configuration.section("ci")["timeout_s"],
            number,
            PATIENCE_S,
        )
        return {
            "build": build.number,
            "status": verdict.status,
            "reason": verdict.reason,
            "url": verdict.record.get("url"),
        }
