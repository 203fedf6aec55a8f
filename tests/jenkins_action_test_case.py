"""What the tests of actions that talk to Jenkins have in common: a double of Jenkins."""

from __future__ import annotations

from action_test_case import ConsulActionTestCase
from jenkins_double import API_TOKEN, USER, running_jenkins

COMMIT = "1" * 40


class JenkinsActionTestCase(ConsulActionTestCase):
    """`self.jenkins` has the job of the shop, `self.jenkins_url` is where; the build of COMMIT is
    recorded and not begun.
    """

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
