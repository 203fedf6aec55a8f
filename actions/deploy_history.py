from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.ledger import EVENTS_KEPT
from delivery.report import EVENTS_SHOWN, history


class DeployHistory(DeliveryAction):
    def deliver(self, app: str, limit: int | None, events: str) -> dict[str, Any]:
        everything = events == "all"
        limit = limit or (EVENTS_KEPT if everything else EVENTS_SHOWN)
        return history(self.application(app), limit, everything, self.configuration.zone())
