from __future__ import annotations

import json
from unittest import mock

from build_host_test_case import NODE, BuildHostActionTestCase
from consul_server import register
from repository_add import RepositoryAdd

from delivery import repository
from delivery.packaging import PACKAGE_FILE, Package, Recipe
from delivery.proof.reproduction import agreement
from delivery.remote import RemoteError

PACKAGE = Package("shop_1_all.deb", "shop", "1", "all", "a" * 64, 7)
RECIPE = Recipe("shop", "1", "c" * 40, "main", 1, {}, {})


class TestRepositoryAdd(BuildHostActionTestCase):
    """The tools are tried in test_repository.py; here it is what they are given."""

    action_cls = RepositoryAdd

    def setUp(self):
        super().setUp()
        self.commit = self.push({"a": "b"})
        self.workspace = self.check_out(self.commit)
        self.tool = mock.Mock()
        created = mock.patch.object(repository.TOOLS, "create", return_value=self.tool)
        created.start()
        self.addCleanup(created.stop)

    def leave_package(self):
        self.workspace.write(PACKAGE_FILE, json.dumps(PACKAGE.as_dict()).encode())
        RECIPE.leave_in(self.workspace)

    def test_adds_the_package_that_the_step_before_has_made(self):
        self.leave_package()
        succeeded, result = self.act(node=NODE, workspace=self.workspace.id)
        self.assertTrue(succeeded, result)
        host, workspace, package = self.tool.add.call_args[0]
        self.assertEqual((host.node, workspace.id, package), (NODE, self.workspace.id, PACKAGE))
        self.assertEqual((result["file"], result["sha256"]), (PACKAGE.file, PACKAGE.sha256))

    def test_adds_it_on_the_host_that_the_repository_has_of_its_own(self):
        self.leave_package()
        self.config["repository"] = {"service": "repository", "gpg_key": "x"}
        step = {"node": NODE, "workspace": self.workspace.id}
        self.assert_fails("no service repository in Consul", **step)
        register(self.url, "keeper", "10.1.2.3", "repository", ["repository::host"])
        self.assertTrue(self.act(**step)[0])
        self.assertEqual(self.tool.add.call_args[0][0].node, "keeper")
        register(self.url, "other", "10.1.2.4", "repository", ["repository::host"], passing=False)
        self.assert_fails("several hosts of repository carry the tag .*: keeper, other", **step)

    def test_adds_no_package_of_another_application(self):
        self.leave_package()
        step = {"node": NODE, "workspace": self.workspace.id}
        self.assert_fails("a package of 'shop', not notes", **step, app="notes")
        self.tool.add.assert_not_called()

    def test_adds_only_what_two_hosts_have_made_where_two_are_asked_for(self):
        self.leave_package()
        self.config["proof"] = {"builders": "two"}
        step = {"node": NODE, "workspace": self.workspace.id}
        self.assert_fails("proof.builders is two, but no second build host has made this", **step)
        other = agreement(RECIPE, PACKAGE._replace(sha256="b" * 64))
        self.assert_fails("the build host has another package, or other", **step, agreed=other)
        self.tool.add.assert_not_called()
        self.assertTrue(self.act(**step, agreed=agreement(RECIPE, PACKAGE))[0])

    def test_says_why_the_repository_did_not_take_it(self):
        self.leave_package()
        self.tool.add.side_effect = RemoteError("builder: version 1 is taken")
        step = {"node": NODE, "workspace": self.workspace.id}
        self.assert_fails("version 1 is taken", **step, app="shop", commit=self.commit)
        self.assertIn("version 1 is taken", self.shop.builds.get(self.commit).packaging_error)

    def test_adds_nothing_when_there_is_no_package(self):
        RECIPE.leave_in(self.workspace)
        self.assert_fails("read package.json", node=NODE, workspace=self.workspace.id)
        self.tool.add.assert_not_called()
