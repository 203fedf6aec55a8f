from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction

from delivery import repository
from delivery.errors import DeliveryError
from delivery.names import shown
from delivery.packaging import Package, Recipe
from delivery.proof.reproduction import require_agreed


class RepositoryAdd(BuildHostAction):
    def deliver(
        self,
        node: str,
        workspace: str,
        app: str | None = None,
        commit: str | None = None,
        agreed: str | None = None,
    ) -> dict[str, Any]:
        work = self.workspace(node, workspace)
        package = Package.found_in(work)
        if app and package.name != app:
            raise DeliveryError(f"the workspace has a package of {shown(package.name)}, not {app}")
        require_agreed(self.configuration, Recipe.found_in(work), package, agreed)
        host = repository.only_host(self.configuration) or work.host
        repository.TOOLS.create(self.configuration).add(host, work, package)
        return {"file": package.file, "sha256": package.sha256}
