from __future__ import annotations

from delivery_action import DeliveryAction, progress


class RolloutFinish(DeliveryAction):
    def deliver(self, app, stage, deployment):
        return progress(self.steps(self.application(app)).finish(stage, deployment).rollout)
