from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.report import status


class DeployStatus(DeliveryAction):
    def deliver(self, app):
        return status(self.configuration.store(), app)
