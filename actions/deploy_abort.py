from __future__ import annotations

from delivery_action import DeliveryAction


class DeployAbort(DeliveryAction):
    def deliver(self, app, by, chat_user, stackstorm_user):
        self.require_permission("abort", chat_user, stackstorm_user)
        stage = self.rollout(self.application(app)).abort(by)
        version = stage.state["target"]["version"]
        reverted = stage.status != "rolling_out"
        text = f"{version} on {stage.name} of {app} "
        if reverted:
            text += (
                f"was left behind by a process that is gone; it is {stage.status}, and "
                f"{stage.name} is back on {stage.version or 'nothing'}"
            )
        else:
            text += (
                "stops after the current batch, and its hosts go back; if nothing has "
                f"happened a minute from now, say it again. How it is: !deploy status {app}"
            )
        return {"stage": stage.name, "version": version, "reverted": reverted, "text": text}
