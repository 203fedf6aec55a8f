from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.release import Application


class BuildStart(DeliveryAction):
    def deliver(self, app, repository, branch, commit, by, again):
        timeout_s = self.configuration.section("ci")["timeout_s"]
        build = Application(self.configuration.store(), app).start_build(
            commit, repository, branch, by, stale_after_s=timeout_s + 300, again=again
        )
        return {"build": build.number, "status": build.status, "new": build.new}
