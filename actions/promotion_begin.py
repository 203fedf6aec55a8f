from __future__ import annotations

from delivery_action import DeliveryAction, progress

from delivery.promotion import choose


class PromotionBegin(DeliveryAction):
    def deliver(self, app, stage, by, chat_user, stackstorm_user):
        self.require_permission("promote", chat_user, stackstorm_user)
        store = self.configuration.store()
        application = self.application(app) if app else choose(store)
        stage = stage or application.stages()[-1]
        rollout = self.rollout(application).promote(stage, application.stage_before(stage), by)
        previous = rollout.state["previous"] or {}
        return dict(
            progress(rollout), app=application.name, begun=True, previous=previous.get("version")
        )
