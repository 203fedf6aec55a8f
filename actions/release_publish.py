from __future__ import annotations

from build_host_action import BuildHostAction

from delivery.packaging import Package, Recipe


class ReleasePublish(BuildHostAction):
    def deliver(self, app, commit, node, workspace):
        application = self.application(app)
        build = application.build(commit)
        workspace = self.workspace(node, workspace)
        recipe, package = Recipe.found_in(workspace), Package.found_in(workspace)
        new = application.publish(
            {
                "version": package.version,
                "commit": commit,
                "branch": build["branch"],
                "repository": build["repository"],
                "build": build["number"],
                "by": build["by"],
                "package": {
                    "file": package.file,
                    "sha256": package.sha256,
                    "size_bytes": package.size_bytes,
                },
                "metadata": recipe.metadata,
                "settings": recipe.settings,
            }
        )
        return {"version": package.version, "sha256": package.sha256, "new": new}
