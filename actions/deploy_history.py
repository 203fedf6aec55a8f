from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.report import history


class DeployHistory(DeliveryAction):
    def deliver(self, app, limit):
        return history(self.application(app), limit)
