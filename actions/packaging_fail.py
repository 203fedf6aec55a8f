from __future__ import annotations

from delivery_action import DeliveryAction


class PackagingFail(DeliveryAction):
    def deliver(self, app, commit):
        self.application(app).packaging_failed(commit)
        return {"error": f"{app} {commit[:7]} could not be packaged; see this execution's tasks"}
