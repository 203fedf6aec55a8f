from __future__ import annotations

from typing import Any

from packaging_step import PackagingStep

from delivery.errors import DeliveryError
from delivery.isolation import Isolation
from delivery.packaging import leave_origin
from delivery.workspace import Workspace


class CheckOut(PackagingStep):
    def deliver(self, app: str, commit: str, node: str) -> dict[str, Any]:
        build = self.application(app).builds.passed(commit)
        host = self.configuration.discovery().host(self.configuration.build_service(), node)
        workspace = Workspace.create(
            self.configuration.build_ssh(), host, Isolation.configured(self.configuration)
        )
        try:
            workspace.check_out(
                self.configuration.clone_url(build.repository), commit, build.branch, build.path
            )
            leave_origin(workspace, build)
        except DeliveryError:
            workspace.remove()
            raise
        return {"workspace": workspace.id}
