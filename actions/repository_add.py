from __future__ import annotations

from build_host_action import BuildHostAction

from delivery import repository
from delivery.packaging import Package


class RepositoryAdd(BuildHostAction):
    def deliver(self, node, workspace, app=None, commit=None):
        workspace = self.workspace(node, workspace)
        package = Package.found_in(workspace)
        repository.TOOLS.create(self.configuration).add(workspace, package)
        return {"file": package.file, "sha256": package.sha256}
