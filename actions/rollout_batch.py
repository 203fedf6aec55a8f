from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction, progress


class RolloutBatch(DeliveryAction):
    def deliver(self, app: str, stage: str, deployment: str) -> dict[str, Any]:
        return progress(self.steps(self.application(app)).update_batch(stage, deployment))
