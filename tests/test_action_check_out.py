from __future__ import annotations

from pathlib import Path

from build_host_test_case import NODE, BuildHostActionTestCase
from check_out import CheckOut

from delivery.workspace import Workspace


class TestCheckOut(BuildHostActionTestCase):
    action_cls = CheckOut

    def test_leaves_the_commit_in_a_workspace_of_its_own(self):
        commit = self.push({"version": "1"})
        self.push({"version": "2"})
        succeeded, result = self.act(app="shop", commit=commit, node=NODE)
        self.assertTrue(succeeded, result)
        workspace = Workspace(self.shell, self.shell.host, result["workspace"])
        self.assertEqual(Path(workspace.path, "source", "version").read_text(), "1")

    def test_leaves_no_workspace_when_it_fails(self):
        commit = "e" * 40
        self.push({"version": "1"})
        self.shop.builds.start(commit, "acme/shop", "main", "alice")
        self.shop.builds.finish(commit, passed=True)
        self.assert_fails(
            "commit e{40} is not on branch main", app="shop", commit=commit, node=NODE
        )
        self.assertEqual(list(self.workspaces.iterdir()), [])

    def test_refuses_a_commit_that_was_never_built(self):
        self.push({"version": "1"})
        self.assert_fails("shop has no build of eeeeeee", app="shop", commit="e" * 40, node=NODE)

    def test_refuses_a_host_that_is_no_build_host_any_more(self):
        commit = self.push({"version": "1"})
        self.assert_fails(
            "gone is no longer registered for build", app="shop", commit=commit, node="gone"
        )
