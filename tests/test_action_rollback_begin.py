from __future__ import annotations

from action_test_case import ConsulActionTestCase
from consul_server import register
from releases import published, settled
from rollback_begin import RollbackBegin


class TestRollbackBegin(ConsulActionTestCase):
    action_cls = RollbackBegin

    def test_goes_back_to_what_the_stage_ran_before(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        register(self.url, "canary-1", "10.0.0.1", "shop", ["shop::app", "shop::app_canary"])
        for target in (old, new):
            settled(self.shop, "canary", target)
        succeeded, result = self.act(
            app="shop", stage="canary", by="olga", chat_user="", stackstorm_user="olga"
        )
        self.assertTrue(succeeded, result)
        self.assertEqual(result["version"], old.version)

    def test_refuses_when_there_is_nothing_to_go_back_to(self):
        settled(self.shop, "production", published(self.shop))
        self.assert_fails(
            "production of shop has no previous version",
            app="shop",
            stage=None,
            by="olga",
            chat_user="",
            stackstorm_user="olga",
        )

    def test_a_frozen_application_is_rolled_back_all_the_same(self):
        old, new = published(self.shop, 1), published(self.shop, 2)
        register(self.url, "production-1", "10.0.1.1", "shop", ["shop::app"])
        for target in (old, new):
            settled(self.shop, "production", target)
        self.shop.freezes.start("alice")
        succeeded, result = self.act(
            app="shop", stage=None, by="olga", chat_user="olga", stackstorm_user="bot"
        )
        self.assertTrue(succeeded, result)

    def test_who_is_not_on_the_list_may_not(self):
        self.config["permissions"] = {"chat_users": ["alice"]}
        self.assert_fails(
            "sorry, olga may not roll back; allowed in chat: alice",
            app="shop",
            stage=None,
            by="olga",
            chat_user="olga",
            stackstorm_user="bot",
        )
