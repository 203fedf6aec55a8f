from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.builds import NotPassed

# A killed step records no reason.
UNKNOWN = "{step} ended without a reason, killed or out of time; see the tasks of this execution"


class PackagingFail(DeliveryAction):
    def deliver(self, app: str, commit: str, step: str | None) -> dict[str, Any]:
        builds = self.application(app).builds
        try:
            build = builds.passed(commit)
        except NotPassed as error:
            return {"error": str(error)}
        if not build.packaging_error:
            builds.packaging_failed(commit, UNKNOWN.format(step=step or "a step"))
        return {"error": f"{app} {commit[:7]}: {builds.get(commit).failure}"}
