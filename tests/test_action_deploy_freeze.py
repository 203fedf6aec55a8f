from __future__ import annotations

import os
from datetime import timedelta

import yaml
from action_test_case import ConsulActionTestCase
from deploy_freeze import DeployFreeze
from releases import published

from delivery.clock import parsed

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


class TestDeployFreeze(ConsulActionTestCase):
    action_cls = DeployFreeze

    def freeze(self, reason=None, duration=None, **others):
        parameters = {"app": "shop", "by": "olga", "chat_user": "olga", "stackstorm_user": "bot"}
        return dict(parameters, reason=reason, duration=duration, **others)

    def setUp(self):
        super().setUp()
        published(self.shop)

    def test_says_who_why_and_how_to_end_it(self):
        succeeded, result = self.act(**self.freeze("the sale is on"))
        self.assertTrue(succeeded, result)
        self.assertIsNone(result["until"])
        self.assertIn("shop is frozen by olga: the sale is on.", result["text"])
        self.assertIn("!deploy unfreeze shop", result["text"])
        self.assertEqual(
            self.shop.events.all()[-1]["message"], "shop: frozen by olga: the sale is on"
        )

    def test_a_time_at_the_end_of_the_reason_is_not_overlooked(self):
        self.assert_fails(
            "the time comes before the reason: type !deploy freeze shop for 30min because the "
            "audit",
            **self.freeze("the audit for 30 Minutes"),
        )
        self.assertIsNone(self.shop.freezes.current())
        succeeded, _ = self.act(**self.freeze("we wait for 3 customers"))
        self.assertTrue(succeeded)

    def test_a_freeze_in_place_of_another_says_so(self):
        self.act(**self.freeze("the sale is on"))
        _, result = self.act(**self.freeze("the audit", duration="2h"))
        self.assertIn("It replaces the one before: frozen by olga: the sale is on", result["text"])

    def test_a_template_in_the_reason_is_none_any_more(self):
        self.act(**self.freeze("{{ config_context.consul.token }}\n<% x %>"))
        self.assertEqual(
            self.shop.freezes.current().reason, "? config_context.consul.token ? ? x ?"
        )

    def test_for_two_hours(self):
        _, result = self.act(**self.freeze(duration="2h"))
        self.assertRegex(result["text"], r"by olga until \d{4}-\d\d-\d\d \d\d:\d\d UTC\.")
        self.assertRegex(result["until"], r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
        self.assertEqual(self.shop.events.all()[-1]["message"], "shop: frozen by olga for 2 h")
        self.assertRegex(
            str(self.shop.freezes.current()), "^frozen by olga for another (2 h|1 h 59 min)$"
        )

    def test_the_end_is_told_in_the_configured_zone(self):
        self.config["chat"] = {"time_zone": "Asia/Kathmandu"}
        _, result = self.act(**self.freeze("the sale", duration="1 Week"))
        end = parsed(result["until"]) + timedelta(hours=5, minutes=45)
        self.assertIn(f"until {end:%Y-%m-%d %H:%M} Asia/Kathmandu: the sale.", result["text"])

    def test_an_unknown_application_is_answered_with_the_nearest(self):
        self.assert_fails("no application shpo; nearest: shop", **dict(self.freeze(), app="shpo"))

    def test_who_is_not_on_the_list_may_not(self):
        self.config["permissions"] = {"chat_users": ["alice"]}
        self.assert_fails("sorry, olga may not freeze; allowed in chat: alice", **self.freeze())
        self.assertIsNone(self.shop.freezes.current())

    def test_a_reason_with_a_secret_of_the_configuration_is_not_announced(self):
        self.config["github"] = {"webhook_secret": "s3cret-of-the-hook", "token": "abc"}
        self.config["ci"] = {"jenkins": {"api_token": "11aa22bb33"}}
        for secret in ("s3cret-of-the-hook", "11aa22bb33"):
            self.assert_fails(
                "^the reason holds a secret of the configuration: write it without, and in words, "
                "not in a template$",
                **self.freeze(f"x {secret}y"),
            )
        self.assertIsNone(self.shop.freezes.current())
        self.assertTrue(self.act(**self.freeze("abc"))[0])

    def test_stackstorm_refuses_a_reason_with_a_template(self):
        with open(os.path.join(ROOT, "actions/deploy_freeze.yaml"), encoding="utf-8") as file:
            pattern = yaml.safe_load(file)["parameters"]["reason"]["pattern"]
        for reason in ("{{ x }}", "a\n{% x %}", "{# x #}", "<% ctx() %>", "<!a> {{"):
            self.assertNotRegex(reason, pattern)
        for reason in ("", "the sale {is} on\nnow", "<@U1> %} }}"):
            self.assertRegex(reason, pattern)
