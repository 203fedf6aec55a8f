from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery.packaging import require_origin
from delivery.proof.reproduction import reproduce


class PackageReproduce(BuildHostAction):
    def deliver(
        self, app: str, commit: str, node: str, workspace: str, second: str
    ) -> dict[str, Any]:
        build = self.application(app).builds.passed(commit)
        work = self.workspace(node, workspace)
        require_origin(work, build)
        host = self.configuration.discovery().host(self.configuration.build_service(), second)
        return {"agreed": reproduce(self.configuration, app, build, work, host)}
