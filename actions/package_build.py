from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import packaging
from delivery.packaging import Recipe
from delivery.proof import sbom


class PackageBuild(BuildHostAction):
    def deliver(
        self, node: str, workspace: str, app: str | None = None, commit: str | None = None
    ) -> dict[str, Any]:
        work = self.workspace(node, workspace)
        recipe = Recipe.found_in(work)
        package = packaging.TOOLS.create(self.configuration).build(work, recipe)
        sbom.look(work, recipe)
        return package.as_dict()
