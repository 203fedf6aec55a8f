from __future__ import annotations

from unittest import mock

from build_host_test_case import NODE, BuildHostActionTestCase
from package_build import PackageBuild

from delivery import packaging
from delivery.packaging import Package, Recipe
from delivery.proof.sbom import Sbom

PACKAGE = Package("shop_1_all.deb", "shop", "1", "all", "a" * 64, 7)


class TestPackageBuild(BuildHostActionTestCase):
    """The tools are tried in test_packaging.py; here it is what they are given and what is made of
    their answer."""

    action_cls = PackageBuild

    def setUp(self):
        super().setUp()
        self.workspace = self.check_out(self.push({"a.spdx": "SPDXVersion: SPDX-2.3\n"}))
        self.packager = mock.Mock(**{"build.return_value": PACKAGE})
        created = mock.patch.object(packaging.TOOLS, "create", return_value=self.packager)
        self.create = created.start()
        self.addCleanup(created.stop)

    def test_has_the_configured_tool_make_what_the_recipe_says(self):
        settings = {"package": {"root": ".", "sbom": "a.spdx"}}
        recipe = Recipe("shop", "1", "c" * 40, "main", 1, {}, settings)
        recipe.leave_in(self.workspace)
        succeeded, result = self.act(node=NODE, workspace=self.workspace.id)
        self.assertTrue(succeeded, result)
        workspace, given = self.packager.build.call_args[0]
        self.assertEqual((workspace.id, given), (self.workspace.id, recipe))
        self.assertEqual({**result, **PACKAGE.as_dict()}, result)
        self.assertEqual(Sbom.found_in(workspace).path, "a.spdx")
        self.assertEqual(
            self.create.call_args[0][0].section("github")["git_url"],
            self.config["github"]["git_url"],
        )

    def test_says_which_step_has_left_no_recipe(self):
        self.assert_fails(
            "read metadata.json: .*the previous step did not write it",
            node=NODE,
            workspace=self.workspace.id,
        )
        self.packager.build.assert_not_called()
