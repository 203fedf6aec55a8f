from __future__ import annotations

from build_host_action import BuildHostAction

from delivery import packaging
from delivery.packaging import Recipe


class PackageBuild(BuildHostAction):
    def deliver(self, node, workspace, app=None, commit=None):
        workspace = self.workspace(node, workspace)
        packager = packaging.TOOLS.create(self.configuration)
        return packager.build(workspace, Recipe.found_in(workspace)).as_dict()
