from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import metadata, settings
from delivery.packaging import Recipe
from delivery.releases import package_version


class MetadataRead(BuildHostAction):
    def deliver(self, app: str, commit: str, node: str, workspace: str) -> dict[str, Any]:
        build = self.application(app).builds.get(commit)
        work = self.workspace(node, workspace)
        own = work.read_sources([settings.FILE], build.path)
        asked_for = settings.load(own.files.get(settings.FILE), app)
        chosen = self.configuration.policies.of(app).apply(asked_for)
        if chosen.depends_on:
            work.require_paths(chosen.depends_on)
        sources = work.read_sources(metadata.paths(chosen), build.path)
        found = metadata.read(
            sources,
            chosen,
            commit,
            build.repository,
            self.configuration.section("packaging").get("maintainer"),
        )
        version = package_version(found["version"]["value"], build.number, commit)
        Recipe(
            app, version, commit, build.branch, sources.committed_at, found, chosen.as_dict()
        ).leave_in(work)
        return {
            "version": version,
            "metadata": found,
            "settings": chosen.as_dict(),
            "warning": metadata.warning(found),
        }
