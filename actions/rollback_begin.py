from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction, progress


class RollbackBegin(DeliveryAction):
    def deliver(
        self, app: str, stage: str | None, by: str, chat_user: str, stackstorm_user: str
    ) -> dict[str, Any]:
        by = self.requester("roll back", app, by, chat_user, stackstorm_user)
        application = self.application(app)
        stage = stage.lower() if stage else application.stages.names()[-1]
        rollout = self.steps(application).roll_back(stage, by)
        return dict(progress(rollout), app=application.name, begun=True)
