from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.report import status


class DeployStatus(DeliveryAction):
    def deliver(self, app: str | None) -> dict[str, Any]:
        return status(
            self.configuration.store(), app, self.configuration.web_url(), self.configuration.zone()
        )
