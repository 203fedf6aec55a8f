"""Of several applications in one repository, a push builds those it changes."""

from __future__ import annotations

import shutil
from unittest import mock

from build_host_test_case import BuildHostActionTestCase
from build_start import BuildStart
from releases import published

from delivery.application import Application

FILES = {
    "services/api/.cicd.yaml": "depends_on: [libs/common, go.mod]\n",
    "services/api/main.py": "1",
    "services/web/index.html": "1",
    "libs/common/code.py": "1",
    "go.mod": "1",
    "README.md": "1",
}


class TestAPushToARepositoryWithSeveralApplications(BuildHostActionTestCase):
    action_cls = BuildStart

    def setUp(self):
        super().setUp()
        self.config["applications"] = {
            "acme/shop": {"paths": {"services/api": {}, "services/web": {}}}
        }
        self.first = self.commit(FILES)
        self.built(self.first)

    def commit(self, files, branch="main"):
        return self.repository.commit(files, branch=branch)

    def app(self, name):
        return Application(self.store, name)

    def start(self, app, commit, branch="main", again=False):
        succeeded, result = self.act(
            app=app,
            repository="acme/shop",
            branch=branch,
            commit=commit,
            by="alice",
            again=again,
        )
        self.assertTrue(succeeded, result)
        return result

    def built(self, commit, apps=("api", "web"), passed=True):
        for app in apps:
            self.start(app, commit)
            self.app(app).builds.finish(commit, passed)

    def affected(self, commit, branch="main"):
        """Returns the applications that a push builds."""
        return [app for app in ("api", "web") if self.start(app, commit, branch)["new"]]

    def test_the_first_push_builds_all(self):
        for app, path in (("api", "services/api"), ("web", "services/web")):
            build = self.app(app).builds.get(self.first)
            self.assertEqual((build.number, build.path, build.status), (1, path, "passed"))
            self.assertEqual(build.why, "no build of main has passed lately")

    def test_a_change_of_one_builds_that_one(self):
        self.assertEqual(self.affected(self.commit({"services/web/index.html": "2"})), ["web"])

    def test_a_change_of_what_one_depends_on_builds_it(self):
        self.assertEqual(self.affected(self.commit({"libs/common/new/deep.py": "2"})), ["api"])
        self.assertEqual(self.affected(self.commit({"go.mod": "2"})), ["api"])

    def test_behind_a_link_anything_may_have_changed(self):
        linked = self.repository.commit(
            {"services/api/.cicd.yaml": "depends_on: [shared]\n"},
            links={"services/web/shared": "../../libs", "shared": "libs"},
        )
        self.built(linked)
        commit = self.commit({"libs/common/code.py": "2"})
        self.assertEqual(self.affected(commit), ["api", "web"])
        for app, link in (("api", "shared"), ("web", "services/web/shared")):
            self.assertEqual(
                self.app(app).builds.get(commit).why,
                f"{link} is a link, and its target may have changed since {linked[:7]}",
            )

    def test_a_change_of_neither_builds_nothing_and_leaves_a_record_without_an_event(self):
        commit = self.commit({"README.md": "2", "services/apiary/x": "1", "libs/common2/x": "1"})
        before = len(self.app("api").events.all())
        result = self.start("api", commit)
        since = f"changed since {self.first[:7]}"
        why = f"nothing below services/api or libs/common or go.mod {since}"
        self.assertEqual(
            (result["build"], result["status"], result["new"], result["why"]),
            (0, "unaffected", False, why),
        )
        build = self.app("api").builds.get(commit)
        self.assertEqual((build.status, build.why, build.failure), ("unaffected", why, ""))
        self.assertEqual(len(self.app("api").events.all()), before)
        self.assertEqual(self.app("api").builds.running(), [])

    def test_the_event_of_a_build_says_what_changed(self):
        commit = self.commit({"libs/common/code.py": "2", "services/api/main.py": "2"})
        self.start("api", commit)
        self.assertEqual(
            self.app("api").events.all()[-1]["message"],
            f"api: build 2 of main ({commit[:7]}) started: services/api and libs/common "
            f"changed since {self.first[:7]}",
        )

    def test_a_delivery_that_comes_again_is_decided_already(self):
        unaffected = self.commit({"README.md": "2"})
        self.start("api", unaffected)
        self.built(self.commit({"services/api/main.py": "3"}), ["api"])
        self.assertEqual(self.start("api", unaffected)["status"], "unaffected")

    def test_what_a_failed_build_changed_counts_again(self):
        self.built(self.commit({"services/api/main.py": "broken"}), ["api"], passed=False)
        self.assertEqual(self.affected(self.commit({"README.md": "2"})), ["api"])

    def test_what_was_changed_by_a_push_that_never_arrived_counts(self):
        self.commit({"services/api/main.py": "2"})
        self.assertEqual(self.affected(self.commit({"README.md": "2"})), ["api"])

    def test_what_could_not_be_packaged_counts_again(self):
        self.app("api").builds.packaging_failed(self.first, "no space left")
        result = self.start("api", self.commit({"README.md": "2"}))
        self.assertEqual(
            (result["new"], result["why"]), (True, "no build of main has passed lately")
        )

    def test_a_change_that_passed_and_is_taken_back_is_built(self):
        self.built(self.commit({"services/api/main.py": "2"}), ["api"])
        self.assertEqual(self.affected(self.commit({"services/api/main.py": "1"})), ["api"])

    def test_a_change_that_failed_and_is_taken_back_is_not(self):
        self.built(self.commit({"services/web/index.html": "2"}), ["web"], passed=False)
        self.assertEqual(self.affected(self.commit({"services/web/index.html": "1"})), [])

    def test_what_a_build_changed_whose_package_got_lost_counts_again(self):
        lost = self.commit({"services/api/main.py": "2"})
        self.built(lost, ["api"])
        self.assertEqual(self.affected(self.commit({"README.md": "2"})), [])  # it may still come
        with mock.patch("delivery.builds.PACKAGED_AFTER_S", 0):
            self.assertEqual(self.affected(self.commit({"README.md": "3"})), ["api", "web"])
            published(self.app("api"), 2, commit=lost)
            self.assertEqual(self.affected(self.commit({"README.md": "4"})), ["web"])

    def test_unaffected_pushes_do_not_hide_the_last_that_passed(self):
        for number in range(3):
            self.assertEqual(self.affected(self.commit({"README.md": f"more {number}"})), [])
        self.assertEqual(self.affected(self.commit({"go.mod": "2"})), ["api"])

    def test_each_branch_is_compared_with_its_own(self):
        self.repository.git("update-ref", "refs/heads/aside", self.first)
        aside = self.commit({"README.md": "2"}, branch="aside")
        self.assertEqual(self.affected(aside, "aside"), ["api", "web"])

    def test_that_a_commit_changes_nothing_on_one_branch_says_nothing_of_another(self):
        self.repository.git("update-ref", "refs/heads/aside", self.first)
        self.built_aside = self.commit({"services/api/main.py": "2"}, branch="aside")
        self.start("api", self.built_aside, "aside")
        self.app("api").builds.finish(self.built_aside, True)
        tip = self.commit({"README.md": "2"}, branch="aside")
        self.assertEqual(self.start("api", tip, "aside")["status"], "unaffected")
        self.repository.git("update-ref", "refs/heads/main", tip)
        result = self.start("api", tip, "main")
        self.assertEqual((result["status"], result["build"]), ("running", 3))

    def test_it_is_built_by_hand_all_the_same(self):
        commit = self.commit({"README.md": "2"})
        self.start("api", commit)
        result = self.start("api", commit, again=True)
        self.assertEqual((result["status"], result["build"], result["new"]), ("running", 2, True))

    def test_a_last_build_that_is_no_longer_there_is_said_to_be_so(self):
        self.repository.git("update-ref", "-d", "refs/heads/main")
        lonely = self.commit({"README.md": "2"})
        self.repository.git("reflog", "expire", "--expire=all", "--all")
        self.repository.git("gc", "--quiet", "--prune=now")
        result = self.start("api", lonely)
        self.assertTrue(result["new"])
        first = self.first[:7]
        self.assertRegex(
            result["why"],
            f"not compared with {first}: .*{first} is not on branch main any more",
        )

    def test_a_server_that_hands_out_only_branches_is_asked_for_the_branch(self):
        self.repository.git("config", "protocol.version", "0")
        self.repository.git("config", "uploadpack.allowAnySHA1InWant", "false")
        commit = self.commit({"services/web/index.html": "2"})
        self.commit({"go.mod": "later"})
        self.assertEqual(self.affected(commit), ["web"])

    def test_where_the_server_can_leave_out_contents_the_answer_is_the_same(self):
        self.repository.git("config", "uploadpack.allowFilter", "true")
        self.assertEqual(self.affected(self.commit({"go.mod": "2"})), ["api"])

    def test_without_an_answer_it_is_built_and_says_why(self):
        commit = self.commit({"README.md": "2"})
        shutil.rmtree(self.repository.path)
        result = self.start("api", commit)
        self.assertTrue(result["new"])
        self.assertRegex(result["why"], f"not compared with {self.first[:7]}: .*fetch")
        self.assertLessEqual(len(result["why"]), 250)

    def test_a_file_that_cannot_be_read_is_a_reason_to_build(self):
        result = self.start("web", self.commit({"services/web/.cicd.yaml": "depends_on: [../x]"}))
        self.assertTrue(result["new"])
        self.assertIn(".cicd.yaml: depends_on", result["why"])

    def test_an_application_that_has_moved_is_built(self):
        self.config["applications"] = {"acme/shop": {"paths": {"libs/common": {"name": "api"}}}}
        result = self.start("api", self.commit({"README.md": "2"}))
        self.assertTrue(result["new"])

    def test_nothing_is_left_on_the_build_host(self):
        self.affected(self.commit({"README.md": "2"}))
        self.assertEqual(list(self.workspaces.iterdir()), [])

    def test_an_application_that_shares_with_none_is_built_with_every_push(self):
        del self.config["applications"]
        result = self.start("shop", self.commit({"README.md": "2"}))
        self.assertEqual((result["new"], result["why"]), (True, ""))
        self.assertNotIn("path", self.store.get("shop/builds/" + self.commit_of("shop")).value)

    def commit_of(self, app):
        return self.app(app).builds.running()[0]
