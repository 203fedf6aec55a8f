from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.application import Application
from delivery.errors import DeliveryError


class BuildStart(DeliveryAction):
    def deliver(
        self, app: str, repository: str, branch: str, commit: str, by: str, again: bool
    ) -> dict[str, Any]:
        timeout_s = self.configuration.section("ci")["timeout_s"]
        build, new = Application(self.configuration.store(), app).builds.start(
            commit, repository, branch, by, stale_after_s=timeout_s + 300, again=again
        )
        if build.failure and not new:
            raise DeliveryError(
                f"{app} {commit[:7]} not rebuilt: {build.failure}; push a fix, or run "
                "cicd_canary.ci with again=true"
            )
        return {"build": build.number, "status": build.status, "new": new}
