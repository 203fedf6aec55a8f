"""What the tests of actions that work on a build host have in common: this machine is one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from unittest import mock

from action_test_case import ConsulActionTestCase
from consul_server import register
from local_host import ISOLATION, LocalShell
from repositories import Repository

from delivery import workspace
from delivery.configuration import Configuration
from delivery.packaging import ORIGIN_FILE

NODE = "builder"


class BuildHostActionTestCase(ConsulActionTestCase):
    """`self.repository` is acme/shop, which builds clone. Commands run without SSH, and workspaces
    are in a directory of the test's own, `self.workspaces`.
    """

    def setUp(self):
        super().setUp()
        self.shell = LocalShell()
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        directory = Path(temporary.name)
        (directory / "acme").mkdir()
        self.repository = Repository(directory / "acme" / "shop.git")
        self.workspaces = directory / "workspaces"
        self.config["github"] = {"git_url": f"file://{directory}"}
        register(self.url, NODE, "127.0.0.1", "build", ["build::host"])
        for patch in (
            mock.patch.object(Configuration, "build_ssh", return_value=self.shell),
            mock.patch.object(workspace, "ROOT", str(self.workspaces)),
        ):
            patch.start()
            self.addCleanup(patch.stop)
        self.addCleanup(self.remove_workspaces)

    def remove_workspaces(self):
        for each in self.workspaces.glob("*"):
            workspace.Workspace(self.shell, self.shell.host, each.name).remove()

    def push(self, files):
        """Commits files and has the build of the commit passed; returns the commit."""
        commit = self.repository.commit(files)
        self.shop.builds.start(commit, "acme/shop", "main", "alice")
        self.shop.builds.finish(commit, passed=True)
        return commit

    def check_out(self, commit, path=""):
        """Returns a workspace with this commit, as the step before the tested one leaves it."""
        made = workspace.Workspace.create(self.shell, self.shell.host, ISOLATION)
        made.check_out(self.repository.url, commit, "main", path)
        origin = {"repository": "acme/shop", "branch": "main", "commit": commit, "path": path}
        made.write(ORIGIN_FILE, json.dumps(origin).encode())
        return made
