from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.rollout.record import UNUSABLE


class RolloutRevert(DeliveryAction):
    def deliver(self, app: str, stage: str, deployment: str) -> dict[str, Any]:
        application = self.application(app)
        not_back = self.steps(application).revert(stage, deployment)
        rollout = application.stages.get(stage).latest()
        previous = rollout.previous.version if rollout.previous else None
        back = (
            f"{stage} of {app} is back on {previous}"
            if previous
            else f"{stage} of {app} has no previous version"
        )
        if not_back:
            back += "; not yet reverted: " + ", ".join(sorted(not_back))
        return {
            "version": previous,
            "not_back": not_back,
            "error": f"{rollout.target.version} {UNUSABLE[rollout.status]} on {stage}: "
            f"{rollout.reason}; {back}",
        }
