from __future__ import annotations

import build_finish
from build_finish import BuildFinish
from ci_build import CiBuild
from jenkins_action_test_case import COMMIT, JenkinsActionTestCase


class TestBuildFinish(JenkinsActionTestCase):
    action_cls = BuildFinish

    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, build_finish, "PATIENCE_S", build_finish.PATIENCE_S)
        build_finish.PATIENCE_S = 0
        self.run_action(CiBuild, app="shop", commit=COMMIT)

    def finish(self, number=1):
        return self.act(app="shop", commit=COMMIT, number=number)

    def test_records_that_a_build_passed(self):
        self.jenkins.build("team/shop").end("SUCCESS")
        succeeded, result = self.finish()
        self.assertTrue(succeeded, result)
        self.assertEqual((result["build"], result["status"], result["reason"]), (1, "passed", ""))
        self.assertEqual(self.shop.events.all()[-1]["type"], "build_passed")

    def test_succeeds_in_recording_that_a_build_failed(self):
        self.jenkins.build("team/shop").end("FAILURE")
        succeeded, result = self.finish()
        self.assertTrue(succeeded, result)
        self.assertEqual(result["status"], "failed")
        self.assertIn("build 1 of team/shop failed: http", self.shop.events.all()[-1]["message"])

    def test_leaves_a_build_that_goes_on(self):
        succeeded, result = self.finish()
        self.assertEqual((succeeded, result["status"]), (True, "running"))

    def test_says_what_to_do_where_jenkins_is_not_the_tool(self):
        self.config["ci"] = {"tool": "build_host"}
        self.assert_fails("cicd_canary.ci and again=true", app="shop", commit=COMMIT, number=0)

    def test_refuses_a_commit_that_was_never_built(self):
        self.assert_fails("shop has no build of 2222222", app="shop", commit="2" * 40, number=0)
