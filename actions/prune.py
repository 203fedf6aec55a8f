from __future__ import annotations

from typing import Any

from delivery_action import DeliveryAction

from delivery import repository
from delivery.application import Application, applications
from delivery.errors import DeliveryError
from delivery.names import counted

REMOVED_AT_ONCE = 25  # packages, while the repository is locked


class Prune(DeliveryAction):
    def deliver(self, app: str | None, dry_run: bool) -> dict[str, Any]:
        chosen = [self.application(app)] if app else applications(self.configuration.store())
        pruned, problems = [], []
        for application in chosen:
            try:
                pruned.append(self.look(application) if dry_run else self.prune(application))
            except DeliveryError as error:
                problems.append(f"{application.name}: {error}")
        if problems:
            raise DeliveryError("; ".join(problems))
        lines = [text for each in pruned for text in [told(each, dry_run)] if text]
        return {"applications": pruned, "text": "\n".join(lines) or "there is nothing to remove"}

    def look(self, application: Application) -> dict[str, Any]:
        """Returns what `prune` would remove of an application."""
        keep, pruning = self.configuration.section("keep"), application.pruning
        releases = pruning.old_releases(keep["releases"])
        return {
            "app": application.name,
            "releases": releases,
            "builds": pruning.old_builds(keep["builds"], without=releases),
            "packages": [*pruning.leaving(), *releases],
        }

    def prune(self, application: Application) -> dict[str, Any]:
        """Removes what is old of an application, and what a process that died here has left."""
        keep, pruning = self.configuration.section("keep"), application.pruning
        releases = pruning.retire(keep["releases"])
        builds = pruning.forget_builds(keep["builds"])
        packages = pruning.leaving()
        for start in range(0, len(packages), REMOVED_AT_ONCE):
            self.remove(application, packages[start : start + REMOVED_AT_ONCE])
        return {
            "app": application.name,
            "releases": releases,
            "builds": builds,
            "packages": packages,
        }

    def remove(self, application: Application, versions: list[str]) -> None:
        """Removes packages from the repository, and then what was left to know them by."""
        tool = repository.TOOLS.create(self.configuration)
        for host in repository.hosts(self.configuration):
            tool.remove(host, application.name, versions)
        application.pruning.left(versions)


def told(pruned: dict[str, Any], dry_run: bool) -> str:
    """Returns what was removed of an application, for people; nothing if nothing was."""
    found = [
        counted(pruned[each], each[:-1])
        for each in ("releases", "packages", "builds")
        if pruned[each]
    ]
    verb = "would remove" if dry_run else "removed"
    return f"{pruned['app']}: {verb} {', '.join(found)}" if found else ""
