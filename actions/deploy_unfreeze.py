from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.promotion import candidates


class DeployUnfreeze(DeliveryAction):
    def deliver(self, app: str, by: str, chat_user: str, stackstorm_user: str) -> dict[str, Any]:
        by = self.requester("unfreeze", app, by, chat_user, stackstorm_user)
        application = self.application(app)
        app = application.name
        if not application.freezes.end(by):
            return {"ended": False, "text": f"{app} was not frozen"}
        waiting = [each.name for each in candidates(self.configuration.store())]
        following = f". Next: !deploy promote {app}" if app in waiting else ""
        return {"ended": True, "text": f"{app} is no longer frozen{following}"}
