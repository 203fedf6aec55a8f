from __future__ import annotations

import json

from ci_build import CiBuild
from jenkins_action_test_case import COMMIT, JenkinsActionTestCase
from jenkins_double import API_TOKEN


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
