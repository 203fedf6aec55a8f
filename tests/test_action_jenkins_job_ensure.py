from __future__ import annotations

from jenkins_action_test_case import JenkinsActionTestCase
from jenkins_job_ensure import JenkinsJobEnsure


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
