from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.release import UNUSABLE


class RolloutRevert(DeliveryAction):
    def deliver(self, app, stage, deployment):
        application = self.application(app)
        not_back = self.rollout(application).revert(stage, deployment)
        state = application.stage(stage).state
        previous = state["previous"]["version"] if state["previous"] else None
        back = (
            f"{stage} of {app} is back on {previous}"
            if previous
            else f"{stage} of {app} had no version to go back to"
        )
        if not_back:
            back += "; not yet: " + ", ".join(sorted(not_back))
        return {
            "version": previous,
            "not_back": not_back,
            "error": f"{state['target']['version']} {UNUSABLE[state['status']]} on {stage}: "
            f"{state['reason']}; {back}",
        }
