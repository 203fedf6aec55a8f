from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction, progress

from delivery.changes import what_ships
from delivery.promotion import choose


class PromotionBegin(DeliveryAction):
    def deliver(
        self, app: str | None, stage: str | None, by: str, chat_user: str, stackstorm_user: str
    ) -> dict[str, Any]:
        app = app or choose(self.configuration.store()).name
        by = self.requester("promote", app, by, chat_user, stackstorm_user)
        application = self.application(app)
        stage = stage.lower() if stage else application.stages.names()[-1]
        source = application.stages.before(stage)
        target = application.stages.promotion(stage, source)
        ships = what_ships(
            application,
            application.stages.get(stage).version,
            target.version,
            self.configuration.web_url(),
        )
        rollout = self.steps(application).promote(stage, source, by, ships.summary)
        return dict(
            progress(rollout),
            app=application.name,
            begun=True,
            previous=rollout.previous.version if rollout.previous else None,
            ships=ships.text,
        )
