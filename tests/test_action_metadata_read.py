from __future__ import annotations

from build_host_test_case import NODE, BuildHostActionTestCase
from metadata_read import MetadataRead

from delivery.packaging import Recipe

PROJECT = '[project]\nname = "shop"\nversion = "1.2.0"\n'


class TestMetadataRead(BuildHostActionTestCase):
    action_cls = MetadataRead

    def read(self, **files):
        """Reads the metadata of a commit; returns it, its workspace and what the action said."""
        commit = self.push({name.replace("__", "."): text for name, text in files.items()})
        workspace = self.check_out(commit)
        succeeded, result = self.act(app="shop", commit=commit, node=NODE, workspace=workspace.id)
        self.assertTrue(succeeded, result)
        return commit, workspace, result

    def test_tells_each_value_and_where_it_came_from(self):
        commit, _, result = self.read(pyproject__toml=PROJECT)
        self.assertEqual(result["version"], f"1.2.0-1.{commit[:7]}")
        self.assertEqual(result["metadata"]["version"]["value"], "1.2.0")
        self.assertEqual(result["metadata"]["version"]["from"], "pyproject.toml")
        self.assertEqual(result["settings"]["stages"], ["canary", "production"])

    def test_says_when_no_file_names_a_version(self):
        commit, workspace, result = self.read(README="x")
        self.assertEqual(result["version"], f"0.0.20240506.1-1.{commit[:7]}")
        self.assertRegex(result["warning"], "^No file names a version: 0.0.20240506.1 is ")
        found = Recipe.found_in(workspace).metadata
        self.assertEqual(found["description"]["value"], f"shop, commit {commit[:7]} of acme/shop")

    def test_reads_below_the_root_of_the_package_first(self):
        commit = self.push(
            {
                ".cicd.yaml": "package: {root: dist}",
                "dist/VERSION": "2.0",
                "pyproject.toml": PROJECT,
            }
        )
        work = self.check_out(commit)
        _, result = self.act(app="shop", commit=commit, node=NODE, workspace=work.id)
        self.assertEqual(result["metadata"]["version"]["from"], "dist/VERSION")
        self.assertEqual(result["warning"], "")

    def test_leaves_the_recipe_to_the_next_step(self):
        commit, workspace, result = self.read(pyproject__toml=PROJECT)
        recipe = Recipe.found_in(workspace)
        self.assertEqual(
            (recipe.name, recipe.version, recipe.commit, recipe.branch),
            ("shop", result["version"], commit, "main"),
        )
        self.assertEqual(recipe.committed_at, self.repository.committed_at(commit))

    def test_names_what_is_wrong_in_the_settings(self):
        commit = self.push({".cicd.yaml": "packge: {}", "pyproject.toml": PROJECT})
        self.assert_fails(
            "packge.*package",
            app="shop",
            commit=commit,
            node=NODE,
            workspace=self.check_out(commit).id,
        )
        self.assertIn("packge", self.shop.builds.get(commit).packaging_error)
