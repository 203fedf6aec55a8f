from __future__ import annotations

from jenkins_action_test_case import COMMIT, JenkinsActionTestCase
from jenkins_trigger import JenkinsTrigger


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
