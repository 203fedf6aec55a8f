from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.chat.freezing import refuse_length_in_reason
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
        by = self.requester("freeze", app, by, chat_user, stackstorm_user)
        self.configuration.refuse_secrets("the reason", reason or "")
        for_s = seconds_in(duration) if duration else None
        application = self.application(app)
        if reason and not duration:
            refuse_length_in_reason(application.name, reason)
        before = application.freezes.current()
        freeze = application.freezes.start(by, reason or "", for_s)
        lines = [
            f"{application.name} is {freeze.until_in(self.configuration.zone())}.",
            "Promotions are blocked; pushes still reach the canary, and rollbacks still work. "
            + ("To end it sooner" if freeze.until else "It has no end; to end it")
            + f": !deploy unfreeze {application.name}",
        ]
        if before:
            lines.append(f"It replaces the one before: {before}")
        return {"until": freeze.until, "text": "\n".join(lines)}
