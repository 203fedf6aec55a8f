from __future__ import annotations

from delivery_action import DeliveryAction, progress


class RolloutBatch(DeliveryAction):
    def deliver(self, app, stage, deployment):
        return progress(self.steps(self.application(app)).update_batch(stage, deployment))
