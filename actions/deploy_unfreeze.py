from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction


class DeployUnfreeze(DeliveryAction):
    def deliver(self, app: str, by: str, chat_user: str, stackstorm_user: str) -> dict[str, Any]:
        self.require_permission("unfreeze", chat_user, stackstorm_user)
        ended = self.application(app).freezes.end(by)
        text = (
            f"{app} is no longer frozen. Next: !deploy promote {app}"
            if ended
            else f"{app} was not frozen"
        )
        return {"ended": ended, "text": text}
