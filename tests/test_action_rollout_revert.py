from __future__ import annotations

from action_test_case import ConsulActionTestCase
from releases import begun, published
from rollout_revert import RolloutRevert


class TestRolloutRevert(ConsulActionTestCase):
    action_cls = RolloutRevert

    def test_fails_a_first_rollout_that_has_nothing_to_go_back_to(self):
        target = published(self.shop)
        rollout = begun(self.shop, "canary", target, [["canary-1"]], "alice", "deploy")
        succeeded, result = self.act(app="shop", stage="canary", deployment=rollout.deployment)
        self.assertTrue(succeeded, result)
        self.assertEqual(
            result["error"],
            target.version + " failed on canary: the rollout was "
            "stopped; canary of shop has no previous version",
        )
        self.assertEqual(self.shop.stages.get("canary").status, "failed")
        self.assertIsNone(self.store.lock_holder("shop/lock"))

    def test_refuses_a_rollout_that_is_over(self):
        published(self.shop)
        self.assert_fails(
            "the rollout canary-x of shop is over",
            app="shop",
            stage="canary",
            deployment="canary-x",
        )
