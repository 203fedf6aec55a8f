from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction


class DeployAbort(DeliveryAction):
    def deliver(self, app: str, by: str, chat_user: str, stackstorm_user: str) -> dict[str, Any]:
        by = self.requester("abort", app, by, chat_user, stackstorm_user)
        application = self.application(app)
        app = application.name
        stage = self.steps(application).abort(by)
        version = stage.latest().target.version
        reverted = stage.status != "rolling_out"
        text = f"{version} on {stage.name} of {app} "
        if reverted:
            text += (
                f"was {stage.status}: orphaned rollout reverted; {stage.name} is back on "
                f"{stage.version or 'nothing'}"
            )
        else:
            text += (
                "stops after the current batch, and its hosts are reverted. To follow: "
                f"!deploy status {app}; if nothing changes within two minutes, abort again"
            )
        return {"stage": stage.name, "version": version, "reverted": reverted, "text": text}
