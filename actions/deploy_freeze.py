from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.clock import seconds_in


class DeployFreeze(DeliveryAction):
    def deliver(
        self,
        app: str,
        reason: str | None,
        duration: str | None,
        by: str,
        chat_user: str,
        stackstorm_user: str,
    ) -> dict[str, Any]:
        self.require_permission("freeze", chat_user, stackstorm_user)
        self.configuration.refuse_secrets("the reason", reason or "")
        for_s = seconds_in(duration) if duration else None
        application = self.application(app)
        freeze = application.freezes.start(by, reason or "", for_s)
        return {
            "until": freeze.until,
            "text": f"{application.name} is {freeze.until_in(self.configuration.zone())}.\n"
            "Promotions are blocked; pushes still reach the canary, and rollbacks still work. "
            f"To end the freeze: !deploy unfreeze {application.name}",
        }
