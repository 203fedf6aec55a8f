from __future__ import annotations

from action_test_case import ConsulActionTestCase
from deploy_unfreeze import DeployUnfreeze
from releases import published, settled


class TestDeployUnfreeze(ConsulActionTestCase):
    action_cls = DeployUnfreeze

    def setUp(self):
        super().setUp()
        self.target = published(self.shop)
        self.unfreeze = {"app": "shop", "by": "olga", "chat_user": "", "stackstorm_user": "olga"}

    def test_ends_a_freeze(self):
        settled(self.shop, "canary", self.target)
        self.shop.freezes.start("alice", "the sale is on")
        _, result = self.act(**self.unfreeze)
        self.assertEqual(
            (result["ended"], result["text"]),
            (True, "shop is no longer frozen. Next: !deploy promote shop"),
        )
        self.assertIsNone(self.shop.freezes.current())
        self.assertEqual(self.shop.events.all()[-1]["type"], "unfrozen")

    def test_a_promotion_is_not_proposed_without_a_canary_that_waits_for_it(self):
        self.shop.freezes.start("alice")
        _, result = self.act(**self.unfreeze)
        self.assertEqual((result["ended"], result["text"]), (True, "shop is no longer frozen"))

    def test_says_so_when_there_is_none(self):
        _, result = self.act(**self.unfreeze)
        self.assertEqual((result["ended"], result["text"]), (False, "shop was not frozen"))

    def test_who_is_not_on_the_list_may_not(self):
        self.shop.freezes.start("alice")
        self.config["permissions"] = {"stackstorm_users": ["alice"]}
        self.assert_fails(
            "sorry, olga may not unfreeze; allowed as StackStorm users: alice",
            **self.unfreeze,
        )
        self.assertEqual(self.shop.freezes.current().by, "alice")
