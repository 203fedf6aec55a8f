from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.report import hosts


class DeployHosts(DeliveryAction):
    def deliver(self, app):
        return hosts(self.application(app), self.configuration.discovery())
