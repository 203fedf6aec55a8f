from __future__ import annotations

from delivery_action import DeliveryAction

from delivery.errors import DeliveryError
from delivery.workspace import Workspace


class CheckOut(DeliveryAction):
    def deliver(self, app, commit, node):
        build = self.application(app).build(commit)
        host = self.configuration.discovery().host(self.configuration.build_service(), node)
        workspace = Workspace.create(self.configuration.build_ssh(), host)
        try:
            workspace.check_out(
                self.configuration.clone_url(build["repository"]), commit, build["branch"]
            )
        except DeliveryError:
            workspace.remove()
            raise
        return {"workspace": workspace.id}
