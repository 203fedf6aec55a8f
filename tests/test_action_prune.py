from __future__ import annotations

import json
import signal
import subprocess
import sys
from unittest import mock

from action_test_case import ConsulActionTestCase
from consul_server import register
from prune import Prune
from releases import shop
from test_pruning import old, versions

from delivery import repository
from delivery.application import Application
from delivery.remote import RemoteError

# Does what StackStorm does, in a process that ends before, or after, the repository is asked.
KILLED = """
import json, os, signal, sys
sys.path[:0] = sys.argv[3:]
from unittest import mock
from delivery import repository
from delivery.pruning import Pruning
from prune import Prune
die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
tool = mock.Mock()
if sys.argv[2] == "before":
    tool.remove.side_effect = die
else:
    Pruning.left = die
with mock.patch.object(repository.TOOLS, "create", return_value=tool):
    Prune(json.loads(sys.argv[1])).run(app="shop", dry_run=False)
"""


class TestPrune(ConsulActionTestCase):
    """What is old is tried in test_pruning.py, the tools in test_repository.py."""

    action_cls = Prune

    def setUp(self):
        super().setUp()
        register(self.url, "builder", "10.0.9.1", "build", ["build::host"])
        self.releases = versions(old(self.store, number) for number in range(1, 6))
        self.config["keep"] = {"releases": 2, "builds": 1}
        self.tool = mock.Mock()
        created = mock.patch.object(repository.TOOLS, "create", return_value=self.tool)
        created.start()
        self.addCleanup(created.stop)

    def removed(self):
        """The versions that the repository was told to remove, by call."""
        calls = [call[0] for call in self.tool.remove.call_args_list]
        self.assertEqual(
            {(host.node, name) for host, name, _ in calls} - {("builder", "shop")}, set()
        )
        return [sorted(which) for _, _, which in calls]

    def test_removes_packages_records_and_builds_and_says_so(self):
        succeeded, result = self.act(app="shop", dry_run=False)
        self.assertTrue(succeeded, result)
        self.assertEqual(self.removed(), [self.releases[:3]])
        self.assertEqual(sorted(self.shop.releases.versions()), self.releases[3:])
        self.assertEqual(self.shop.pruning.leaving(), [])
        self.assertEqual(result["text"], "shop: removed 3 releases, 3 packages, 3 builds")
        self.assertEqual(sorted(result["applications"][0]["releases"]), self.releases[:3])
        succeeded, result = self.act(app="shop", dry_run=False)
        self.assertEqual(result["text"], "there is nothing to remove")
        self.assertEqual(len(self.removed()), 1)

    def test_only_tells_what_it_would_remove(self):
        succeeded, result = self.act(app=None, dry_run=True)
        self.assertTrue(succeeded, result)
        self.assertEqual(result["text"], "shop: would remove 3 releases, 3 packages, 3 builds")
        self.assertEqual(self.removed(), [])
        self.assertEqual(sorted(self.shop.releases.versions()), self.releases)

    def test_a_package_that_could_not_be_removed_is_removed_the_next_time(self):
        self.tool.remove.side_effect = RemoteError("builder: disk full")
        self.assert_fails("^shop: builder: disk full$", app="shop", dry_run=False)
        self.assertEqual(sorted(self.shop.pruning.leaving()), self.releases[:3])
        self.tool.remove.side_effect = None
        self.config["keep"] = {"releases": 9, "builds": 9}
        self.assertTrue(self.act(app="shop", dry_run=False)[0])
        self.assertEqual(self.removed(), [self.releases[:3]] * 2)
        self.assertEqual(self.shop.pruning.leaving(), [])

    def test_one_that_is_killed_is_followed_by_the_next(self):
        config = dict(self.config, keep={"releases": 1, "builds": 1})
        for moment in ("before", "after"):
            ended = subprocess.run(
                [
                    sys.executable,
                    "-c",
                    KILLED,
                    json.dumps(config),
                    moment,
                    *sys.path,
                ],
                timeout=60,
            )
            self.assertEqual(ended.returncode, -signal.SIGKILL)
            self.assertEqual(self.shop.releases.versions(), self.releases[4:])
            self.assertEqual(sorted(self.shop.pruning.leaving()), self.releases[:4])
        self.assertTrue(self.act(app="shop", dry_run=False)[0])
        self.assertEqual(self.removed(), [self.releases[:4]])
        self.assertEqual(self.shop.pruning.leaving(), [])

    def test_one_application_does_not_stop_another(self):
        notes = Application(self.store, "notes")
        notes.builds.start("e" * 40, "acme/notes", "main", "alice")
        broken = self.store.overwrite("notes/stages/canary/state", "{")
        self.store.commit([broken])
        self.assert_fails("^notes: .*/notes/stages/canary/state", app=None, dry_run=False)
        self.assertEqual(sorted(shop(self.store).releases.versions()), self.releases[3:])
