"""What the actions that work on a build host have in common.

Each step of the packaging is a process of its own. What one has to leave to the next is free text
too (a description, a maintainer), and free text does not travel through a workflow: it lies in
files of the workspace (`Recipe`, `Package`).
"""

from __future__ import annotations

from packaging_step import PackagingStep

from delivery.workspace import Workspace


class BuildHostAction(PackagingStep):
    def workspace(self, node: str, workspace: str) -> Workspace:
        """Returns the workspace that an earlier step has made on a build host."""
        host = self.configuration.discovery().host(self.configuration.build_service(), node)
        return Workspace(self.configuration.build_ssh(), host, workspace)
