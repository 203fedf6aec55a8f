from __future__ import annotations

from typing import Any

from build_host_action import BuildHostAction


class WorkspaceRemove(BuildHostAction):
    def deliver(self, node: str, workspace: str) -> dict[str, Any]:
        self.workspace(node, workspace).remove()
        return {"removed": workspace}
