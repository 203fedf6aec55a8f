from __future__ import annotations

import base64
import dataclasses
import json
import subprocess
from unittest import mock

from build_host_test_case import NODE, BuildHostActionTestCase
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from release_publish import ReleasePublish
from releases import SETTINGS, settled
from signing_keys import private_pem

from delivery.commits import KEPT, Commit
from delivery.packaging import PACKAGE_FILE, Package, Recipe
from delivery.proof.reproduction import agreement
from delivery.proof.sbom import SBOM_FILE, Sbom
from delivery.releases import package_version

SBOM = Sbom("out/bom.json", "application/vnd.cyclonedx+json", "c" * 64)


class TestReleasePublish(BuildHostActionTestCase):
    action_cls = ReleasePublish

    def setUp(self):
        super().setUp()
        self.commit = self.push({"a": "b"})
        self.version = package_version("1.0", 1, self.commit)
        self.workspace = self.check_out(self.commit)

    def leave(self, sha256="a" * 64, version_from="VERSION"):
        """Leaves in the workspace what the steps before leave there."""
        metadata = {
            "name": {"value": "shop", "from": "application"},
            "version": {"value": "1.0", "from": version_from},
        }
        Recipe("shop", self.version, self.commit, "main", 1, metadata, SETTINGS).leave_in(
            self.workspace
        )
        package = Package(f"shop_{self.version}_all.deb", "shop", self.version, "all", sha256, 7)
        self.workspace.write(PACKAGE_FILE, json.dumps(package.as_dict()).encode())
        self.workspace.write(SBOM_FILE, json.dumps(SBOM).encode())

    def release(self, commit):
        """Publishes a commit as the steps before would; returns its release."""
        self.commit, self.workspace = commit, self.check_out(commit)
        self.version = package_version("1.0", self.shop.builds.get(commit).number, commit)
        self.leave()
        succeeded, result = self.publish()
        self.assertTrue(succeeded, result)
        return self.shop.releases.get(result["version"])

    def test_git_says_which_is_newer_however_many_commits_are_between(self):
        """The pushes come in the wrong order; of the commits between only two are kept."""
        with mock.patch("delivery.workspace.KEPT", 2):
            commits = [self.repository.commit({"a": str(number)}) for number in range(6)]
            for commit in (commits[5], commits[0], commits[4]):
                self.shop.builds.start(commit, "acme/shop", "main", "alice")
                self.shop.builds.finish(commit, passed=True)
            newest, oldest = self.release(commits[5]), self.release(commits[0])
            self.assertEqual(self.shop.releases.newest().version, newest.version)
            settled(self.shop, "canary", oldest.target)  # by hand
            between = self.release(commits[4])
        self.assertEqual((oldest.after, oldest.before), ([], [newest.commit]))
        self.assertEqual((between.after, between.before), ([oldest.commit], [newest.commit]))
        self.assertTrue(newest.is_newer_than(oldest) and newest.is_newer_than(between))
        self.assertFalse(oldest.is_newer_than(newest) or between.is_newer_than(newest))
        self.assertTrue(between.is_newer_than(oldest) and not oldest.is_newer_than(between))
        self.assertEqual(self.shop.releases.newest().version, newest.version)

    def test_what_git_does_not_know_is_ordered_by_the_numbers_of_builds(self):
        """The clone is shallow, or the branch was written anew."""
        first, second = self.repository.commit({"a": "1"}), self.repository.commit({"a": "2"})
        for commit in (second, first):
            self.shop.builds.start(commit, "acme/shop", "main", "alice")
            self.shop.builds.finish(commit, passed=True)
        newer = self.release(second)
        changed = dataclasses.replace(newer, commit="9" * 40, commits=[])
        key = f"shop/releases/{newer.version}"
        self.store.commit([self.store.overwrite(key, changed.as_json())])
        with mock.patch("delivery.workspace.KEPT", 1):
            later = self.release(first)
        self.assertEqual((later.after, later.before), ([], []))
        self.assertEqual(self.shop.releases.newest().version, later.version)

    def publish(self, **more):
        return self.act(
            app="shop", commit=self.commit, node=NODE, workspace=self.workspace.id, **more
        )

    def test_records_the_release_with_all_that_is_known_of_it(self):
        self.leave()
        succeeded, result = self.publish()
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["version"], result["sha256"], result["new"]), (self.version, "a" * 64, True)
        )
        release = self.shop.releases.get(self.version)
        self.assertEqual(
            (release.commit, release.branch, release.repository, release.build, release.by),
            (self.commit, "main", "acme/shop", 1, "alice"),
        )
        self.assertEqual(release.package.sha256, "a" * 64)
        self.assertEqual(release.metadata["name"]["value"], "shop")
        self.assertEqual(release.settings, SETTINGS)
        self.assertEqual(release.commits, [Commit(self.commit, "change", "Ada")])

    def test_states_the_sbom_that_the_build_has_left(self):
        self.config["proof"] = {"signing_key": private_pem(Ed25519PrivateKey.generate())}
        self.leave()
        self.assertTrue(self.publish()[0])
        (envelope,) = self.shop.evidence.of(self.version)
        details = json.loads(base64.b64decode(envelope["payload"]))["predicate"]["runDetails"]
        self.assertEqual(
            details["byproducts"],
            [
                {
                    "name": "out/bom.json",
                    "digest": {"sha256": "c" * 64},
                    "mediaType": "application/vnd.cyclonedx+json",
                }
            ],
        )

    def test_where_two_hosts_make_a_package_only_what_both_agreed_on_is_published(self):
        self.config["proof"] = {
            "signing_key": private_pem(Ed25519PrivateKey.generate()),
            "builders": "two",
        }
        self.leave()
        agreed = agreement(Recipe.found_in(self.workspace), Package.found_in(self.workspace))
        self.assertIn("no second build host has made this", self.publish()[1]["error"])
        self.assertIn("no second build host has", self.publish(second="build-2")[1]["error"])
        both = {"second": "build-2", "agreed": agreed}
        # The host that keeps the workspace has changed it since.
        self.leave(sha256="b" * 64)
        self.assertIn("has another package, or other metadata", self.publish(**both)[1]["error"])
        self.leave(version_from="elsewhere")
        self.assertIn("has another package, or other metadata", self.publish(**both)[1]["error"])
        self.assertEqual(self.shop.releases.versions(), [])
        self.leave()
        self.assertTrue(self.publish(**both)[0])
        (envelope,) = self.shop.evidence.of(self.version)
        self.assertIn(b"build-host:build-2", base64.b64decode(envelope["payload"]))

    def test_signs_nothing_that_was_not_checked_out(self):
        self.leave()
        key = f"shop/builds/{self.commit}"
        build = json.loads(self.store.get(key).value)
        for field, value in (("branch", "release"), ("repository", "acme/other"), ("path", "x")):
            self.store.commit([self.store.overwrite(key, json.dumps({**build, field: value}))])
            succeeded, result = self.publish()
            self.assertFalse(succeeded)
            self.assertIn("was changed after the check-out", result["error"])
        self.assertEqual(self.shop.releases.versions(), [])

    def test_the_commits_are_those_of_the_commit_not_of_what_the_build_made_of_it(self):
        source = f"{self.workspace.path}/source"
        for argv in (
            ["config", "log.showSignature", "true"],
            ["-c", "user.name=x", "-c", "user.email=x", "commit", "-m", "by the build", "-a"],
        ):
            with open(f"{source}/a", "a") as file:
                file.write("more")
            git = ["git", "-c", "safe.directory=*", "-C", source]
            subprocess.run([*git, *argv], check=True, stdout=subprocess.DEVNULL)
        self.leave()
        self.publish()
        commits = self.shop.releases.get(self.version).commits
        self.assertEqual([each.commit for each in commits], [self.commit])

    def test_the_newest_fifty_are_kept_those_of_a_merged_branch_before_the_others(self):
        base = self.commit
        for number in range(KEPT):
            self.repository.commit({"a": str(number)})
        main = self.repository.git("rev-parse", "refs/heads/main")
        self.repository.git("update-ref", "refs/heads/side", base)
        side = self.repository.commit({"b": "1"}, branch="side")
        merge = self.repository.git(
            "commit-tree", f"{side}^{{tree}}", "-m", "merge", "-p", main, "-p", side
        )
        self.repository.git("update-ref", "refs/heads/main", merge)
        found = self.check_out(merge).log(merge)
        self.assertEqual([each.commit for each in found[:3]], [merge, side, main])
        self.assertEqual(len(found), KEPT)

    def test_a_version_that_no_file_names_is_told_with_the_event(self):
        self.leave(version_from="commit")
        _, result = self.publish()
        self.assertIn("1.0 is the commit's date and count; add a VERSION file", result["warning"])
        event = self.shop.events.all()[-1]
        self.assertEqual(event["type"], "release_published")
        self.assertEqual(event["warning"], result["warning"])

    def test_the_same_release_again_is_no_news(self):
        self.leave()
        self.publish()
        self.assertIs(self.publish()[1]["new"], False)

    def test_a_release_after_a_failure_takes_the_failure_back(self):
        self.shop.builds.packaging_failed(self.commit, "no space left")
        self.leave()
        self.publish()
        self.assertEqual(self.shop.builds.get(self.commit).failure, "")

    def test_another_package_under_the_same_version_is_refused(self):
        self.leave()
        self.publish()
        self.leave(sha256="b" * 64)
        succeeded, result = self.publish()
        self.assertFalse(succeeded)
        self.assertIn(self.version, result["error"])

    def test_a_package_of_another_name_or_version_is_refused(self):
        for field, value in (("name", "pay"), ("version", "9-1"), ("architecture", "amd64")):
            self.leave()
            package = json.loads(self.workspace.read(PACKAGE_FILE))
            self.workspace.write(PACKAGE_FILE, json.dumps({**package, field: value}).encode())
            succeeded, result = self.publish()
            self.assertFalse(succeeded)
            self.assertIn(f", not shop_{self.version}_all.deb shop", result["error"])
        self.assertEqual(self.shop.releases.versions(), [])

    def test_publishes_nothing_without_a_package(self):
        succeeded, result = self.publish()
        self.assertFalse(succeeded)
        self.assertIn("metadata.json", result["error"])
        self.assertEqual(self.shop.releases.versions(), [])
        self.assertIn("metadata.json", self.shop.builds.get(self.commit).packaging_error)
