from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.report import history


class DeployHistory(DeliveryAction):
    def deliver(self, app: str, limit: int) -> dict[str, Any]:
        return history(self.application(app), limit)
