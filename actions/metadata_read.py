from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import metadata
from delivery.packaging import read_recipe


class MetadataRead(BuildHostAction):
    def deliver(self, app: str, commit: str, node: str, workspace: str) -> dict[str, Any]:
        build = self.application(app).builds.get(commit)
        work = self.workspace(node, workspace)
        recipe = read_recipe(self.configuration, app, build, work)
        recipe.leave_in(work)
        return {
            "version": recipe.version,
            "metadata": recipe.metadata,
            "settings": recipe.settings,
            "warning": metadata.warning(recipe.metadata),
        }
