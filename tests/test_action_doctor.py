from __future__ import annotations

from action_test_case import ConsulActionTestCase
from doctor import Doctor


class TestDoctor(ConsulActionTestCase):
    action_cls = Doctor

    def test_fails_and_still_tells_all_when_there_is_something_to_do(self):
        self.config["ci"] = {"tool": "build_host"}
        succeeded, result = self.act()
        self.assertFalse(succeeded)
        self.assertEqual(result["to_do"], sum(each["fine"] is False for each in result["findings"]))
        self.assertIn("fine   Consul at " + self.url, result["text"])
        self.assertIn("TO DO  webhooks: github.webhook_secret is not set", result["text"])

    def test_refuses_a_wrong_configuration_by_name(self):
        self.config["consul"]["urll"] = "x"
        self.assert_fails("consul.urll in the pack's configuration: unknown key")
