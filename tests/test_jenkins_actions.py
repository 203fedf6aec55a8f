"""The actions that talk to Jenkins, with a real Consul and a double of Jenkins."""

from __future__ import annotations

import json

import build_finish
from action_test_case import ConsulActionTestCase
from build_finish import BuildFinish
from ci_build import CiBuild
from jenkins_double import API_TOKEN, USER, running_jenkins
from jenkins_job_ensure import JenkinsJobEnsure
from jenkins_trigger import JenkinsTrigger

COMMIT = "1" * 40


class JenkinsActionTestCase(ConsulActionTestCase):
    def setUp(self):
        super().setUp()
        running = running_jenkins()
        self.jenkins, self.jenkins_url = running.__enter__()
        self.addCleanup(running.__exit__, None, None, None)
        self.config["ci"] = {
            "tool": "jenkins",
            "jenkins": {
                "url": self.jenkins_url,
                "user": USER,
                "api_token": API_TOKEN,
                "job": "team/{app}",
            },
        }
        self.jenkins.add_job("team/shop")
        self.shop.builds.start(COMMIT, "acme/shop", "main", "alice")

    def run_action(self, action, **parameters):
        return action(config=self.config, action_service=None).run(**parameters)


class TestCiBuild(JenkinsActionTestCase):
    action_cls = CiBuild

    def build(self):
        return self.act(app="shop", commit=COMMIT)

    def test_ends_green_and_running_while_jenkins_builds(self):
        succeeded, result = self.build()
        self.assertTrue(succeeded, result)
        self.assertEqual(result["status"], "running")
        self.assertEqual(result["url"], self.jenkins_url + "/job/team/job/shop/1/")
        self.assertEqual(self.shop.builds.get(COMMIT).ci["queue_id"], 1)

    def test_ends_green_and_says_so_when_jenkins_is_away(self):
        self.jenkins.starting = True
        succeeded, result = self.build()
        self.assertTrue(succeeded, result)
        self.assertEqual((result["status"], result["url"]), ("running", None))
        self.assertIn("retrying until the build times out", result["reason"])

    def test_fails_the_build_when_the_configuration_is_wrong(self):
        del self.config["ci"]["jenkins"]["api_token"]
        self.assert_fails("ci.jenkins.api_token is not set", app="shop", commit=COMMIT)
        self.assertEqual(self.shop.builds.get(COMMIT).status, "failed")

    def test_fails_the_build_when_the_token_is_wrong(self):
        self.config["ci"]["jenkins"]["api_token"] = "wrong"
        self.assert_fails("rejected cicd's API token", app="shop", commit=COMMIT)
        self.assertEqual(self.shop.builds.get(COMMIT).status, "failed")

    def test_gives_no_credential_away(self):
        _, result = self.build()
        self.assertNotIn(API_TOKEN, json.dumps(result) + self.shop.builds.get(COMMIT).as_json())


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


class TestJenkinsTrigger(JenkinsActionTestCase):
    action_cls = JenkinsTrigger

    def test_starts_the_job_and_says_where_it_runs(self):
        succeeded, result = self.act(
            app="shop", repository="acme/shop", branch="main", commit=COMMIT, callback="by-hand"
        )
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["job"], result["queue_id"], result["number"], result["url"]),
            ("team/shop", 1, 1, self.jenkins_url + "/job/team/job/shop/1/"),
        )
        self.assertFalse(self.shop.builds.get(COMMIT).ci, "it records nothing")


class TestJenkinsJobEnsure(JenkinsActionTestCase):
    action_cls = JenkinsJobEnsure

    def test_makes_the_job_and_then_leaves_it_alone(self):
        del self.jenkins.jobs["team/shop"]
        outcomes = []
        for _ in range(2):
            succeeded, result = self.act(app="shop")
            self.assertTrue(succeeded, result)
            outcomes.append(result["outcome"])
        self.assertEqual(outcomes, ["created", "unchanged"])
        self.assertEqual(result["url"], self.jenkins_url + "/job/team/job/shop/")

    def test_brings_a_job_of_somebody_else_to_the_template(self):
        succeeded, result = self.act(app="shop")
        self.assertEqual((succeeded, result["outcome"]), (True, "updated"))
