from __future__ import annotations

import os

from build_host_test_case import NODE, BuildHostActionTestCase
from workspace_remove import WorkspaceRemove


class TestWorkspaceRemove(BuildHostActionTestCase):
    action_cls = WorkspaceRemove

    def test_leaves_nothing_of_the_workspace(self):
        workspace = self.check_out(self.push({"a": "b"}))
        succeeded, result = self.act(node=NODE, workspace=workspace.id)
        self.assertTrue(succeeded, result)
        self.assertEqual(result["removed"], workspace.id)
        self.assertFalse(os.path.exists(workspace.path))

    def test_a_workspace_that_is_gone_already_is_fine(self):
        succeeded, result = self.act(node=NODE, workspace="0123456789")
        self.assertTrue(succeeded, result)

    def test_refuses_what_is_no_workspace(self):
        self.assert_fails("is not the id of a workspace", node=NODE, workspace="../../etc/x")
