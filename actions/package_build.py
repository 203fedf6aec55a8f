from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import packaging
from delivery.packaging import Recipe


class PackageBuild(BuildHostAction):
    def deliver(
        self, node: str, workspace: str, app: str | None = None, commit: str | None = None
    ) -> dict[str, Any]:
        work = self.workspace(node, workspace)
        packager = packaging.TOOLS.create(self.configuration)
        return packager.build(work, Recipe.found_in(work)).as_dict()
