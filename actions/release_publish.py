from __future__ import annotations

from typing import Any, Collection, Sequence

from build_host_action import BuildHostAction

from delivery import metadata
from delivery.clock import now
from delivery.commits import UNKNOWN, Ancestry, Commit
from delivery.packaging import Package, Recipe, require_origin
from delivery.proof.envelope import Signer
from delivery.proof.reproduction import require_agreed
from delivery.proof.sbom import Sbom
from delivery.proof.statement import provenance
from delivery.releases import File, Release
from delivery.remote import RemoteError
from delivery.workspace import Workspace


class ReleasePublish(BuildHostAction):
    def deliver(
        self,
        app: str,
        commit: str,
        node: str,
        workspace: str,
        second: str | None = None,
        agreed: str | None = None,
    ) -> dict[str, Any]:
        application = self.application(app)
        build = application.builds.passed(commit)
        work = self.workspace(node, workspace)
        recipe, package = Recipe.found_in(work), Package.found_in(work)
        package.require(recipe)
        require_origin(work, build)
        require_agreed(self.configuration, recipe, package, agreed)
        builders = [node, second] if agreed and second else [node]
        warning = metadata.warning(recipe.metadata)
        release = Release(
            version=package.version,
            commit=commit,
            branch=build.branch,
            repository=build.repository,
            build=build.number,
            by=build.by,
            package=File(package.file, package.sha256, package.size_bytes),
            metadata=recipe.metadata,
            settings=recipe.settings,
            commits=self.newest_commits(
                work, commit, [build.path, *recipe.settings["depends_on"]] if build.path else []
            ),
        )
        evidence = []
        signer = Signer.configured(self.configuration)
        if signer:
            stated = provenance(
                app,
                release,
                build,
                self.configuration.git_url(),
                builders,
                now(),
                Sbom.found_in(work),
            )
            evidence = [application.evidence.begin(release.version, signer.sign(stated))]
        targets = application.stages.target_commits(release.stages)

        def compare(newest: str) -> Ancestry:
            return self.ancestry(work, commit, {*targets, newest} - {""})

        new = application.releases.publish(release, warning, evidence, compare)
        application.builds.forget_packaging_failure(commit)
        return {
            "version": package.version,
            "sha256": package.sha256,
            "new": new,
            "warning": warning,
        }

    def ancestry(self, work: Workspace, commit: str, others: Collection[str]) -> Ancestry:
        """Returns where git has other releases' commits; without it their build numbers count."""
        try:
            return work.ancestry(commit, others)
        except RemoteError as error:
            self.logger.warning("The release is ordered by its build number: %s", error)
            return UNKNOWN

    def newest_commits(
        self, work: Workspace, commit: str, paths: Sequence[str]
    ) -> Sequence[Commit]:
        """Returns what is told of the release later; no release waits for it."""
        try:
            return work.log(commit, paths)
        except RemoteError as error:
            self.logger.warning("The release is published without its commits: %s", error)
            return []
