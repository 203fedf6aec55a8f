from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.report import hosts


class DeployHosts(DeliveryAction):
    def deliver(self, app: str) -> dict[str, Any]:
        return hosts(self.application(app), self.configuration.discovery())
