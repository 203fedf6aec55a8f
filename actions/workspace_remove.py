from __future__ import annotations

from build_host_action import BuildHostAction


class WorkspaceRemove(BuildHostAction):
    def deliver(self, node, workspace):
        self.workspace(node, workspace).remove()
        return {"removed": workspace}
