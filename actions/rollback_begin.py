from __future__ import annotations

from delivery_action import DeliveryAction, progress


class RollbackBegin(DeliveryAction):
    def deliver(self, app, stage, by, chat_user, stackstorm_user):
        self.require_permission("roll back", chat_user, stackstorm_user)
        application = self.application(app)
        rollout = self.steps(application).roll_back(stage or application.stages.names()[-1], by)
        return dict(progress(rollout), app=app, begun=True)
