from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery.affected import look
from delivery.application import Application
from delivery.builds import Started
from delivery.errors import DeliveryError
from delivery.records import or_nothing


class BuildStart(DeliveryAction):
    def deliver(
        self, app: str, repository: str, branch: str, commit: str, by: str, again: bool
    ) -> dict[str, Any]:
        application = Application(self.configuration.store(), app)
        build, new = self.start(application, repository, branch, commit, by, again)
        if build.failure and not new:
            raise DeliveryError(
                f"{app} {commit[:7]} not rebuilt: {build.failure}; push a fix, or run "
                "cicd_canary.ci with again=true"
            )
        return {"build": build.number, "status": build.status, "new": new, "why": build.why}

    def start(
        self,
        application: Application,
        repository: str,
        branch: str,
        commit: str,
        by: str,
        again: bool,
    ) -> Started:
        """Records the start of a build, or that the commit changes nothing of the application."""
        builds = application.builds
        sources = self.configuration.sources()
        source = sources.of_application(application.name, repository)

        def admit(before: str) -> None:
            sources.refuse_stranger(application.name, repository, before)

        before = builds.bound_to() or self.released_from(application)
        if before:
            admit(before)
        why = ""
        if source.path and not again and not builds.decided(commit, branch):
            affected, why = look(self.configuration, application, source, commit, branch)
            if not affected:
                build, _ = builds.leave_out(commit, repository, branch, by, source.path, why)
                return Started(build, new=False)
        timeout_s = self.configuration.section("ci")["timeout_s"]
        return builds.start(
            commit,
            repository,
            branch,
            by,
            stale_after_s=timeout_s + 300,
            again=again,
            path=source.path,
            why=why,
            admit=admit,
        )

    @staticmethod
    def released_from(application: Application) -> str | None:
        """Returns the newest release's repository: a store of an earlier version has releases, and
        is not bound yet."""
        newest = or_nothing(application.releases.newest)
        return newest.repository if newest else None
