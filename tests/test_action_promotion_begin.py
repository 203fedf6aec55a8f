from __future__ import annotations

import dataclasses

from action_test_case import ConsulActionTestCase
from consul_server import register
from promotion_begin import PromotionBegin
from releases import failed, published, settled

from delivery.commits import Commit


class TestPromotionBegin(ConsulActionTestCase):
    action_cls = PromotionBegin

    def setUp(self):
        super().setUp()
        self.who = {"by": "olga", "chat_user": "olga", "stackstorm_user": "bot"}
        for number in (1, 2):
            register(self.url, f"production-{number}", f"10.0.1.{number}", "shop", ["shop::app"])

    def test_takes_the_only_canary_that_waits(self):
        target = published(self.shop)
        settled(self.shop, "canary", target)
        succeeded, result = self.act(app=None, stage=None, **self.who)
        self.assertTrue(succeeded, result)
        self.assertEqual(
            (result["app"], result["stage"], result["version"]),
            ("shop", "production", target.version),
        )
        self.assertEqual(result["hosts"], ["production-1", "production-2"])
        self.assertEqual(self.shop.stages.get("production").rollout.target, target)

    def test_tells_what_ships_in_its_answer_and_in_the_event(self):
        for stage in ("canary", "production"):
            settled(self.shop, stage, published(self.shop, 1))
        new = dataclasses.replace(
            self.shop.releases.get(published(self.shop, 2).version),
            version="1.0-3.ccccccc",
            commit="c" * 40,
            build=3,
            commits=[Commit("c" * 40, "Fix it", "Ada")],
        )
        self.shop.releases.publish(new)
        settled(self.shop, "canary", new.target)
        succeeded, result = self.act(app="shop", stage=None, **self.who)
        self.assertTrue(succeeded, result)
        link = f"https://github.com/acme/shop/compare/{'a' * 12}...{'c' * 12}"
        self.assertEqual(result["ships"], f"Ships: commits not recorded\n  {link}")
        self.assertEqual(
            self.shop.events.all()[-1]["message"],
            "shop: promoting 1.0-3.ccccccc to production, 2 hosts in 2 batches, by olga: "
            "commits not recorded",
        )

    def test_says_so_when_nothing_waits(self):
        self.assert_fails("nothing to promote", app=None, stage=None, **self.who)

    def test_refuses_a_failed_canary(self):
        settled(self.shop, "canary", published(self.shop, 1))
        failed(self.shop, "canary", published(self.shop, 2))
        self.assert_fails(
            "failed on canary of shop: node-1: is broken", app="shop", stage=None, **self.who
        )

    def test_answers_an_unknown_application_with_the_nearest(self):
        published(self.shop)
        self.assert_fails(r"no application shpo; nearest: shop", app="shpo", stage=None, **self.who)

    def test_refuses_to_promote_to_the_first_stage(self):
        settled(self.shop, "canary", published(self.shop))
        self.assert_fails(
            "the canary of shop gets every release by itself",
            app="shop",
            stage="canary",
            **self.who,
        )

    def test_a_frozen_application_is_not_promoted(self):
        settled(self.shop, "canary", published(self.shop))
        self.shop.freezes.start("alice", "the sale is on")
        self.assert_fails(
            "shop is frozen by alice: the sale is on; to end the freeze: !deploy unfreeze shop",
            app=None,
            stage=None,
            **self.who,
        )
        self.assertEqual(self.shop.stages.get("production").status, "empty")

    def test_who_is_not_on_the_list_of_chat_users_hears_who_is(self):
        settled(self.shop, "canary", published(self.shop))
        self.config["permissions"] = {"chat_users": ["alice", "bob"]}
        self.assert_fails(
            "sorry, olga may not promote; allowed in chat: alice, bob",
            app="shop",
            stage=None,
            **self.who,
        )
        self.assertEqual(self.shop.stages.get("production").status, "empty")

    def test_the_bot_has_to_be_on_the_list_of_stackstorm_users_too(self):
        settled(self.shop, "canary", published(self.shop))
        self.config["permissions"] = {"chat_users": ["olga"], "stackstorm_users": ["st2admin"]}
        self.assert_fails(
            "sorry, bot may not promote; allowed as StackStorm users: st2admin",
            app="shop",
            stage=None,
            **self.who,
        )

    def test_an_application_may_have_a_list_of_its_own(self):
        settled(self.shop, "canary", published(self.shop))
        lists = {"shop": {"chat_users": ["alice"]}, "notes": {"chat_users": ["olga"]}}
        self.config["permissions"] = {"chat_users": ["olga"], "applications": lists}
        for app in ("shop", "SHOP", None):
            self.assert_fails("sorry, olga may not promote", app=app, stage=None, **self.who)
        lists["shop"] = {"chat_users": []}
        succeeded, result = self.act(app="shop", stage=None, **self.who)
        self.assertTrue(succeeded, result)

    def test_outside_chat_who_asks_is_the_account_and_not_whoever_is_named(self):
        settled(self.shop, "canary", published(self.shop))
        succeeded, result = self.act(
            app="shop", stage=None, by="olga", chat_user="", stackstorm_user="ACME\\st2 admin"
        )
        self.assertTrue(succeeded, result)
        self.assertEqual(self.shop.stages.get("production").rollout.by, "ACMEst2admin")

    def test_who_is_on_the_lists_may(self):
        settled(self.shop, "canary", published(self.shop))
        self.config["permissions"] = {"chat_users": ["olga"], "stackstorm_users": ["bot"]}
        succeeded, result = self.act(app="shop", stage=None, **self.who)
        self.assertTrue(succeeded, result)

    def test_a_list_of_chat_users_is_not_for_who_does_not_come_by_chat(self):
        settled(self.shop, "canary", published(self.shop))
        self.config["permissions"] = {"chat_users": ["alice"]}
        succeeded, result = self.act(
            app="shop", stage=None, by="st2admin", chat_user="", stackstorm_user="st2admin"
        )
        self.assertTrue(succeeded, result)
