from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import repository
from delivery.packaging import Package


class RepositoryAdd(BuildHostAction):
    def deliver(
        self, node: str, workspace: str, app: str | None = None, commit: str | None = None
    ) -> dict[str, Any]:
        work = self.workspace(node, workspace)
        package = Package.found_in(work)
        repository.TOOLS.create(self.configuration).add(work, package)
        return {"file": package.file, "sha256": package.sha256}
